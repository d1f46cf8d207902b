"""FMSE paper, table 2: 8-stack hourglass, FMSE, gamma 1, delta 1e-3."""

_base_ = './td-hm_hourglass8_4xb6-200e_coco-256x256.py'

model = dict(head=dict(loss=dict(type='FocusedMSELoss', gamma=1, delta=1e-3)))
