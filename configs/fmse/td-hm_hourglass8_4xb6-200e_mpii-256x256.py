"""FMSE paper, table 1 and figure 3: 8-stack hourglass, MSE, 256x256.

The paper's person boxes are a Faster R-CNN's, which is not published; these
are MPII's own.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_hourglass52_8xb64-210e_mpii-256x256.py',
    '../_base_/lossplus.py',
    '../_base_/fmse.py',
]

model = dict(
    backbone=dict(_delete_=True, type='StackedHourglass', out_channels=16),
    head=dict(num_stages=8, in_channels=16, final_layer=None),
)

train_cfg = {{_base_.fmse.train_cfg}}
optim_wrapper = {{_base_.fmse.optim_wrapper}}
param_scheduler = {{_base_.fmse.param_scheduler}}
auto_scale_lr = {{_base_.fmse.auto_scale_lr}}
train_dataloader = {{_base_.fmse.train_dataloader}}
