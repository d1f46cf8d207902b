"""COCO test-dev2017, for the config that tests a model on it.

The detector behind the heatmap-weighting paper's test-dev numbers is not
published; the box file is the one that goes with HRNet's code.
"""

testdev_dataset = dict(
    ann_file='annotations/image_info_test-dev2017.json',
    bbox_file='data/coco/person_detection_results/'
    'COCO_test-dev2017_detections_AP_H_609_person.json',
    data_prefix=dict(img='test2017/'),
)
testdev_evaluator = dict(
    type='CocoSubmission',
    ann_file='data/coco/annotations/image_info_test-dev2017.json',
    out_dir='work_dirs/submissions',
)
