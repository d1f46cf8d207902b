"""FMSE paper, table 2: HRNet, MSE, 256x256.

The paper does not state the width; W32 stands for it, from MMPose's ImageNet
weights. Boxes are as in its hourglass sibling. Longer than its siblings
because MMPose has this model at 256x192 only, and a changed codec does not
reach the decoder and the pipelines by itself.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
    '../_base_/fmse.py',
]

codec = {{_base_.fmse_codec}}
model = dict(head=dict(decoder={{_base_.fmse_codec}}))

train_cfg = {{_base_.fmse.train_cfg}}
optim_wrapper = {{_base_.fmse.optim_wrapper}}
param_scheduler = {{_base_.fmse.param_scheduler}}
auto_scale_lr = {{_base_.fmse.auto_scale_lr}}
train_dataloader = {{_base_.fmse.train_dataloader}}

val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size={{_base_.fmse_codec.input_size}}),
    dict(type='PackPoseInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
