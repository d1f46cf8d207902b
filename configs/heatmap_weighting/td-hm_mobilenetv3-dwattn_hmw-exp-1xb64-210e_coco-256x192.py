"""Heatmap-weighting paper, table 4: light head, HWL e^x, 256x192."""

_base_ = './td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192.py'

model = dict(head=dict(loss=dict(weight_fn='exp')))
