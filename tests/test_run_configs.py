"""Every config trains an iteration and tests a batch by MMPose's runner."""

import zipfile

import pytest
from scipy.io import loadmat

from mmpose_lossplus.experiments import tables

from .factories import CONFIGS, NAME, ROWS, call_tool, train_and_test

pytestmark = pytest.mark.slow
LOADERS = ('train', 'val', 'test')


def each_config_of(*data, testdev=True):
    """Parametrize by the configs that train on one of some data sets."""
    paths = [
        path
        for path in CONFIGS
        if NAME.fullmatch(path.stem)['data'] in data
        and (testdev or 'testdev' not in path.stem)
    ]
    return pytest.mark.parametrize('path', paths, ids=lambda p: p.stem)


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


@each_config_of('coco')
def test_on_generated_coco(path, coco_data, tmp_path):
    check_metrics(path, train_and_test(path, coco_data, tmp_path))
    if NAME.fullmatch(path.stem)['split']:
        (file,) = tmp_path.glob('*.zip')
        assert zipfile.ZipFile(file).testzip() is None


@each_config_of('coco', testdev=False)
def test_on_real_coco(path, shared_data, tmp_path):
    """On 159 pictures of COCO; they have no test-dev part and no box file."""
    boxes = {f'{part}_dataloader.dataset.bbox_file': None for part in LOADERS}
    del boxes['train_dataloader.dataset.bbox_file']
    data = shared_data / 'coco_mini'
    check_metrics(path, train_and_test(path, data, tmp_path, **boxes))


@each_config_of('mpii')
def test_on_generated_mpii(path, mpii_data, tmp_path):
    check_metrics(path, train_and_test(path, mpii_data, tmp_path))
    if NAME.fullmatch(path.stem)['split']:
        assert 'pred' in loadmat(tmp_path / 'pred.mat')


@each_config_of('lsp', 'lspet')
def test_on_generated_lsp(path, lsp_data, tmp_path):
    check_metrics(path, train_and_test(path, lsp_data, tmp_path))


@pytest.fixture(scope='session')
def real_lspet(shared_data, tmp_path_factory):
    """Changes for LSP-extended's 9000 pictures; the last 1000 test."""
    out = tmp_path_factory.mktemp('lspet')
    call_tool(
        'dataset_converters/lsp_to_coco.py',
        *('--lspet', shared_data / 'lspet'),
        *('--val-from', '8001', '--out', out),
    )
    files = zip(LOADERS, ('train', 'val', 'val'))
    return {
        f'{part}_dataloader.dataset.ann_file': f'{out}/lsp_{file}.json'
        for part, file in files
    }


@each_config_of('lsp', 'lspet')
def test_on_real_lspet(path, shared_data, real_lspet, tmp_path):
    metrics = train_and_test(path, shared_data, tmp_path, **real_lspet)
    check_metrics(path, metrics)
