"""The report's arithmetic and its files, on results written by hand."""

import csv
import json

import pytest

from mmpose_lossplus.experiments import report
from mmpose_lossplus.experiments.tables import NOT_PUBLISHED, Row, Table


@pytest.fixture
def table():
    def row(name, ap, **more):
        reported = dict(AP=ap, AR=NOT_PUBLISHED)
        return Row(name, [name.upper()], 'c', None, reported, 'P', **more)

    rows = [
        row('mse', 72.4),
        row('amse', '+0.6 over MSE'),
        row('cited', 70.0, left_out='Another method'),
        row('later', 71.0),
    ]
    folder = 'configs/paper'
    return Table(
        *('paper/table1', 'A title', folder, ['Loss'], ['AP', 'AR'], rows),
        notes=['A note.'],
    )


@pytest.fixture
def save(tmp_path):
    """Write one result as tools/reproduce.py does."""

    def write(row, seed, metrics, **more):
        folder = tmp_path / 'paper' / 'table1' / row / f'seed{seed}'
        folder.mkdir(parents=True)
        record = dict(
            **dict(table='paper/table1', row=row, seed=seed),
            **dict(config='c', config_hash='a' * 12),
            **dict(test_config='c', test_config_hash='b' * 12),
            cfg_options=[],
            gpus=1,
            checkpoint='best.pth',
            metrics=metrics,
            result_files=[],
            date='2024-01-01T00:00:00+00:00',
            commit='0123456789abcdef+dirty',
            versions=dict(torch='2.1.2', mmpose='1.3.2'),
        )
        record.update(more)
        (folder / 'row.json').write_text(json.dumps(record))

    return write


@pytest.fixture
def write(table, tmp_path):
    """The text of report.md, its tables' cells, and lines of report.csv."""

    def read(**more):
        report.write(table, tmp_path, **more)
        folder = tmp_path / 'paper' / 'table1'
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
    _, cells, lines = write()
    at = cells.index(['mse', 'MSE', 'published', '72.4', 'NR'])
    ours = ['', '', 'seeds 0, 1', '73.00 ±1.41', '75.00 ±0.00']
    assert cells[at + 1] == ours
    assert cells[at + 2] == ['', '', 'difference', '+0.60', '']
    assert [line['seed'] for line in lines] == ['0', '1']
    first = lines[0]
    assert float(first['AP']) == pytest.approx(72)
    expected = {
        'published AP': '72.4',
        'coco/AP': '0.72',
        'Loss': 'MSE',
        'torch': '2.1.2',
        'commit': '0123456789abcdef+dirty',
    }
    assert expected.items() <= first.items()


def test_one_seed_has_no_deviation(save, write):
    save('amse', 3, {'coco/AP': 0.7, 'coco/AR': 0.8})
    text, cells, _ = write()
    at = cells.index(['amse', 'AMSE', 'published', '+0.6 over MSE', 'NR'])
    assert cells[at + 1] == ['', '', 'seed 3', '70.00', '80.00']
    # No number is published of which ours could differ.
    assert cells[at + 2] == ['', '', 'difference', '', '']
    assert '0123456789abcdef+dirty' in text
    assert 'torch 2.1.2, mmpose 1.3.2' in text
    assert 'omparable' not in text


def test_other_configs_are_not_averaged(save, write):
    save('mse', 0, {'coco/AP': 0.72})
    save('mse', 1, {'coco/AP': 0.74}, config_hash='c' * 12)
    save('mse', 2, {'coco/AP': 0.76}, test_config_hash='d' * 12)
    _, cells, _ = write()
    ours = [row for row in cells if row[2].startswith('seed ')]
    assert [row[3] for row in ours] == ['72.00', '74.00', '76.00']
    hashes = [row[1:3] for row in cells if row[0] == 'mse' and len(row) == 7]
    assert len(hashes) == 3
    assert ['c' * 12, 'b' * 12] in hashes


def test_rows_without_a_number(save, write):
    server = dict(people=20288, images=19000)
    save('mse', 0, server, result_files=['results.zip'])
    text, cells, lines = write(problems=dict(amse='seed 0: no disk'))
    kinds = [row[2] for row in cells if len(row) == 5]
    assert kinds[2:] == [
        'published',
        'seed 0: result file written, score from the server',
        *('published', 'FAILED'),
        *('published', 'left out'),
        *('published', 'not run'),
    ]
    for detail in ('amse: seed 0: no disk', 'cited: Another method', 'mse: P'):
        assert f'- {detail}\n' in text
    assert '- A note.' in text
    assert lines[0]['result_files'] == 'results.zip'
    assert lines[0]['people'] == '20288'


def test_nothing_run(write):
    _, cells, lines = write()
    assert [row[2] for row in cells].count('not run') == 3
    assert lines == []


@pytest.mark.parametrize(
    'option',
    [
        'data_root=data/demo',
        'test_dataloader.dataset.bbox_file=None',
        'train_dataloader.dataset.indices=8',
    ],
)
def test_other_data_are_not_comparable(save, write, capsys, option):
    options = [option, 'train_cfg.max_epochs=2']
    save('mse', 0, {'coco/AP': 0.72}, cfg_options=options)
    text, _, _ = write()
    for output in (text, capsys.readouterr().out):
        (line,) = (x for x in output.splitlines() if 'NOT comparable' in x)
        assert option in line
        assert 'max_epochs' not in line
        assert 'Not the recipe of the configs: train_cfg' in output
        assert output.index(line) < output.index('difference')


def test_another_folder(table, tmp_path):
    report.write(table, tmp_path, out=tmp_path / 'new' / 'folder')
    names = {path.name for path in (tmp_path / 'new' / 'folder').iterdir()}
    assert names == {'report.md', 'report.csv'}
    assert not (tmp_path / 'paper').exists()


def test_markdown_table():
    """What would end a cell or a line does not; columns can be centred."""
    cells = [['1', 'a|b'], ['', 'c\nd']]
    header, rule, *rows = report.markdown_table(['x', ''], cells, [1])
    assert header.replace(' ', '') == '|x||'
    assert rule[:3] == '|:-'
    assert rule[-3:] == '-:|'
    assert [row.split(' ', 1)[1].strip(' |') for row in rows] == [
        r'1   | a\|b',
        'c d',
    ]


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


def test_unknown_table(run_tool, tmp_path):
    args = ('analysis_tools/report.py', 'amse/table9')
    result = run_tool(*args, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert 'amse/table9' in result.stdout
    assert 'amse/table2' in result.stdout
    assert not list(tmp_path.iterdir())
