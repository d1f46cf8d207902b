"""FMSE paper, table 2: 8-stack hourglass, MSE, 256x256.

The paper trains and tests on a Faster R-CNN's boxes, which are not published;
here these are the annotated ones in training, MMPose's detector file in tests.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hourglass52_8xb32-210e_coco-256x256.py',
    '../_base_/lossplus.py',
    '../_base_/fmse.py',
]

model = dict(
    backbone=dict(_delete_=True, type='StackedHourglass', out_channels=17),
    head=dict(num_stages=8, in_channels=17, final_layer=None),
)

train_cfg = {{_base_.fmse.train_cfg}}
optim_wrapper = {{_base_.fmse.optim_wrapper}}
param_scheduler = {{_base_.fmse.param_scheduler}}
auto_scale_lr = {{_base_.fmse.auto_scale_lr}}
train_dataloader = {{_base_.fmse.train_dataloader}}
