"""The FMSE paper's recipe, for all of its models at 256x256.

Adam: 1e-6 for 10 epochs, 1e-3 to epoch 100, 1e-5 to 150, 1e-6 to 200. Flip,
scale 0.65 to 1.35, rotation +-30 deg. Not published, and chosen here: batch 6
for each of its 4 GPUs of 12 GB, which is the batch that the Anchor Loss paper
uses for hourglasses; sigma 2, whose window has the 13x13 pixels of the text.
"""

fmse_codec = dict(
    type='MSRAHeatmap', input_size=(256, 256), heatmap_size=(64, 64), sigma=2
)
fmse = dict(
    train_cfg=dict(max_epochs=200),
    optim_wrapper=dict(optimizer=dict(lr=1e-3)),
    param_scheduler=[
        # MMEngine ends it one epoch before `end`.
        dict(type='ConstantLR', factor=1e-3, end=11),
        dict(type='MultiStepLR', milestones=[100], gamma=0.01),
        dict(type='MultiStepLR', milestones=[150], gamma=0.1),
    ],
    auto_scale_lr=dict(base_batch_size=24),
    train_dataloader=dict(
        batch_size=6,
        dataset=dict(
            pipeline=[
                dict(type='LoadImage'),
                dict(type='GetBBoxCenterScale'),
                dict(type='RandomFlip', direction='horizontal'),
                dict(
                    type='RandomBBoxTransform',
                    shift_prob=0,
                    scale_factor=(0.65, 1.35),
                    rotate_factor=30,
                ),
                dict(
                    type='TopdownAffine', input_size=fmse_codec['input_size']
                ),
                dict(type='GenerateTarget', encoder=fmse_codec),
                dict(type='PackPoseInputs'),
            ]
        ),
    ),
)
