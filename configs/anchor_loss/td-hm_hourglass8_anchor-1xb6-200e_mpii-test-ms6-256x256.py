"""Anchor Loss paper, table 4: hourglass, AL, on MPII's test set, six scales.

Only for testing what its base trains.
"""

_base_ = [
    './td-hm_hourglass8_anchor-1xb6-200e_mpii-256x256.py',
    '../_base_/mpii_test.py',
    '../_base_/six_scales.py',
]

model = dict(_delete_=True, type='MultiScaleTTA', module={{_base_.model}})
test_dataloader = dict(
    dataset=dict(
        pipeline={{_base_.six_scales_pipeline}}, **_base_.mpii_test_dataset
    )
)
test_evaluator = dict(
    outfile='work_dirs/mpii-test_hourglass8_anchor/pred_keypoints_mpii.mat',
    **_base_.mpii_test_evaluator,
)
