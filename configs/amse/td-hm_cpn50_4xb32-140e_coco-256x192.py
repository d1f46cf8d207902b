"""AMSE paper, table 3: CPN with ResNet-50, MSE, 256x192.

The row cites another paper, whose recipe is not in its text: the recipe here
is that of the other rows of the table. As in CPN's own code
(https://github.com/chenyilun95/tf-cpn) each of the four global losses counts
an eighth of the refining one. Longer than its siblings because it has five
stages.
"""

_base_ = './td-hm_res50_4xb32-140e_coco-256x192.py'

global_loss = dict(
    type='KeypointMSELoss', use_target_weight=True, loss_weight=0.125
)
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(type='CascadedPyramid'),
    head=dict(
        type='CPMHead',
        in_channels=256,
        num_stages=5,
        deconv_out_channels=None,
        final_layer=dict(kernel_size=3, padding=1),
        loss=[
            *[global_loss] * 4,
            dict(type='KeypointMSELoss', use_target_weight=True),
        ],
    ),
)
