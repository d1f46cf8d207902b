"""Anchor Loss paper, table 1: CIFAR-10, ResNet-110, OHEM.

Its rho is not published; 0.9 of each batch is chosen here.
"""

_base_ = './resnet110_1xb128-200e_cifar10.py'

model = dict(head=dict(loss=dict(type='OHEMCrossEntropyLoss', rho=0.9)))
