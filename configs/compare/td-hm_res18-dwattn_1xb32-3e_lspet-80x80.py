"""LSP-extended for a CPU: a narrow ResNet-18 with the light head, 80x80.

Pictures 1 to 8000 train, 8001 to 9000 test, see docs/which_loss.md. Longer
than its siblings because the model is none of the papers'.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_res50_8xb64-210e_mpii-256x256.py',
    '../_base_/lossplus.py',
    '../_base_/lsp.py',
]

codec = dict(
    type='MSRAHeatmap', input_size=(80, 80), heatmap_size=(20, 20), sigma=1
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        # Half of its width, and no last stage, whose maps would be 3x3.
        stem_channels=32,
        base_channels=32,
        out_indices=(2,),
    ),
    head=dict(
        _delete_=True,
        type='DepthwiseDeconvAttentionHead',
        in_channels=128,
        out_channels=14,
        deconv_out_channels=(64, 64),
        deconv_kernel_sizes=(4, 4),
        deconv_attentions=(None, dict(type='ChannelSpatialAttention')),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec,
    ),
)

train_cfg = dict(max_epochs=3, val_interval=1)
# Why such an eps: see the demo's config.
optim_wrapper = dict(optimizer=dict(lr=2e-3, eps=1e-15))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=3, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
default_hooks = {{_base_.lsp_hooks}}

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(
        type='RandomBBoxTransform',
        shift_factor=0.1,
        scale_factor=(0.75, 1.25),
        rotate_factor=40,
    ),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]

data_root = 'data/lsp/'
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        _delete_=True, pipeline=train_pipeline, **_base_.lsp_train_dataset
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(pipeline=val_pipeline, **_base_.lsp_test_dataset),
)
val_dataloader['dataset']['ann_file'] = 'annotations/lsp_val.json'
test_dataloader = val_dataloader
val_evaluator = {{_base_.lsp_evaluator}}
test_evaluator = val_evaluator
