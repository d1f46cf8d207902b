"""Every config trains an iteration and tests a batch by MMPose's runner.

Those that are there only to test what another one trained, whose model and
training data they have by test_tables.py, are tested only.
"""

import zipfile

import pytest
from scipy.io import loadmat

from mmpose_lossplus.experiments import tables

from .factories import (
    CONFIGS,
    LOADERS,
    NAME,
    ROWS,
    run_main,
    train_and_test,
)

pytestmark = pytest.mark.slow
TEST_ONLY = {row.test for _, row in ROWS} - {row.config for _, row in ROWS}


def configs_of(*data):
    """The configs that train on one of some data sets."""
    return [p for p in CONFIGS if NAME.fullmatch(p.stem)['data'] in data]


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda p: p.stem)


def run(path, root, work_dir, **changes):
    train = path.stem not in TEST_ONLY
    return train_and_test(path, root, work_dir, train, **changes)


def check_metrics(path, metrics):
    """The test gives every column of the tables that the config is for."""
    name = NAME.fullmatch(path.stem)
    if name['split']:  # only the servers know
        assert metrics[f'{name["data"]}/people'] > 0
        return
    columns = {
        column
        for table, row in ROWS
        if path.stem in (row.config, row.test)
        for column in table.metrics
        if column in tables.RESULT_KEYS
    }
    # No table has what is there only to compare losses.
    for column in columns or {'Mean'}:
        assert tables.result(metrics, column) is not None, column


@each(configs_of('coco'))
def test_on_generated_coco(path, coco_data, tmp_path):
    check_metrics(path, run(path, coco_data, tmp_path))
    if NAME.fullmatch(path.stem)['split']:
        (file,) = tmp_path.glob('*.zip')
        assert zipfile.ZipFile(file).testzip() is None


def recipe(path):
    """What decides how the data are prepared, and the loss they go into."""
    name = NAME.fullmatch(path.stem)
    return path.parent, *name.group('loss', 'gpus', 'batch', 'height')


RECIPES = {recipe(p): p for p in configs_of('coco') if 'testdev' not in p.stem}


@each(RECIPES.values())
def test_on_real_coco(path, shared_data, tmp_path):
    """On pictures of COCO, which have no test-dev part and no box file.

    One model of each recipe: they differ in nothing that the data can reach.
    """
    boxes = {f'{part}_dataloader.dataset.bbox_file': None for part in LOADERS}
    del boxes['train_dataloader.dataset.bbox_file']
    data = shared_data / 'coco_mini'
    check_metrics(path, train_and_test(path, data, tmp_path, **boxes))


@each(configs_of('mpii'))
def test_on_generated_mpii(path, mpii_data, tmp_path):
    check_metrics(path, run(path, mpii_data, tmp_path))
    if NAME.fullmatch(path.stem)['split']:
        assert 'pred' in loadmat(tmp_path / 'pred.mat')


@each(configs_of('lsp', 'lspet'))
def test_on_generated_lsp(path, lsp_data, tmp_path):
    check_metrics(path, run(path, lsp_data, tmp_path))


@pytest.fixture(scope='session')
def real_lspet(shared_data, tmp_path_factory):
    """Changes for LSP-extended's 9000 pictures; the last 1000 test."""
    out = tmp_path_factory.mktemp('lspet')
    run_main(
        'dataset_converters/lsp_to_coco.py',
        *('--lspet', shared_data / 'lspet'),
        *('--val-from', '8001', '--out', out),
    )
    files = zip(LOADERS, ('train', 'val', 'val'))
    return {
        f'{part}_dataloader.dataset.ann_file': f'{out}/lsp_{file}.json'
        for part, file in files
    }


@each(configs_of('lsp', 'lspet'))
def test_on_real_lspet(path, shared_data, real_lspet, tmp_path):
    metrics = run(path, shared_data, tmp_path, **real_lspet)
    check_metrics(path, metrics)
