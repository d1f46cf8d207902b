"""Anchor Loss on the demo data."""

_base_ = './td-hm_efficientnet-lite0-dwattn_1xb16-30e_demo-192x144.py'

model = dict(
    head=dict(
        loss=dict(type='AnchorLoss'),
        final_layer=dict(type='SigmoidConv2d', prior_prob=0.01),
    )
)
