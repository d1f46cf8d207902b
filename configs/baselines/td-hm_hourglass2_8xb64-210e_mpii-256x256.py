"""MSE baseline: 2-stack hourglass on MPII."""

_base_ = './td-hm_hourglass8_8xb64-210e_mpii-256x256.py'

model = dict(backbone=dict(num_stacks=2), head=dict(num_stages=2))
