"""Anchor Loss paper, table 2: ImageNet, ResNet-50, cross entropy.

Longer than its siblings because the paper's recipe stands here: 8 GPUs, batch
224, mixed precision, random crops and flips, the learning rate warmed up for 5
epochs and decayed every 30. What is not published is chosen as in NVIDIA's
ImageNet example for mixed precision (apex), whose schedule begins so: 224 is
the batch of each GPU, the learning rate 0.1 for 256 pictures, times 0.1 at
epochs 30, 60 and also 80, 90 epochs, momentum 0.9, weight decay 1e-4, crops
of 224 resized at random. The last checkpoint is tested.
"""

_base_ = [
    'mmpretrain::resnet/resnet50_8xb32-fp16_in1k.py',
    '../_base_/classification.py',
]

data_root = 'data/imagenet/'
optim_wrapper = dict(optimizer=dict(lr=0.7), loss_scale='dynamic')
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True
    ),
    dict(type='MultiStepLR', milestones=[30, 60, 80], gamma=0.1),
]
train_cfg = dict(max_epochs=90)
auto_scale_lr = dict(base_batch_size=1792)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))

dataset = dict(data_root=data_root)
train_dataloader = dict(batch_size=224, dataset=dataset)
val_dataloader = dict(batch_size=224, dataset=dataset)
test_dataloader = dict(batch_size=224, dataset=dataset)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='SeparationGap'),
]
test_evaluator = val_evaluator
