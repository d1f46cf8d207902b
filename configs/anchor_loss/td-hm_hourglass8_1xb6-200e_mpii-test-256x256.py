"""Anchor Loss paper, table 4: hourglass, MSE, on MPII's test set."""

_base_ = [
    './td-hm_hourglass8_1xb6-200e_mpii-256x256.py',
    '../_base_/mpii_test.py',
]

test_dataloader = dict(dataset={{_base_.mpii_test_dataset}})
test_evaluator = dict(
    outfile='work_dirs/mpii-test_hourglass8/pred_keypoints_mpii.mat',
    **_base_.mpii_test_evaluator,
)
