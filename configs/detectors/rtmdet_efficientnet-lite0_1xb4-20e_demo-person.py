"""RTMDet on EfficientNet-Lite0 with weights of ImageNet, on the demo data.

tools/model_converters/efficientnet_lite.py gets the weights. Longer than its
siblings because all that lets it learn in minutes, on two cores and 103
pictures of 320x192, stands here.
"""

_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'

custom_imports = dict(imports=['mmpose_lossplus'], allow_failed_imports=False)

norm_cfg = dict(type='BN')
model = dict(
    # Instead of padding each picture to a square.
    data_preprocessor=dict(
        pad_size_divisor=32, mean=[127] * 3, std=[128] * 3, bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type='mmpose.EfficientNetLite',
        out_indices=(2, 4, 6),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='data/pretrained/efficientnet_lite0.pth',
        ),
    ),
    neck=dict(in_channels=[40, 112, 320], out_channels=64, norm_cfg=norm_cfg),
    bbox_head=dict(
        num_classes=1,
        in_channels=64,
        feat_channels=64,
        exp_on_reg=True,  # people are large: learnt sooner
        norm_cfg=norm_cfg,
    ),
)

randomness = dict(seed=0)
train_cfg = dict(max_epochs=20, val_interval=10, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=20, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(
    logger=dict(interval=26), checkpoint=dict(interval=10, max_keep_ckpts=1)
)
custom_hooks = []

# Long and short side: pictures are upright or not, batches of one kind.
scale = (320, 192)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomCrop', crop_size=(0.8, 0.8), crop_type='relative_range'),
    dict(
        type='RandomResize',
        scale=scale,
        ratio_range=(0.8, 1.1),
        keep_ratio=True,
    ),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]

data_root = 'data/demo/'
metainfo = dict(classes=('person',))
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    batch_sampler=dict(_delete_=True, type='AspectRatioBatchSampler'),
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_train2017.json',
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/person_keypoints_val2017.json',
        metainfo=metainfo,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/person_keypoints_val2017.json'
)
test_evaluator = val_evaluator
