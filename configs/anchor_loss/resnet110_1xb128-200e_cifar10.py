"""Anchor Loss paper, table 1: CIFAR-10, ResNet-110, cross entropy."""

_base_ = './resnet110_1xb128-200e_cifar100.py'

data_root = 'data/cifar10/'
# MMPretrain's for CIFAR-10.
data_preprocessor = dict(
    num_classes=10,
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
)
model = dict(head=dict(num_classes=10))
dataset = dict(type='CIFAR10', data_root=data_root)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
