"""AMSE paper, tables 2 and 3: ResNet-101, AMSE, beta 0.01, 256x192."""

_base_ = './td-hm_res101_4xb32-140e_coco-256x192.py'

model = dict(head=dict(loss=dict(type='AsymmetricMSELoss', beta=0.01)))
