"""Anchor Loss paper, table 5: Wei et al. (CPM), on LSP.

Another paper's row, trained here by MMPose's recipe for MPII. Longer than its
siblings because the data is other.
"""

_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_cpm_8xb64-210e_mpii-368x368.py',
    '../_base_/lossplus.py',
    '../_base_/lsp.py',
]

model = dict(backbone=dict(out_channels=14), head=dict(out_channels=14))

data_root = 'data/lsp/'
train_dataloader = dict(dataset={{_base_.lsp_train_dataset}})
val_dataloader = dict(
    dataset=dict(
        pipeline=_base_.val_dataloader.dataset.pipeline,
        **_base_.lsp_test_dataset,
    )
)
test_dataloader = val_dataloader
val_evaluator = {{_base_.lsp_evaluator}}
test_evaluator = val_evaluator
default_hooks = {{_base_.lsp_hooks}}
