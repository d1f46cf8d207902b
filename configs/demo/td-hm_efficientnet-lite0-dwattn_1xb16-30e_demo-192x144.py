"""MSE on the demo data: EfficientNet-Lite0 of ImageNet with the light head.

Longer than its siblings because network and size are its own.
"""

_base_ = './td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'

codec = dict(
    type='MSRAHeatmap', input_size=(144, 192), heatmap_size=(36, 48), sigma=2
)
model = dict(
    data_preprocessor=dict(mean=[127] * 3, std=[128] * 3),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        out_indices=(4,),  # stride 16
        frozen_stages=2,  # which saves a third of the time
        # Made by tools/model_converters/efficientnet_lite.py.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='data/pretrained/efficientnet_lite0.pth',
        ),
    ),
    head=dict(in_channels=112, decoder=codec),
)

train_cfg = dict(max_epochs=30, val_interval=15)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = _base_.param_scheduler
param_scheduler[1]['T_max'] = 30
default_hooks = dict(checkpoint=dict(interval=5))

train_pipeline = _base_.train_pipeline
train_pipeline[4]['input_size'] = codec['input_size']
train_pipeline[6]['encoder'] = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2]['input_size'] = codec['input_size']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
