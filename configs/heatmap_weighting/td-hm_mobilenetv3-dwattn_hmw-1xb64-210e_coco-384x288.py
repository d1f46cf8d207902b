"""Heatmap-weighting paper, table 1: MobileNetV3, light head, HWL x, 384x288.

Longer than its siblings because it inherits MMPose's own file for this size,
so that the codec reaches all its places.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-384x288.py',
    '../_base_/lossplus.py',
    '../_base_/heatmap_weighting.py',
]

model = {{_base_.mobilenetv3_light}}

auto_scale_lr = dict(base_batch_size=64)

train_pipeline = [
    *_base_.augmentation,
    dict(type='TopdownAffine', input_size=_base_.codec.input_size),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
