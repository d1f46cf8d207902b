"""Heatmap weighting on LSP-extended: the model of docs/sports_model.md."""

_base_ = './td-hm_efficientnet-lite0-dwattn_1xb32-8e_lspet-128x128.py'

model = dict(head=dict(loss=dict(type='HeatmapWeightingMSELoss')))
