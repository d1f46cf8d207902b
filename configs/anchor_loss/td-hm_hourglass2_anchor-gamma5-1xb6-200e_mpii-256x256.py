"""Anchor Loss paper, table 7: 2-stack hourglass, AL, gamma 5, 256x256."""

_base_ = './td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256.py'

model = dict(head=dict(loss=dict(gamma=5)))
