"""RTMDet-m, as MMDet trains it on COCO's classes: today's choice of detector.

For person boxes. It keeps scores down to 0.001, as MMDet's own. Weights: https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_m_8xb32-300e_coco/rtmdet_m_8xb32-300e_coco_20220719_112220-229f527c.pth
"""  # noqa: E501

_base_ = 'mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py'

# MMDet's 300 are for the boxes of all classes.
model = dict(test_cfg=dict(max_per_img=1000))
