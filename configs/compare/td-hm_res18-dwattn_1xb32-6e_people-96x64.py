"""Drawn people for a CPU: a narrow ResNet-18 with the light head, 96x64.

tools/dataset_converters/generate_people.py draws the data. The score is PCK,
which tells more than AP of models that have only begun to learn. Longer than
its siblings because model and size are none of the papers'.
"""

_base_ = '../demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'

codec = dict(
    type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=1
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        # Half of its width, and no last stage, whose maps would be 2x3.
        stem_channels=32,
        base_channels=32,
        out_indices=(2,),
    ),
    head=dict(in_channels=128, deconv_out_channels=(64, 64), decoder=codec),
)

train_cfg = dict(max_epochs=6, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=6, convert_to_iter_based=True),
]
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
