"""Anchor Loss paper, table 5: hourglass, AL, on LSP, six scales.

Only for testing what its base trains.
"""

_base_ = [
    './td-hm_hourglass8_anchor-1xb6-200e_lsp-256x256.py',
    '../_base_/six_scales.py',
]

model = dict(_delete_=True, type='MultiScaleTTA', module={{_base_.model}})
test_dataloader = dict(dataset=dict(pipeline={{_base_.six_scales_pipeline}}))
