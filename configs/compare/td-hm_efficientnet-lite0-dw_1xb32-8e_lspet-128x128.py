"""The comparison on LSP-extended, with the light head without attention."""

_base_ = './td-hm_efficientnet-lite0-dwattn_1xb32-8e_lspet-128x128.py'

model = dict(head=dict(deconv_attentions=(None, None)))
