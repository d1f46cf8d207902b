"""AMSE paper, eq. (5): ResNet-50, RMSE, beta 0.01, 256x192."""

_base_ = './td-hm_res50_4xb32-140e_coco-256x192.py'

model = dict(head=dict(loss=dict(type='RegularizedMSELoss', beta=0.01)))
