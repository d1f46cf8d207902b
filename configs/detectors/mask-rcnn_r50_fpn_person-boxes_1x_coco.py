"""Mask R-CNN with ResNet-50 and FPN, as MMDet trains it on COCO's classes.

For person boxes. Mask R-CNN is what the AMSE paper calls the detector of the
usual val2017 file, whose person AP is 56.4; that file is not made by this
model. Weights: https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth
"""  # noqa: E501

_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

# MMDet's 0.05 and 100 boxes of all classes cut the scores that AP needs.
model = dict(test_cfg=dict(rcnn=dict(score_thr=0.001, max_per_img=1000)))
