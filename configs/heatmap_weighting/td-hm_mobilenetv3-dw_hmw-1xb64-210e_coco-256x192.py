"""Heatmap-weighting paper, table 6: light head without attention, HWL x."""

_base_ = './td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192.py'

model = dict(head=dict(deconv_attentions=(None, None, None)))
