"""Anchor Loss paper, table 2: ImageNet, ResNet-50, AL.

Its gamma is not published; 0.5, the default of its code, is chosen here.
"""

_base_ = './resnet50_8xb224-90e_in1k.py'

model = dict(head=dict(loss=dict(type='ClassificationAnchorLoss', gamma=0.5)))
