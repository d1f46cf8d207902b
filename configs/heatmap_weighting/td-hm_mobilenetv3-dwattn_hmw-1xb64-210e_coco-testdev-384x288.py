"""Heatmap-weighting paper, table 2: light head, HWL x, 384x288, test-dev."""

_base_ = [
    './td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-384x288.py',
    '../_base_/coco_testdev.py',
]

test_dataloader = dict(dataset={{_base_.testdev_dataset}})
test_evaluator = dict(
    name='mobilenetv3-light-384x288', **_base_.testdev_evaluator
)
