"""MPII's test set, for the config that tests a model on it.

``tools/dataset_converters/mpii_test_to_json.py`` makes its annotation file
from the release.
"""

mpii_test_dataset = dict(
    ann_file='annotations/mpii_test.json', headbox_file=None
)
mpii_test_evaluator = dict(
    type='MpiiSubmission',
    release_file='data/mpii/annotations/mpii_human_pose_v1_u12_1.mat',
    ann_file='data/mpii/annotations/mpii_test.json',
)
