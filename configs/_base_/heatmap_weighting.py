"""Model and augmentation of the heatmap-weighting paper, for every size.

MobileNetV3 here has the last conv to 960 channels, which MMPose's lacks, and
the hard sigmoid of the attention. As in the paper's released configs it starts
from random weights.
"""

mobilenetv3 = dict(
    backbone=dict(_delete_=True, type='HardSigmoidMobileNetV3', arch='big'),
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
mobilenetv3_light = dict(
    backbone=mobilenetv3['backbone'],
    neck=mobilenetv3['neck'],
    head=dict(
        type='DepthwiseDeconvAttentionHead',
        in_channels=960,
        loss=dict(type='HeatmapWeightingMSELoss', weight_fn='linear'),
    ),
)
# MMPose's own but for the shift, which is not in the paper.
augmentation = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform', shift_prob=0),
]
