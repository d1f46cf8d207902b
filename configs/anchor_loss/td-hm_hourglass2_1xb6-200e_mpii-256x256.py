"""Anchor Loss paper, table 7: 2-stack hourglass, MSE, 256x256.

Longer than its siblings because the paper's recipe stands here: batch 6 on
one GPU, 1e-3 for 100 epochs, then times 0.5 and 0.2 in turn every 20. It
"only replaces the loss" of https://github.com/princeton-vl/pose-hg-train, so
that what it does not state is that code's: targets, RMSprop, flip, scale,
rotation and colour. Chosen here: 200 epochs, where the schedule has fallen to
5e-6. An epoch is one of the data, 0.74 M iterations in all; one of that code
is 8000 iterations, 1.6 M in all.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_hourglass52_8xb64-210e_mpii-256x256.py',
    '../_base_/lossplus.py',
]

codec = dict(
    type='HourglassHeatmap',
    input_size=(256, 256),
    heatmap_size=(64, 64),
    sigma=1.75,
)
model = dict(
    backbone=dict(
        _delete_=True, type='StackedHourglass', out_channels=16, num_stacks=2
    ),
    head=dict(num_stages=2, in_channels=16, final_layer=None, decoder=codec),
)

train_cfg = dict(max_epochs=200)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='RMSprop', lr=1e-3, alpha=0.99)
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[100, 140, 180], gamma=0.5),
    dict(type='MultiStepLR', milestones=[120, 160], gamma=0.2),
]
auto_scale_lr = dict(base_batch_size=6)

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='HourglassBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='RandomChannelGain'),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(batch_size=6, dataset=dict(pipeline=train_pipeline))
