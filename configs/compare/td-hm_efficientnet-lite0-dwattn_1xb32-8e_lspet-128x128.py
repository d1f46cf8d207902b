"""LSP-extended: EfficientNet-Lite0 of ImageNet with the light head, 128x128.

Pictures 1 to 8000 train, 8001 to 9000 test, see docs/which_loss.md. Longer
than its siblings because size and data are its own.
"""

_base_ = [
    '../demo/td-hm_efficientnet-lite0-dwattn_1xb16-30e_demo-192x144.py',
    '../_base_/lsp.py',
]

codec = dict(
    type='MSRAHeatmap', input_size=(128, 128), heatmap_size=(32, 32), sigma=2
)
model = dict(
    backbone=dict(frozen_stages=-1),
    head=dict(out_channels=14, decoder=codec),
)

train_cfg = dict(max_epochs=8, val_interval=2)
param_scheduler = _base_.param_scheduler
param_scheduler[1]['T_max'] = 8
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=1, save_best=None)
)

train_pipeline = _base_.train_pipeline
train_pipeline[4]['input_size'] = codec['input_size']
train_pipeline.pop(5)  # PhotometricDistortion: MPII's recipes have none
train_pipeline[5]['encoder'] = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2]['input_size'] = codec['input_size']

data_root = 'data/lsp/'
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        _delete_=True, pipeline=train_pipeline, **_base_.lsp_train_dataset
    ),
)
val_dataloader = dict(
    dataset=dict(pipeline=val_pipeline, **_base_.lsp_test_dataset)
)
val_dataloader['dataset']['ann_file'] = 'annotations/lsp_val.json'
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, **_base_.lsp_evaluator)
test_evaluator = val_evaluator
