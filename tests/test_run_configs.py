"""Every config trains an iteration and tests a batch by MMPose's runner."""

import zipfile

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from scipy.io import loadmat

from .conftest import call_tool, load_tool
from .test_configs import CONFIGS, NAME
from .test_tables import ROWS, tables_module

move_data = load_tool('_mmpose.py').move_data
DATA = {
    data: [p for p in CONFIGS if NAME.fullmatch(p.stem)['data'] == data]
    for data in ('coco', 'mpii', 'lsp', 'lspet', 'people')
}


def run(path, root, work_dir, **changes):
    """Train with the config, validate, save and test; a batch of two each.

    Args:
        path (Path): The config. One that can only be tested is tested with
            its own random weights.
        root (Path): Data in the layout of the config's data.
        work_dir (Path): Folder for all that is written.
        **changes: Further overrides, as of ``--cfg-options``.

    Returns:
        dict: The metrics.
    """
    cfg = Config.fromfile(path)
    options = dict(
        data_root=str(root),
        work_dir=str(work_dir),
        experiment_name=f'{path.stem}_{work_dir.name}',
        **{
            'train_cfg.max_epochs': 1,
            'train_cfg.val_interval': 1,
            'default_hooks.checkpoint.interval': 1,
            'env_cfg.mp_cfg.mp_start_method': 'fork',
            'env_cfg.dist_cfg.backend': 'gloo',
        },
        **changes,
    )
    options = move_data(cfg, options)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options[f'{loader}.batch_size'] = 2
        options[f'{loader}.num_workers'] = 0
        options[f'{loader}.persistent_workers'] = False
        options[f'{loader}.dataset.indices'] = 2
    evaluator = cfg.test_evaluator
    if evaluator.type == 'CocoSubmission':
        options['test_evaluator.out_dir'] = str(work_dir)
    if evaluator.type == 'MpiiSubmission':
        # It wants every person of the set.
        del options['test_dataloader.dataset.indices']
        options['test_evaluator.outfile'] = str(work_dir / 'pred.mat')
    cfg.merge_from_dict(options)
    only_tests = cfg.model.type == 'MultiScaleTTA'
    cfg.model.get('module', cfg.model).backbone.init_cfg = None
    if only_tests:
        for key in ('train', 'val'):
            for part in ('dataloader', 'cfg', 'evaluator'):
                cfg.pop(f'{key}_{part}', None)
        cfg.optim_wrapper = cfg.param_scheduler = cfg.auto_scale_lr = None
    runner = Runner.from_cfg(cfg)
    if not only_tests:
        runner.train()
        assert runner.iter == 1
    return runner.test()


def check_metrics(path, metrics):
    """The test gives every column of the tables that the config is for."""
    name = NAME.fullmatch(path.stem)
    if name['split']:  # only the servers know
        people = {'coco': 'coco/people', 'mpii': 'mpii/people'}
        assert metrics[people[name['data']]] > 0
        return
    columns = {
        column
        for table, row in ROWS
        if path.stem in (row.config, row.test)
        for column in table.metrics
        if column in tables_module.RESULT_KEYS
    }
    assert columns
    for column in columns:
        assert tables_module.result(metrics, column) is not None, column


def check_result_file(path, work_dir):
    """The files for the servers hold what was predicted."""
    split = NAME.fullmatch(path.stem)['split']
    if split == '-testdev':
        (file,) = work_dir.glob('*.zip')
        assert zipfile.ZipFile(file).testzip() is None
    elif split == '-test':
        assert 'pred' in loadmat(str(work_dir / 'pred.mat'))


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['coco'], ids=lambda p: p.stem)
def test_on_generated_coco(path, coco_data, tmp_path):
    check_metrics(path, run(path, coco_data, tmp_path))
    check_result_file(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    'path',
    [p for p in DATA['coco'] if 'testdev' not in p.stem],
    ids=lambda p: p.stem,
)
def test_on_real_coco(path, shared_data, tmp_path):
    """On 159 pictures of COCO; they have no test-dev part and no box file."""
    metrics = run(
        path,
        shared_data / 'coco_mini',
        tmp_path,
        **{
            'val_dataloader.dataset.bbox_file': None,
            'test_dataloader.dataset.bbox_file': None,
        },
    )
    check_metrics(path, metrics)


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['mpii'], ids=lambda p: p.stem)
def test_on_generated_mpii(path, mpii_data, tmp_path):
    check_metrics(path, run(path, mpii_data, tmp_path))
    check_result_file(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lsp'], ids=lambda p: p.stem)
def test_on_generated_lsp(path, lsp_data, tmp_path):
    check_metrics(path, run(path, lsp_data, tmp_path))


@pytest.fixture(scope='session')
def real_lspet(shared_data, tmp_path_factory):
    """LSP-extended's 9000 pictures, of which the last 1000 test."""
    out = tmp_path_factory.mktemp('lspet')
    call_tool(
        'dataset_converters/lsp_to_coco.py',
        *('--lspet', shared_data / 'lspet'),
        *('--val-from', '8001', '--out', out),
    )
    return out


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lsp'], ids=lambda p: p.stem)
def test_on_real_lspet(path, shared_data, real_lspet, tmp_path):
    changes = {
        'train_dataloader.dataset.ann_file': f'{real_lspet}/lsp_train.json'
    }
    for loader in ('val_dataloader', 'test_dataloader'):
        changes[f'{loader}.dataset.ann_file'] = f'{real_lspet}/lsp_val.json'
    metrics = run(path, shared_data, tmp_path, **changes)
    check_metrics(path, metrics)


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lspet'], ids=lambda p: p.stem)
def test_on_generated_lspet(path, lsp_data, tmp_path):
    assert run(path, lsp_data, tmp_path)['lsp/PCK'] >= 0


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lspet'], ids=lambda p: p.stem)
def test_on_the_real_split_of_lspet(path, shared_data, real_lspet, tmp_path):
    changes = {
        f'{part}_dataloader.dataset.ann_file': f'{real_lspet}/lsp_{file}.json'
        for part, file in (('train', 'train'), ('val', 'val'), ('test', 'val'))
    }
    assert run(path, shared_data, tmp_path, **changes)['lsp/PCK'] >= 0


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['people'], ids=lambda p: p.stem)
def test_on_drawn_people(path, tmp_path):
    out = tmp_path / 'people'
    call_tool(
        'dataset_converters/generate_people.py',
        *('--out', out, '--size', '128x96'),
        *('--num-train', '4', '--num-val', '4'),
    )
    assert run(path, out, tmp_path / 'work')['PCK'] >= 0
