"""Heatmap-weighting paper, table 4: MobileNetV3, light head, MSE, 256x192."""

_base_ = './td-hm_mobilenetv3_1xb64-210e_coco-256x192.py'

model = dict(head=dict(type='DepthwiseDeconvAttentionHead'))
