"""MSE baseline: 8-stack hourglass on MPII.

MMPose ships one stack of a wider and deeper kind. This is the layout of the
stacked hourglass paper (arXiv 1603.06937): four poolings, 256 channels
throughout, one residual block per place. MMPose's backbone has basic blocks
where the paper has bottlenecks, hence more parameters.
"""

_base_ = (
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_hourglass52_8xb64-210e_mpii-256x256.py'
)

model = dict(
    backbone=dict(
        num_stacks=8,
        downsample_times=4,
        stage_channels=(256, 256, 256, 256, 256),
        stage_blocks=(1, 1, 1, 1, 1),
    ),
    # The loss is the sum over the stacks.
    head=dict(num_stages=8),
)
