"""Anchor Loss paper, tables 1 and A-1: CIFAR-100, ResNet-110, BCE.

Anchor Loss with gamma 0 is BCE.
"""

_base_ = './resnet110_anchor-1xb128-200e_cifar100.py'

model = dict(head=dict(loss=dict(gamma=0)))
