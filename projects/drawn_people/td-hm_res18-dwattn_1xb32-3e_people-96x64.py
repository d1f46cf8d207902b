"""Drawn people for a CPU: a narrow ResNet-18 with the light head, 96x64.

The score is PCK: of models that have only begun to learn, AP tells little.
"""

_base_ = '../../configs/compare/td-hm_res18-dwattn_1xb16-20e_demo-128x96.py'

codec = dict(
    type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=1
)
model = dict(head=dict(decoder=codec))

train_cfg = dict(max_epochs=3, val_interval=1)
param_scheduler = _base_.param_scheduler
param_scheduler[1]['T_max'] = 3
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(save_best=None))

train_pipeline = _base_.train_pipeline
train_pipeline[4]['input_size'] = codec['input_size']
train_pipeline[6]['encoder'] = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2]['input_size'] = codec['input_size']

data_root = 'data/people/'
train_dataloader = dict(
    batch_size=32, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='PCKAccuracy', thr=0.1, norm_item='bbox'
)
test_evaluator = val_evaluator
