"""Anchor Loss paper, table 3: CIFAR-100, ResNet-110, AL, gamma 2.

The gamma of this row is not published; 0.5, 1 and 2 are chosen here.
"""

_base_ = './resnet110_anchor-1xb128-200e_cifar100.py'

model = dict(head=dict(loss=dict(gamma=2)))
