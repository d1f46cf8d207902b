"""Anchor Loss paper, table 7: 2-stack hourglass, AL, gamma 2, 256x256."""

_base_ = './td-hm_hourglass2_1xb6-200e_mpii-256x256.py'

model = dict(
    backbone=dict(final_layer=dict(type='SigmoidConv2d')),
    head=dict(loss=dict(type='AnchorLoss', gamma=2)),
)
