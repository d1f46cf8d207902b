"""MSE on the demo data: MobileNetV3 with the light head, 128x96.

Longer than its siblings because all that lets it learn from random weights
in minutes, on two cores and 234 people, stands here.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
    '../_base_/lossplus.py',
]

codec = dict(
    type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=2
)
model = dict(
    # Its 13th block, of stride 16: stride 32 would leave 4x3 cells.
    backbone=dict(
        _delete_=True, type='MobileNetV3', arch='big', out_indices=(12,)
    ),
    head=dict(
        type='DepthwiseDeconvAttentionHead',
        in_channels=160,
        deconv_out_channels=(160, 128),
        deconv_kernel_sizes=(4, 4),
        deconv_attentions=(None, dict(type='ChannelSpatialAttention')),
        decoder=codec,
    ),
)

randomness = dict(seed=0)
train_cfg = dict(max_epochs=60, val_interval=20)
# The mean over all pixels makes gradients so small at the start that Adam's
# own eps of 1e-8 would slow it down, and more so the smaller a loss is.
optim_wrapper = dict(optimizer=dict(lr=2e-3, eps=1e-15))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=60, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(
    logger=dict(interval=16), checkpoint=dict(interval=20, max_keep_ckpts=1)
)

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
    dict(type='PhotometricDistortion'),
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
    batch_size=16,
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
