"""LSP and LSP-extended, for the config that trains and tests on them.

``tools/dataset_converters/lsp_to_coco.py`` makes the annotation files. There
is no validation part: the last checkpoint is the one to test.
"""

lsp_train_dataset = dict(
    type='LspDataset',
    data_root='data/lsp/',
    ann_file='annotations/lsp_train.json',
    data_prefix=dict(img=''),
)
lsp_test_dataset = dict(
    # MPII's file of head boxes is none of its arguments.
    _delete_=True,
    type='LspDataset',
    data_root='data/lsp/',
    data_mode='topdown',
    ann_file='annotations/lsp_test.json',
    test_mode=True,
)
lsp_evaluator = dict(type='LspPCKAccuracy')
lsp_hooks = dict(checkpoint=dict(save_best=None))
