"""AMSE paper, tables 1 and 2: ResNet-50, AMSE, ground-truth boxes."""

_base_ = './td-hm_res50_amse-4xb32-140e_coco-256x192.py'

val_dataloader = dict(dataset=dict(bbox_file=None))
test_dataloader = val_dataloader
