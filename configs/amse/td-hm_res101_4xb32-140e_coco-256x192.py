"""AMSE paper, tables 2 and 3: ResNet-101, MSE, 256x192."""

_base_ = './td-hm_res50_4xb32-140e_coco-256x192.py'

model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')
    )
)
