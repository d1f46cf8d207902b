"""FMSE paper, table 1: 8-stack hourglass, MSE, detected boxes.

The paper trains and tests on a Faster R-CNN's boxes, which are not published;
tools/dataset_converters/mpii_from_detections.py makes these files.
"""

_base_ = './td-hm_hourglass8_4xb6-200e_mpii-256x256.py'

train_dataloader = dict(
    dataset=dict(ann_file='annotations/mpii_train_det.json')
)
val_dataloader = dict(dataset=dict(ann_file='annotations/mpii_val_det.json'))
test_dataloader = val_dataloader
