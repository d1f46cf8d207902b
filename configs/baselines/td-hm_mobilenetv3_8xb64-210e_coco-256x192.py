"""MSE baseline: MobileNetV3 with its last 960-channel conv on COCO.

Longer than its siblings because the architecture is new: the neck is that
conv, which MMPose's backbone lacks. Trained from random weights, as the
heatmap-weighting paper's released configs are.
"""

_base_ = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'
)

model = dict(
    backbone=dict(_delete_=True, type='MobileNetV3', arch='big'),
    neck=dict(
        type='ChannelMapper',
        in_channels=[160],
        out_channels=960,
        kernel_size=1,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='HSwish'),
    ),
    head=dict(in_channels=960),
)
