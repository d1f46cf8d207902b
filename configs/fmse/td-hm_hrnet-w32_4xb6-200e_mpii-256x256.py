"""FMSE paper, table 1: HRNet, MSE, 256x256.

The paper does not state the width; W32 stands for it.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py',
    '../_base_/lossplus.py',
    '../_base_/fmse.py',
]

train_cfg = {{_base_.fmse.train_cfg}}
optim_wrapper = {{_base_.fmse.optim_wrapper}}
param_scheduler = {{_base_.fmse.param_scheduler}}
auto_scale_lr = {{_base_.fmse.auto_scale_lr}}
train_dataloader = {{_base_.fmse.train_dataloader}}
