"""Anchor Loss paper, table 1: CIFAR-100, ResNet-110, AL after cross entropy.

Cross entropy for the first 5 epochs. The gamma is not published but high; 2
is chosen here.
"""

_base_ = './resnet110_anchor-1xb128-200e_cifar100.py'

model = dict(head=dict(loss=dict(gamma=2)))
custom_hooks = [
    dict(
        type='mmpose.LossScheduleHook',
        schedule=dict(ce_share=[(0, 1.0), (5, 0.0)]),
    )
]
