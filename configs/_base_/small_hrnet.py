"""HRNet-W16 of reduced depth, the Small HRNet of the Lite-HRNet paper.

The layout is that of ``seg_hrnet_w18_small_v1`` in
https://github.com/HRNet/HRNet-Semantic-Segmentation, whose widths are 16 and
its multiples in spite of the name.
"""

small_hrnet = dict(
    _delete_=True,
    type='HRNet',
    extra=dict(
        stage1=dict(
            num_modules=1,
            num_branches=1,
            block='BOTTLENECK',
            num_blocks=(1,),
            num_channels=(32,),
        ),
        stage2=dict(
            num_modules=1,
            num_branches=2,
            block='BASIC',
            num_blocks=(2, 2),
            num_channels=(16, 32),
        ),
        stage3=dict(
            num_modules=1,
            num_branches=3,
            block='BASIC',
            num_blocks=(2, 2, 2),
            num_channels=(16, 32, 64),
        ),
        stage4=dict(
            num_modules=1,
            num_branches=4,
            block='BASIC',
            num_blocks=(2, 2, 2, 2),
            num_channels=(16, 32, 64, 128),
        ),
    ),
)
