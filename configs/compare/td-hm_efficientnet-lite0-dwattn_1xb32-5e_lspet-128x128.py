"""LSP-extended: EfficientNet-Lite0 of ImageNet with the light head, 128x128.

Pictures 1 to 8000 train, 8001 to 9000 test, see docs/which_loss.md.
"""

_base_ = './td-hm_res18-dwattn_1xb32-3e_lspet-80x80.py'

codec = dict(
    type='MSRAHeatmap', input_size=(128, 128), heatmap_size=(32, 32), sigma=2
)
model = dict(
    data_preprocessor=dict(mean=[127] * 3, std=[128] * 3),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        out_indices=(4,),  # stride 16
        init_cfg=dict(
            type='Pretrained',
            checkpoint='data/pretrained/efficientnet_lite0.pth',
        ),
    ),
    head=dict(in_channels=112, deconv_out_channels=(160, 128), decoder=codec),
)

train_cfg = dict(max_epochs=5, val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = _base_.param_scheduler
param_scheduler[1]['T_max'] = 5

train_pipeline = _base_.train_pipeline
train_pipeline[4]['input_size'] = codec['input_size']
train_pipeline[5]['encoder'] = codec
val_pipeline = _base_.val_pipeline
val_pipeline[2]['input_size'] = codec['input_size']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
