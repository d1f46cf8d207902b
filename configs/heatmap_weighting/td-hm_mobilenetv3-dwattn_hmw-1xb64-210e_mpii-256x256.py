"""Heatmap-weighting paper, table 3: MobileNetV3, light head, HWL x, 256x256.

MMPose's own augmentation on MPII is the paper's: no shift, no half-body crops.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_mobilenetv2_8xb64-210e_mpii-256x256.py',
    '../_base_/lossplus.py',
    '../_base_/heatmap_weighting.py',
]

model = {{_base_.mobilenetv3_light}}

auto_scale_lr = dict(base_batch_size=64)
