"""Anchor Loss paper, table 1: CIFAR-10, ResNet-110, BCE.

Anchor Loss with gamma 0 is BCE.
"""

_base_ = './resnet110_1xb128-200e_cifar10.py'

model = dict(head=dict(loss=dict(type='ClassificationAnchorLoss', gamma=0)))
