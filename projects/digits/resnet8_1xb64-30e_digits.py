"""Scikit-learn's digits, ResNet-8, cross entropy.

For questions about losses that a CPU answers in minutes. Pictures of 8x8
pixels, cropped at random after padding by one; no flips, which digits have
not.
"""

_base_ = [
    'mmpretrain::resnet/resnet50_8xb16_cifar100.py',
    '../../configs/_base_/classification.py',
]

data_root = 'data/digits/'
data_preprocessor = dict(num_classes=10, mean=[75] * 3, std=[90] * 3)
model = dict(
    backbone=dict(_delete_=True, type='BasicResNetCIFAR', depth=8),
    head=dict(num_classes=10, in_channels=64),
)

train_cfg = dict(max_epochs=30, val_interval=30)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[20, 26], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(logger=dict(interval=9), checkpoint=dict(interval=30))

load = dict(type='LoadImageFromFile')
pack = dict(type='PackInputs')
crop = dict(type='RandomCrop', crop_size=8, padding=1)
dataset = dict(_delete_=True, type='CustomDataset', data_root=data_root)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(**dataset, data_prefix='train', pipeline=[load, crop, pack]),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(**dataset, data_prefix='test', pipeline=[load, pack]),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy'), dict(type='SeparationGap')]
test_evaluator = val_evaluator
