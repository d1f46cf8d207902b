"""Heatmap-weighting paper, table 2: Small HRNet-W16, test-dev."""

_base_ = [
    './td-hm_small-hrnet-w16_8xb64-210e_coco-384x288.py',
    '../_base_/coco_testdev.py',
]

test_dataloader = dict(dataset={{_base_.testdev_dataset}})
test_evaluator = dict(
    name='small-hrnet-w16-384x288', **_base_.testdev_evaluator
)
