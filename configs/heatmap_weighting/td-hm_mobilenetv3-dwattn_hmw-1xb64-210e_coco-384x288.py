"""Heatmap-weighting paper, table 1: MobileNetV3, light head, HWL x, 384x288.

Longer than its siblings because sigma is 2, as in the paper's code, where
MMPose has 3 at this size, and a changed codec does not reach decoder and
pipeline by itself.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-384x288.py',
    '../_base_/lossplus.py',
    '../_base_/heatmap_weighting.py',
]

codec = dict(
    type='MSRAHeatmap', input_size=(288, 384), heatmap_size=(72, 96), sigma=2
)
model = dict(
    backbone=_base_.mobilenetv3_light.backbone,
    neck=_base_.mobilenetv3_light.neck,
    head=dict(decoder=codec, **_base_.mobilenetv3_light.head),
)

auto_scale_lr = dict(base_batch_size=64)

train_pipeline = [
    *_base_.augmentation,
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
