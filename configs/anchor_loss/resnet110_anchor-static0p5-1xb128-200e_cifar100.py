"""Anchor Loss paper, table 3: CIFAR-100, ResNet-110, static anchor 0.5.

Neither its anchor nor its gamma is published. Chosen here are the anchors of
figure 2 and the gamma of the first dynamic row.
"""

_base_ = './resnet110_anchor-1xb128-200e_cifar100.py'

model = dict(head=dict(loss=dict(static_anchor=0.5)))
