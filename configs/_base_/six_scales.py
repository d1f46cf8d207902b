"""Crops of six scales, for the config that tests a model with them.

MMPose's own crop comes first. The Anchor Loss paper does not publish its
scales; these, crops of 0.8 to 1.3 times that in steps of 0.1, are those of the
six-scale test of the hourglass code https://github.com/bearpaw/PyraNet.
"""

six_scales_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='GetBBoxCenterScale', padding=1.25),
                dict(type='GetBBoxCenterScale', padding=1.25 * 0.8),
                dict(type='GetBBoxCenterScale', padding=1.25 * 0.9),
                dict(type='GetBBoxCenterScale', padding=1.25 * 1.1),
                dict(type='GetBBoxCenterScale', padding=1.25 * 1.2),
                dict(type='GetBBoxCenterScale', padding=1.25 * 1.3),
            ],
            [dict(type='TopdownAffine', input_size=(256, 256))],
            [dict(type='PackPoseInputs')],
        ],
    ),
]
