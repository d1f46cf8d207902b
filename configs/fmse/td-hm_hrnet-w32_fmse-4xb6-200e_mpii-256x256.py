"""FMSE paper, table 1: HRNet, FMSE, gamma 1, delta 1e-3, 256x256."""

_base_ = './td-hm_hrnet-w32_4xb6-200e_mpii-256x256.py'

model = dict(head=dict(loss=dict(type='FocusedMSELoss', gamma=1, delta=1e-3)))
