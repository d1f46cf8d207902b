"""FMSE paper, table 1 and figure 3: 8-stack hourglass, FMSE, gamma 1."""

_base_ = './td-hm_hourglass8_4xb6-200e_mpii-256x256.py'

model = dict(head=dict(loss=dict(type='FocusedMSELoss', gamma=1, delta=1e-3)))
