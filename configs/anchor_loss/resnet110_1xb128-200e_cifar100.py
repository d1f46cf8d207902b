"""Anchor Loss paper, table 1: CIFAR-100, ResNet-110, cross entropy.

Longer than its siblings because the paper's recipe stands here: learning rate
0.1, times 0.1 at epochs 160 and 180, crops padded by 4 pixels and flipped,
5,000 of the training images for validation. Not published, and chosen here:
200 epochs; the last 5,000 images; the checkpoint that is best on them; and
from the ResNet paper, whose network it is, batch 128, momentum 0.9, weight
decay 1e-4 and 0.01 for the first 400 iterations.
"""

_base_ = [
    'mmpretrain::resnet/resnet50_8xb16_cifar100.py',
    '../_base_/classification.py',
]

data_root = 'data/cifar100/'
model = dict(
    backbone=dict(_delete_=True, type='BasicResNetCIFAR', depth=110),
    head=dict(in_channels=64),
)

optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = [
    dict(type='ConstantLR', factor=0.1, end=400, by_epoch=False),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.1),
]
default_hooks = dict(
    checkpoint=dict(
        max_keep_ckpts=1, save_best='accuracy/top1', rule='greater'
    )
)

train_dataloader = dict(
    batch_size=128, dataset=dict(data_root=data_root, indices=45000)
)
val_dataloader = dict(
    batch_size=128,
    dataset=dict(data_root=data_root, split='train', indices=-5000),
)
test_dataloader = dict(batch_size=128, dataset=dict(data_root=data_root))
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='SeparationGap'),
]
test_evaluator = val_evaluator
