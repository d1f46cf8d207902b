"""Anchor Loss paper, table A-1: CIFAR-100, ResNet-110, AL on the target."""

_base_ = './resnet110_anchor-1xb128-200e_cifar100.py'

model = dict(head=dict(loss=dict(design='target')))
