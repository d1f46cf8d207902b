"""Heatmap-weighting paper, table 1: MobileNetV3, light head, HWL x, 256x192.

Longer than its siblings because the paper's recipe stands here: MMPose's own
with batch 64 on one GPU and no shift of the box.
"""

_base_ = [
    '../baselines/td-hm_mobilenetv3_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
]

model = dict(
    head=dict(
        type='DepthwiseDeconvAttentionHead',
        loss=dict(type='HeatmapWeightingMSELoss'),
    )
)

auto_scale_lr = dict(base_batch_size=64)

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform', shift_prob=0),
    dict(type='TopdownAffine', input_size={{_base_.codec.input_size}}),
    dict(type='GenerateTarget', encoder={{_base_.codec}}),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
