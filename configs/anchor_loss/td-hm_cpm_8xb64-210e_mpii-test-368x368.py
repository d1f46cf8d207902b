"""Anchor Loss paper, table 4: Wei et al. (CPM), on MPII's test set."""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_cpm_8xb64-210e_mpii-368x368.py',
    '../_base_/lossplus.py',
    '../_base_/mpii_test.py',
]

test_dataloader = dict(dataset={{_base_.mpii_test_dataset}})
test_evaluator = dict(
    outfile='work_dirs/mpii-test_cpm/pred_keypoints_mpii.mat',
    **_base_.mpii_test_evaluator,
)
