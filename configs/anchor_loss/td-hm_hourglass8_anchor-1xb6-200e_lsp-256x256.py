"""Anchor Loss paper, table 5: hourglass, AL, on LSP.

The recipe is that of MPII. Longer than its siblings because the data is other.
"""

_base_ = [
    './td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256.py',
    '../_base_/lsp.py',
]

model = dict(
    backbone=dict(num_stacks=8, out_channels=14),
    head=dict(num_stages=8, in_channels=14, out_channels=14),
)

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
