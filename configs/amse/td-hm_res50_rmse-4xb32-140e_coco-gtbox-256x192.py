"""AMSE paper, eq. (5): ResNet-50, RMSE, ground-truth boxes.

Its table 1 has no such row; here it stands beside the others.
"""

_base_ = './td-hm_res50_rmse-4xb32-140e_coco-256x192.py'

val_dataloader = dict(dataset=dict(bbox_file=None))
test_dataloader = val_dataloader
