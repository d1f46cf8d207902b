"""Heatmap-weighting paper, table 2: Lite-HRNet-18, 384x288, test-dev."""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_litehrnet-18_8xb32-210e_coco-384x288.py',
    '../_base_/lossplus.py',
    '../_base_/coco_testdev.py',
]

test_dataloader = dict(dataset={{_base_.testdev_dataset}})
test_evaluator = dict(name='litehrnet-18-384x288', **_base_.testdev_evaluator)
