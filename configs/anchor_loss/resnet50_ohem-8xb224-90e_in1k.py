"""Anchor Loss paper, table 2: ImageNet, ResNet-50, OHEM.

Its rho is not published; 0.9 of each batch is chosen here.
"""

_base_ = './resnet50_8xb224-90e_in1k.py'

model = dict(head=dict(loss=dict(type='OHEMCrossEntropyLoss', rho=0.9)))
