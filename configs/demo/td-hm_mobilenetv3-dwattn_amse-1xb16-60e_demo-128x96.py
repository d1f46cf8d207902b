"""Asymmetric MSE on the demo data."""

_base_ = './td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'

model = dict(head=dict(loss=dict(type='AsymmetricMSELoss')))
