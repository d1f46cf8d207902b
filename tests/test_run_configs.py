"""Every config trains an iteration and tests a batch by MMPose's runner."""

import zipfile

import pytest
from scipy.io import loadmat

from mmpose_lossplus.experiments import tables

from .factories import (
    CONFIGS,
    NAME,
    ROWS,
    call_tool,
    train_and_test,
)

DATA = {
    data: [p for p in CONFIGS if NAME.fullmatch(p.stem)['data'] == data]
    for data in ('coco', 'mpii', 'lsp', 'lspet')
}


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
        if column in tables.RESULT_KEYS
    }
    assert columns
    for column in columns:
        assert tables.result(metrics, column) is not None, column


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
    check_metrics(path, train_and_test(path, coco_data, tmp_path))
    check_result_file(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    'path',
    [p for p in DATA['coco'] if 'testdev' not in p.stem],
    ids=lambda p: p.stem,
)
def test_on_real_coco(path, shared_data, tmp_path):
    """On 159 pictures of COCO; they have no test-dev part and no box file."""
    metrics = train_and_test(
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
    check_metrics(path, train_and_test(path, mpii_data, tmp_path))
    check_result_file(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lsp'], ids=lambda p: p.stem)
def test_on_generated_lsp(path, lsp_data, tmp_path):
    check_metrics(path, train_and_test(path, lsp_data, tmp_path))


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
    metrics = train_and_test(path, shared_data, tmp_path, **changes)
    check_metrics(path, metrics)


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lspet'], ids=lambda p: p.stem)
def test_on_generated_lspet(path, lsp_data, tmp_path):
    assert train_and_test(path, lsp_data, tmp_path)['lsp/PCK'] >= 0


@pytest.mark.slow
@pytest.mark.parametrize('path', DATA['lspet'], ids=lambda p: p.stem)
def test_on_the_real_split_of_lspet(path, shared_data, real_lspet, tmp_path):
    changes = {
        f'{part}_dataloader.dataset.ann_file': f'{real_lspet}/lsp_{file}.json'
        for part, file in (('train', 'train'), ('val', 'val'), ('test', 'val'))
    }
    assert (
        train_and_test(path, shared_data, tmp_path, **changes)['lsp/PCK'] >= 0
    )
