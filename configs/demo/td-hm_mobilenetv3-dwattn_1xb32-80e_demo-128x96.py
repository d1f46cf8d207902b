"""MSE on the demo data: MobileNetV3 with the light head, 128x96.

Longer than its siblings because all that makes it small stands here: a small
input, few epochs, a cosine schedule and mild augmentation, chosen so that it
learns from random weights in minutes on two cores.
"""

_base_ = [
    '../baselines/td-hm_mobilenetv3_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
]

codec = dict(
    type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1.5
)
model = dict(head=dict(type='DepthwiseDeconvAttentionHead', decoder=codec))

train_cfg = dict(max_epochs=80, val_interval=20)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=80, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(
    logger=dict(interval=8),
    checkpoint=dict(interval=20, max_keep_ckpts=1),
)

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(
        type='RandomBBoxTransform', scale_factor=(0.75, 1.25), rotate_factor=60
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

data_root = 'data/demo/'
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(data_root=data_root, bbox_file=None, pipeline=val_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/person_keypoints_val2017.json'
)
test_evaluator = val_evaluator
