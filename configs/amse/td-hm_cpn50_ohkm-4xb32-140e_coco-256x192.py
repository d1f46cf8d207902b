"""AMSE paper, table 3: CPN with ResNet-50, MSE and OHKM, 256x192.

The hardest 8 of 17 keypoints count in the refining stage, as in the CPN paper.
"""

_base_ = './td-hm_cpn50_4xb32-140e_coco-256x192.py'

model = dict(
    head=dict(
        loss=[
            *[{{_base_.global_loss}}] * 4,
            dict(type='KeypointOHKMMSELoss', use_target_weight=True, topk=8),
        ]
    )
)
