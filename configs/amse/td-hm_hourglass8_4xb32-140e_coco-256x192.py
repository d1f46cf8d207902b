"""AMSE paper, table 3: 8-stack hourglass, MSE, 256x192.

The row cites another paper, whose recipe is not in its text: the recipe here
is that of the other rows of the table.
"""

_base_ = './td-hm_res50_4xb32-140e_coco-256x192.py'

model = dict(
    backbone=dict(_delete_=True, type='StackedHourglass', out_channels=17),
    head=dict(
        type='CPMHead',
        in_channels=17,
        num_stages=8,
        deconv_out_channels=None,
        final_layer=None,
    ),
)
