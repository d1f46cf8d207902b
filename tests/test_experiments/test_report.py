"""The report's arithmetic and its files, on results written by hand."""

import csv
import json

import pytest

from mmpose_lossplus.experiments import report
from mmpose_lossplus.experiments.tables import NOT_PUBLISHED, Row, Table


@pytest.fixture
def table():
    def row(name, ap, left_out=''):
        reported = dict(AP=ap, AR=NOT_PUBLISHED)
        cells = (name, [name.upper()], 'c', None, reported, 'P')
        return Row(*cells, left_out=left_out)

    rows = [
        row('mse', 72.4),
        row('amse', '+0.6 over MSE'),
        row('cited', 70.0, left_out='Another method'),
        row('later', 71.0),
    ]
    cells = ('p/table1', 'A title', 'configs/p', ['Loss'], ['AP', 'AR'], rows)
    return Table(*cells, notes=['A note.'])


@pytest.fixture
def save(tmp_path):
    """Write one result as tools/reproduce.py does."""

    def write(row, seed, metrics, **more):
        record = dict(table='p/table1', row=row, seed=seed, metrics=metrics)
        record.update(config_hash='a' * 12, test_config_hash='b' * 12)
        record.update(cfg_options=[], result_files=[], gpus=1)
        record.update(checkpoint='best.pth', commit='0123456789abcdef+dirty')
        record.update(versions=dict(torch='2.1.2', mmpose='1.3.2'))
        file = tmp_path / 'p' / 'table1' / row / f'seed{seed}' / 'row.json'
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({**record, **more}))

    return write


@pytest.fixture
def write(table, tmp_path):
    """The text of report.md, its tables' cells, and lines of report.csv."""

    def read(**more):
        report.write(table, tmp_path, **more)
        folder = tmp_path / 'p' / 'table1'
        text = (folder / 'report.md').read_text(encoding='utf-8')
        cells = [
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in text.splitlines()
            if line.startswith('|')
        ]
        with (folder / 'report.csv').open(newline='') as file:
            return text, cells, list(csv.DictReader(file))

    return read


def test_mean_deviation_and_difference(save, write):
    """72 and 74: mean 73, sample deviation sqrt(2), 0.6 above 72.4."""
    save('mse', 1, {'coco/AP': 0.74, 'coco/AR': 0.75})
    save('mse', 0, {'coco/AP': 0.72, 'coco/AR': 0.75})
    save('amse', 3, {'coco/AP': 0.7, 'coco/AR': 0.8})
    text, cells, lines = write()
    at = cells.index(['mse', 'MSE', 'published', '72.4', 'NR'])
    assert cells[at + 1 : at + 6] == [
        ['', '', 'seeds 0, 1', '73.00 ±1.41', '75.00 ±0.00'],
        ['', '', 'difference', '+0.60', ''],
        # No number is published, and one seed has no deviation.
        ['amse', 'AMSE', 'published', '+0.6 over MSE', 'NR'],
        ['', '', 'seed 3', '70.00', '80.00'],
        ['', '', 'difference', '', ''],
    ]
    assert 'torch 2.1.2, mmpose 1.3.2' in text
    assert 'omparable' not in text
    assert [line['seed'] for line in lines] == ['0', '1', '3']
    expected = {'published AP': '72.4', 'coco/AP': '0.72', 'Loss': 'MSE'}
    expected.update(torch='2.1.2', commit='0123456789abcdef+dirty')
    assert expected.items() <= lines[0].items()
    assert float(lines[0]['AP']) == pytest.approx(72)


def test_other_configs_are_not_averaged(save, write):
    save('mse', 0, {'coco/AP': 0.72})
    save('mse', 1, {'coco/AP': 0.74}, config_hash='c' * 12)
    save('mse', 2, {'coco/AP': 0.76}, test_config_hash='d' * 12)
    _, cells, _ = write()
    ours = [row[3] for row in cells if row[2].startswith('seed ')]
    assert ours == ['72.00', '74.00', '76.00']
    runs = [row[1:3] for row in cells if row[0] == 'mse' and len(row) == 7]
    assert len(runs) == 3
    assert ['c' * 12, 'b' * 12] in runs


def test_rows_without_a_number(save, write):
    server = dict(people=20288, images=19000)
    save('mse', 0, server, result_files=['results.zip'])
    text, cells, (line,) = write(problems=dict(amse='seed 0: no disk'))
    kinds = [row[2] for row in cells if len(row) == 5]
    assert [kind for kind in kinds[2:] if kind != 'published'] == [
        'seed 0: result file written, score from the server',
        *('FAILED', 'left out', 'not run'),
    ]
    for detail in ('amse: seed 0: no disk', 'cited: Another method', 'mse: P'):
        assert f'- {detail}\n' in text
    assert line['result_files'] == 'results.zip'
    assert line['people'] == '20288'


DATA = ['data_root=data/demo', 'test_dataloader.dataset.bbox_file=None']
DATA += ['train_dataloader.dataset.indices=8']


def test_other_data_are_not_comparable(save, write):
    options = [*DATA, 'train_cfg.max_epochs=2']
    save('mse', 0, {'coco/AP': 0.72}, cfg_options=options)
    text, _, _ = write()
    (line,) = (x for x in text.splitlines() if 'NOT comparable' in x)
    assert line.strip('*').endswith(f': {" ".join(DATA)}')
    assert 'Not the recipe of the configs: train_cfg' in text
    assert text.index(line) < text.index('difference')


def test_nothing_run_and_another_folder(table, tmp_path):
    out = tmp_path / 'new' / 'folder'
    report.write(table, tmp_path, out=out)
    assert {x.name for x in out.iterdir()} == {'report.md', 'report.csv'}
    assert (out / 'report.md').read_text().count('not run') == 3
    assert not (tmp_path / 'p').exists()


@pytest.mark.parametrize(
    'command',
    [['analysis_tools/report.py', 'amse/table1'], ['reproduce.py', 'list']],
)
def test_a_terminal_without_greek_letters(command, run_tool, tmp_path):
    ascii_only = dict(LC_ALL='C', PYTHONUTF8='0')
    result = run_tool(*command, cwd=tmp_path, env=ascii_only)
    assert 'amse/table1: Effect of ?, COCO' in result.stdout
    for file in tmp_path.rglob('report.md'):
        assert 'Effect of β, COCO' in file.read_text(encoding='utf-8')
