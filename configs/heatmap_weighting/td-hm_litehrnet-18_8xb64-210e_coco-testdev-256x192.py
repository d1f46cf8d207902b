"""Heatmap-weighting paper, table 2: Lite-HRNet-18, 256x192, test-dev."""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
    '../_base_/coco_testdev.py',
]

test_dataloader = dict(dataset={{_base_.testdev_dataset}})
test_evaluator = dict(name='litehrnet-18-256x192', **_base_.testdev_evaluator)
