"""AMSE paper, table 2: ResNet-101, MSE, ground-truth boxes."""

_base_ = './td-hm_res101_4xb32-140e_coco-256x192.py'

val_dataloader = dict(dataset=dict(bbox_file=None))
test_dataloader = val_dataloader
