"""Anchor Loss paper, table 7: 2-stack hourglass, focal loss, 256x256.

Its gamma is not published; 2, that of the best Anchor Loss, is chosen here.
"""

_base_ = './td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256.py'

model = dict(head=dict(loss=dict(type='HeatmapFocalLoss')))
