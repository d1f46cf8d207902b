"""Faster R-CNN with ResNet-50 and FPN, as MMDet trains it on COCO's classes.

For person boxes, as those of the FMSE paper; its detector's AP is not
published. Weights: https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth
"""  # noqa: E501

_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

# MMDet's 0.05 and 100 boxes of all classes cut the scores that AP needs.
model = dict(test_cfg=dict(rcnn=dict(score_thr=0.001, max_per_img=1000)))
