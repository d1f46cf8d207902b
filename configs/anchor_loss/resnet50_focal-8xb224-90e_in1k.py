"""Anchor Loss paper, table 2: ImageNet, ResNet-50, focal loss.

Its gamma is not published; 2, the focal loss paper's best, is chosen here.
MMPretrain's loss is equation (9) when both its weights are made 1.
"""

_base_ = './resnet50_8xb224-90e_in1k.py'

model = dict(
    head=dict(
        loss=dict(type='FocalLoss', gamma=2.0, alpha=0.5, loss_weight=2.0)
    )
)
