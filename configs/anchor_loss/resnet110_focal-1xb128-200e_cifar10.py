"""Anchor Loss paper, table 1: CIFAR-10, ResNet-110, focal loss.

Its gamma is not published; 2, the focal loss paper's best, is chosen here.
MMPretrain's loss is equation (9) when both its weights are made 1.
"""

_base_ = './resnet110_1xb128-200e_cifar10.py'

model = dict(
    head=dict(
        loss=dict(type='FocalLoss', gamma=2.0, alpha=0.5, loss_weight=2.0)
    )
)
