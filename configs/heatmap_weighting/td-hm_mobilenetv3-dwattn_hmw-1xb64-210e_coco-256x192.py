"""Heatmap-weighting paper, tables 1, 4, 6: MobileNetV3, light head, HWL x."""

_base_ = './td-hm_mobilenetv3-dwattn_1xb64-210e_coco-256x192.py'

model = dict(
    head=dict(loss=dict(type='HeatmapWeightingMSELoss', weight_fn='linear'))
)
