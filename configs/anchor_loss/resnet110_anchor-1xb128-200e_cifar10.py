"""Anchor Loss paper, table 1: CIFAR-10, ResNet-110, AL.

The gamma is the default of its code, 0.5.
"""

_base_ = './resnet110_1xb128-200e_cifar10.py'

model = dict(head=dict(loss=dict(type='ClassificationAnchorLoss', gamma=0.5)))
