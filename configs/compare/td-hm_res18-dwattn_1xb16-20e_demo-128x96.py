"""The demo data for a comparison: a narrow ResNet-18 with the light head.

Longer than its siblings because the model is none of the papers'.
"""

_base_ = '../demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        # Half of its width, and no last stage: stride 32 leaves 4x3 cells.
        stem_channels=32,
        base_channels=32,
        out_indices=(2,),
    ),
    head=dict(in_channels=128, deconv_out_channels=(64, 64)),
)

train_cfg = dict(max_epochs=20, val_interval=2)
param_scheduler = _base_.param_scheduler
param_scheduler[1]['T_max'] = 20
