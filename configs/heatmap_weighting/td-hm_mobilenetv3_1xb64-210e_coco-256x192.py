"""Heatmap-weighting paper, table 1: SimpleBaseline, MobileNetV3, MSE, 256x192.

The paper's recipe is MMPose's own with batch 64 on one GPU and no shift of
the box. Longer than its siblings because the pipeline stands here.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
    '../_base_/heatmap_weighting.py',
]

model = {{_base_.mobilenetv3}}

auto_scale_lr = dict(base_batch_size=64)

train_pipeline = [
    *_base_.augmentation,
    dict(type='TopdownAffine', input_size=_base_.codec.input_size),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
