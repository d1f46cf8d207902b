"""The comparison on LSP-extended at 96x96, with a score after each epoch.

The target is as wide on the person as at 128x128. Longer than its siblings
because the pipelines have the size, too.
"""

_base_ = './td-hm_efficientnet-lite0-dwattn_1xb32-8e_lspet-128x128.py'

codec = dict(
    type='MSRAHeatmap', input_size=(96, 96), heatmap_size=(24, 24), sigma=1.5
)
model = dict(head=dict(decoder=codec))

train_cfg = dict(val_interval=1)

train_pipeline = _base_.train_pipeline
train_pipeline[4]['input_size'] = codec['input_size']
train_pipeline[5]['encoder'] = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2]['input_size'] = codec['input_size']

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
