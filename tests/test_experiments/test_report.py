"""The report's arithmetic and its files, on results written by hand."""

import csv
import json

import pytest

METRICS = ['AP', 'AR']


@pytest.fixture
def report():
    return report


@pytest.fixture
def table(report):
    """A row measured twice, and others."""

    def row(name, ap, **more):
        return report.Row(
            id=name,
            labels=[name.upper()],
            config='c',
            test=None,
            reported=dict(AP=ap, AR='not published in available text'),
            source='P',
            **more,
        )

    return report.Table(
        id='paper/table1',
        title='A title',
        folder='configs/paper',
        labels=['Loss'],
        metrics=METRICS,
        rows=[
            row('mse', 72.4),
            row('amse', '+0.6 over MSE'),
            row('cited', 70.0, left_out='Another method'),
            row('later', 71.0),
        ],
        notes=['A note.'],
    )


@pytest.fixture
def save(tmp_path):
    """Write one result as tools/reproduce.py does."""

    def write(row, seed, metrics, **more):
        folder = tmp_path / 'paper' / 'table1' / row / f'seed{seed}'
        folder.mkdir(parents=True)
        record = dict(
            table='paper/table1',
            row=row,
            seed=seed,
            config='c',
            config_hash='a' * 12,
            test_config='c',
            test_config_hash='b' * 12,
            cfg_options=[],
            gpus=1,
            checkpoint='best.pth',
            metrics=metrics,
            result_files=[],
            seconds=dict(train=10, test=2),
            date='2024-01-01T00:00:00+00:00',
            commit='0123456789abcdef+dirty',
            versions=dict(torch='2.1.2', mmpose='1.3.2'),
        )
        record.update(more)
        (folder / 'row.json').write_text(json.dumps(record))

    return write


def write(report, table, tmp_path, **more):
    """The cells of report.md's tables and the lines of report.csv."""
    report.write(table, tmp_path, **more)
    folder = tmp_path / 'paper' / 'table1'
    text = (folder / 'report.md').read_text()
    cells = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    with (folder / 'report.csv').open(newline='') as file:
        return text, cells, list(csv.DictReader(file))


def test_mean_spread_and_difference(report, table, save, tmp_path):
    """72 and 74: mean 73, sample deviation sqrt(2), 0.6 above 72.4."""
    save('mse', 0, {'coco/AP': 0.72, 'coco/AR': 0.75})
    save('mse', 1, {'coco/AP': 0.74, 'coco/AR': 0.75})
    _, cells, lines = write(report, table, tmp_path)
    at = cells.index(['mse', 'MSE', 'published', '72.4', 'NR'])
    assert cells[at + 1] == [
        '',
        '',
        'seeds 0, 1',
        '73.00 ±1.41',
        '75.00 ±0.00',
    ]
    assert cells[at + 2] == ['', '', 'difference', '+0.60', '']
    assert [line['seed'] for line in lines] == ['0', '1']
    first = lines[0]
    assert first['published AP'] == '72.4'
    assert float(first['AP']) == pytest.approx(72)
    assert first['coco/AP'] == '0.72'
    assert first['Loss'] == 'MSE'
    assert first['seconds of train'] == '10'
    assert first['torch'] == '2.1.2'
    assert first['commit'] == '0123456789abcdef+dirty'


def test_one_seed_has_no_spread(report, table, save, tmp_path):
    save('amse', 3, {'coco/AP': 0.7, 'coco/AR': 0.8})
    text, cells, _ = write(report, table, tmp_path)
    at = cells.index(['amse', 'AMSE', 'published', '+0.6 over MSE', 'NR'])
    assert cells[at + 1] == ['', '', 'seed 3', '70.00', '80.00']
    # No number is published of which ours could differ.
    assert cells[at + 2] == ['', '', 'difference', '', '']
    assert '0123456789ab+dirty' in text
    assert 'torch 2.1.2, mmpose 1.3.2' in text
    assert 'omparable' not in text


def test_other_configs_are_not_averaged(report, table, save, tmp_path):
    save('mse', 0, {'coco/AP': 0.72})
    save('mse', 1, {'coco/AP': 0.74}, config_hash='c' * 12)
    save('mse', 2, {'coco/AP': 0.76}, test_config_hash='d' * 12)
    _, cells, _ = write(report, table, tmp_path)
    ours = [row for row in cells if row[2].startswith('seed ')]
    assert [row[3] for row in ours] == ['72.00', '74.00', '76.00']
    hashes = [row[2:4] for row in cells if row[0] == 'mse' and len(row) == 7]
    assert len(hashes) == 3
    assert ['c' * 12, 'b' * 12] in hashes


def test_rows_without_a_number(report, table, save, tmp_path):
    server = dict(people=20288, images=19000)
    save('mse', 0, server, result_files=['results.zip'])
    text, cells, lines = write(
        report, table, tmp_path, problems=dict(amse='seed 0: no disk')
    )
    kinds = [row[2] for row in cells if len(row) == 5]
    assert kinds[2:] == [
        'published',
        'seed 0: result file written, score from the server',
        *('published', 'FAILED'),
        *('published', 'left out'),
        *('published', 'not run'),
    ]
    assert '- amse: seed 0: no disk' in text
    assert '- cited: Another method' in text
    assert '- A note.' in text
    assert '- mse: P\n' in text
    assert lines[0]['result_files'] == 'results.zip'
    assert lines[0]['people'] == '20288'


def test_nothing_run(report, table, tmp_path):
    _, cells, lines = write(report, table, tmp_path)
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
def test_other_data_are_not_comparable(
    report, table, save, tmp_path, capsys, option
):
    options = [option, 'train_cfg.max_epochs=2']
    save('mse', 0, {'coco/AP': 0.72}, cfg_options=options)
    text, _, _ = write(report, table, tmp_path)
    for output in (text, capsys.readouterr().out):
        (line,) = (x for x in output.splitlines() if 'NOT comparable' in x)
        assert option in line
        assert 'max_epochs' not in line
        assert 'Not the recipe of the configs: train_cfg' in output
        assert output.index(line) < output.index('difference')


def test_another_folder(report, table, save, tmp_path):
    report.write(table, tmp_path, out=tmp_path / 'new' / 'folder')
    names = {path.name for path in (tmp_path / 'new' / 'folder').iterdir()}
    assert names == {'report.md', 'report.csv'}
    assert not (tmp_path / 'paper').exists()


def test_unknown_table(run_tool, tmp_path):
    result = run_tool(
        *('analysis_tools/report.py', 'amse/table9'),
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout.startswith('There is no table amse/table9; there are')
    assert not list(tmp_path.iterdir())
