"""Heatmap-weighting paper, table 1: Small HRNet-W16, MSE, 256x192.

Another paper's row (Lite-HRNet, arXiv 2104.06403), trained here by MMPose's
recipe for HRNet, from random weights.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
    '../_base_/small_hrnet.py',
]

model = dict(
    backbone={{_base_.small_hrnet}},
    head=dict(in_channels=16),
)
