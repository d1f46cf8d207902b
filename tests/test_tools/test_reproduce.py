"""Reproducing a table: what runs, what is skipped, what a crash leaves.

The fast tests put fake scripts in place of tools/train.py and tools/test.py.
"""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmpose_lossplus.experiments.trainings import hold

from ..factories import (
    ARGUMENTS,
    ROOT,
    load_tool,
    save_checkpoint,
    tiny_options,
)

COMMON = f"""{ARGUMENTS}
with open(here / 'calls', 'a') as file:
    print(pathlib.Path(__file__).stem, args.work_dir, file=file)
"""
FAKE_TRAIN = f"""TEST = False{COMMON}
if 'bad' in args.config.stem and not (here / 'mended').exists():
    sys.exit('The annotation file x.json does not exist: get it.')
shutil.copy(here / 'checkpoint.pth', args.work_dir / 'epoch_2.pth')
(args.work_dir / 'last_checkpoint').write_text('somewhere/epoch_2.pth')
print('train.py has finished.')
"""
FAKE_TEST = f"""TEST = True{COMMON}
assert args.checkpoint.exists()
seed = int(args.work_dir.name[len('seed'):])
args.out.write_text(json.dumps({{'coco/AP': 0.7 + seed / 100}}))
print('test.py has finished.')
"""


@pytest.fixture
def tool():
    terminated = signal.getsignal(signal.SIGTERM)
    yield load_tool('reproduce.py')
    signal.signal(signal.SIGTERM, terminated)


@pytest.fixture
def project(tool, monkeypatch, tmp_path):
    """Two tables, of which three rows share a training, and fake scripts."""
    tools, configs = tmp_path / 'tools', tmp_path / 'configs'
    tools.mkdir()
    configs.mkdir()
    (tools / 'calls').touch()
    (tools / 'train.py').write_text(FAKE_TRAIN)
    (tools / 'test.py').write_text(FAKE_TEST)
    save_checkpoint(tools / 'checkpoint.pth')
    for name in ('mse_4xb32', 'mse_4xb32-boxes', 'bad_2xb8', 'plain'):
        (configs / f'{name}.py').write_text(
            f'name = {name!r}\n'
            "default_hooks = dict(checkpoint=dict(save_best='coco/AP'))\n"
            'train_cfg = dict(max_epochs=2)\n'
            "test_evaluator = dict(type='CocoMetric')\n"
            'auto_scale_lr = dict(base_batch_size=512)\n'
        )

    def row(name, config, test=None, left_out=''):
        cells = (name, [name], config, test, dict(AP=72.4), 'P')
        return tool.tables.Row(*cells, left_out=left_out)

    def table(name, *rows):
        return tool.tables.Table(
            name, 'A title', 'configs', ['Loss'], ['AP'], list(rows)
        )

    tables = [
        table(
            'paper/table1',
            row('mse', 'mse_4xb32'),
            row('mse-boxes', 'mse_4xb32', 'mse_4xb32-boxes'),
            row('cited', None, left_out='Another method'),
        ),
        table('paper/table2', row('mse', 'mse_4xb32')),
        table(
            'paper/table3', row('bad', 'bad_2xb8'), row('good', 'mse_4xb32')
        ),
        table('paper/table4', row('plain', 'plain')),
    ]
    monkeypatch.setattr(tool, 'TOOLS', tools)
    monkeypatch.setattr(
        tool.tables, 'load_tables', lambda: {t.id: t for t in tables}
    )
    monkeypatch.setattr(
        tool.tables, 'config_file', lambda name: str(configs / f'{name}.py')
    )
    return tmp_path


@pytest.fixture
def reproduce(tool, project, monkeypatch):
    """Run the tool, return the steps that ran, as script and folder."""
    calls = project / 'tools' / 'calls'

    def call(*args):
        calls.write_text('')
        argv = ['reproduce.py', *args, '--work-dir', str(project / 'work')]
        monkeypatch.setattr(sys, 'argv', argv)
        tool.main()
        return read()

    def read():
        work = f'{project / "work"}/'
        text = calls.read_text().replace(work, '')
        return [tuple(line.split()) for line in text.splitlines()]

    call.calls = read
    return call


def snapshot(folder):
    return {
        path: path.read_bytes() for path in folder.rglob('*') if path.is_file()
    }


def test_rows_and_tables_share_a_training(reproduce, project):
    train = ('train', 'train/mse_4xb32/seed0')
    assert reproduce('paper/table1') == [
        train,
        ('test', 'paper/table1/mse/seed0'),
        ('test', 'paper/table1/mse-boxes/seed0'),
    ]
    assert reproduce('paper/table2') == [('test', 'paper/table2/mse/seed0')]
    assert reproduce('paper/table1') == []
    assert reproduce('paper/table1', '--rows', 'cited') == []
    row = project / 'work/paper/table1/mse-boxes/seed0/row.json'
    row = json.loads(row.read_text())
    assert row['config_hash'] != row['test_config_hash']
    expected = dict(
        seed=0,
        config='mse_4xb32',
        test_config='mse_4xb32-boxes',
        checkpoint='epoch_2.pth',
        metrics={'coco/AP': 0.7},
    )
    assert expected.items() <= row.items()


def test_more_seeds_later(reproduce, project):
    reproduce('paper/table1', '--rows', 'mse')
    assert reproduce(
        'paper/table1', '--rows', 'mse', '--seeds', '2', '0', '2'
    ) == [
        ('train', 'train/mse_4xb32/seed2'),
        ('test', 'paper/table1/mse/seed2'),
    ]
    report = (project / 'work/paper/table1/report.md').read_text()
    # 70 and 72 against 72.4.
    assert re.search(r'seeds 0, 2 +\| 71.00 ±1.41 ', report)
    assert re.search(r'difference +\| -1.40 ', report)
    assert '- cited: Another method' in report
    assert report.count('not run') == 1
    with (project / 'work/paper/table1/report.csv').open() as file:
        lines = list(csv.DictReader(file))
    assert [(x['row'], x['seed']) for x in lines] == [
        ('mse', '0'),
        ('mse', '2'),
    ]


@pytest.mark.parametrize('how', ['options', 'config'])
@pytest.mark.parametrize('done', [True, False])
def test_another_config_needs_another_folder(reproduce, project, how, done):
    reproduce('paper/table1', '--rows', 'mse')
    row = project / 'work/paper/table1/mse/seed0/row.json'
    old = json.loads(row.read_text())['config_hash']
    if not done:
        row.unlink()
    before = snapshot(project / 'work')
    more = []
    if how == 'options':
        more = ['--cfg-options', 'train_cfg.max_epochs=3']
    else:
        with (project / 'configs/mse_4xb32.py').open('a') as file:
            file.write('train_cfg = dict(max_epochs=3)\n')
    with pytest.raises(SystemExit) as stop:
        reproduce('paper/table1', *more)
    message = stop.value.code
    hashes = re.findall(r'\b[0-9a-f]{12}\b', message)
    assert hashes[0] == old
    assert len(set(hashes)) == 2
    assert '--work-dir' in message
    assert reproduce.calls() == []
    assert snapshot(project / 'work') == before


def test_nothing_to_keep_of_a_first_attempt(reproduce, project):
    """As when only the options say where the data is."""
    with pytest.raises(SystemExit, match='bad'):
        reproduce('paper/table3', '--rows', 'bad')
    (project / 'tools' / 'mended').touch()
    more = ['--cfg-options', 'data_root=elsewhere']
    assert len(reproduce('paper/table3', '--rows', 'bad', *more)) == 2


def test_killed_between_the_test_and_its_record(reproduce, project):
    reproduce('paper/table2')
    row = project / 'work/paper/table2/mse/seed0/row.json'
    row.unlink()
    assert reproduce('paper/table2') == [('test', 'paper/table2/mse/seed0')]
    assert row.exists()


def test_a_failed_row_does_not_stop_the_others(reproduce, project, capsys):
    with pytest.raises(SystemExit, match='bad'):
        reproduce('paper/table3')
    assert reproduce.calls() == [
        ('train', 'train/bad_2xb8/seed0'),
        ('train', 'train/mse_4xb32/seed0'),
        ('test', 'paper/table3/good/seed0'),
    ]
    log = project / 'work/train/bad_2xb8/seed0/train.log'
    output = capsys.readouterr().out
    report = (project / 'work/paper/table3/report.md').read_text()
    for text in (output, report):
        assert 'FAILED' in text
        assert 'The annotation file x.json does not exist: get it.' in text
        assert str(log) in text
    assert 'Traceback' not in output
    (project / 'tools' / 'mended').touch()
    assert reproduce('paper/table3') == [
        ('train', 'train/bad_2xb8/seed0'),
        ('test', 'paper/table3/bad/seed0'),
    ]


def test_dry_run_prints_what_would_run(reproduce, project, capsys):
    before = snapshot(project)
    reproduce('paper/table1', '--dry-run', '--cfg-options', 'a=b c')
    lines = capsys.readouterr().out.splitlines()
    assert snapshot(project) == before
    train, *tests = map(shlex.split, lines)
    assert train == [
        sys.executable,
        str(project / 'tools/train.py'),
        str(project / 'configs/mse_4xb32.py'),
        '--auto-scale-lr',
        *('--work-dir', str(project / 'work/train/mse_4xb32/seed0')),
        *('--launcher', 'none'),
        *('--cfg-options', 'randomness.seed=0'),
        # What the name promises, whatever the config says.
        *('auto_scale_lr.base_batch_size=128', 'a=b c'),
    ]
    assert [Path(test[2]).stem for test in tests] == [
        'mse_4xb32',
        'mse_4xb32-boxes',
    ]
    best = f'{project}/work/train/mse_4xb32/seed0/best_*.pth'
    # Not quoted, for the shell to find it.
    assert all(f' {best} ' in line for line in lines[1:])
    # As many GPUs as the name says, for both scripts.
    reproduce('paper/table2', '--dry-run', '--launcher', 'pytorch')
    for line in capsys.readouterr().out.splitlines():
        assert '--nproc_per_node 4' in line
        assert '--launcher pytorch' in line

    reproduce('paper/table1')
    capsys.readouterr()
    reproduce('paper/table1', '--dry-run')
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        '# paper/table1 mse seed 0: done',
        '# paper/table1 mse-boxes seed 0: done',
    ]


def test_a_name_without_a_batch(reproduce, project, capsys):
    """One GPU, and the batch that the config itself says."""
    args = ['--dry-run', '--launcher', 'pytorch']
    reproduce('paper/table4', *args)
    train, _ = capsys.readouterr().out.splitlines()
    assert '--nproc_per_node 1' in train
    assert '--auto-scale-lr' in train
    assert 'base_batch_size' not in train
    config = project / 'configs/plain.py'
    text = config.read_text().replace("save_best='coco/AP'", 'interval=1')
    config.write_text(text)
    reproduce('paper/table4', *args)
    last = project / 'work/train/plain/seed0/last_checkpoint'
    assert f'"$(cat {last})"' in capsys.readouterr().out
    assert len(reproduce('paper/table4')) == 2


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['paper/tabel1'], 'paper/tabel1.*paper/table1'),
        (['paper/table1', '--rows', 'mes'], 'mes.*mse, mse-boxes, cited'),
        (['paper/table1', '--cfg-options', 'a'], 'got a'),
        (['paper/table1', '--cfg-options', 'randomness.seed=1'], '--seeds'),
        (['paper/table1', '--cfg-options', 'a=[1,2'], 'Imbalanced brackets'),
        (
            ['paper/table1', '--cfg-options', 'train_cfg.max_epochs.x=1'],
            'mse_4xb32.py',
        ),
        (['paper/table1', '--gpus', '2'], '--gpus 2 needs --launcher'),
        (['paper/table1', '--gpus', '0', '--launcher', 'slurm'], 'got 0'),
    ],
)
def test_bad_input(reproduce, project, args, message):
    with pytest.raises(SystemExit, match=message) as stop:
        reproduce(*args)
    assert '\n' not in stop.value.code
    assert not (project / 'work').exists()


def test_list(reproduce, capsys):
    reproduce('list')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('paper/table1: ')
    assert lines[1].split()[:2] == ['mse', 'mse-boxes']
    assert 'cited' not in lines[1]


def test_metrics_for_a_server_write_into_the_row(tool):
    evaluator = [
        dict(type='CocoMetric', ann_file='a.json'),
        dict(type='MpiiSubmission', outfile='work_dirs/pred.mat'),
    ]
    assert tool.output_options(evaluator, Path('w')) == [
        'test_evaluator.1.outfile=w/pred.mat'
    ]
    evaluator = dict(type='CocoSubmission')
    assert tool.output_options(evaluator, Path('w')) == [
        'test_evaluator.out_dir=w'
    ]


def test_no_going_on_with_other_gpus(reproduce, project):
    """MMEngine would keep the checkpoint's learning rate."""
    work = project / 'work/train/mse_4xb32/seed0'
    (project / 'tools' / 'train.py').write_text('exit(1)')
    with pytest.raises(SystemExit, match='mse'):
        reproduce('paper/table2')
    save_checkpoint(work / 'epoch_1.pth', iteration=1)
    begun = json.loads((work / 'train.json').read_text())
    (work / 'train.json').write_text(json.dumps(dict(begun, gpus=8)))
    with pytest.raises(SystemExit, match='mse'):
        reproduce('paper/table2')
    assert reproduce.calls() == []
    report = project / 'work/paper/table2/report.md'
    assert 'begun on 8 GPUs' in report.read_text()


def test_two_at_a_time(reproduce, project):
    training = project / 'work/train/mse_4xb32/seed0'
    stopped = pytest.raises(SystemExit, match=f'process {os.getpid()}')
    with hold(training), stopped:
        reproduce('paper/table1')
    assert reproduce.calls() == []
    assert len(reproduce('paper/table1')) == 3
    with hold(training):  # what is done needs no lock
        assert reproduce('paper/table1') == []


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_ending_it_ends_the_script(reproduce, project, how):
    # Ctrl-C is ignored in what a script has started in the background.
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    (project / 'tools' / 'train.py').write_text(
        'import os, pathlib, sys, time\n'
        "pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\n"
        'time.sleep(60)\n'
    )
    pid = project / 'tools' / 'pid'

    def end_it():
        while not pid.exists() or not pid.read_text():
            time.sleep(0.1)
        os.kill(os.getpid(), how)

    threading.Thread(target=end_it, daemon=True).start()
    try:
        with pytest.raises(SystemExit, match='Terminated|Interrupted'):
            reproduce('paper/table2')
    finally:
        signal.signal(signal.SIGINT, old)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def wait_for(condition, process, seconds=600):
    """Wait until something is true, which must be before the process ends."""
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None, 'it ended before it could be killed'
        assert time.time() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path, run_tool, coco_data):
    """A real table, on generated data.

    Killed are all processes in the first row's training, all in the second's,
    and at last reproduce.py alone.
    """
    work = tmp_path / 'work'
    args = ['hwl/table4', '--rows', 'none', 'linear', '--work-dir', work]
    options = tiny_options(coco_data, epochs=6)
    args += ['--cfg-options', *options]
    trainings = [
        work / 'train' / stem / 'seed0'
        for stem in (
            'td-hm_mobilenetv3-dwattn_1xb64-210e_coco-256x192',
            'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192',
        )
    ]
    rows = [work / 'hwl/table4' / row / 'seed0' for row in ('none', 'linear')]

    def in_epoch(folder, epoch):
        return lambda: any(
            f'"epoch": {epoch}' in scalars.read_text()
            for scalars in folder.glob('*/vis_data/scalars.json')
        )

    def start():
        command = [sys.executable, ROOT / 'tools/reproduce.py', *args]
        return subprocess.Popen(
            list(map(str, command)),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    process = start()
    wait_for(in_epoch(trainings[0], 3), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    process = start()
    wait_for(in_epoch(trainings[1], 2), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 'resumed epoch: ' in (trainings[0] / 'train.log').read_text()
    finished = (rows[0] / 'row.json').stat().st_mtime_ns
    assert not (rows[1] / 'row.json').exists()

    process = start()
    wait_for(in_epoch(trainings[1], 4), process)
    process.kill()
    process.wait()
    owner = (trainings[1] / '.train.lock.owner').read_text()
    child = re.search(r'\d+', owner)[0]
    os.kill(int(child), signal.SIGSTOP)
    result = run_tool('reproduce.py', *args, check=False)
    os.kill(int(child), signal.SIGCONT)
    assert result.returncode == 1
    assert f'in use by process {child} ' in result.stdout
    assert 'Traceback' not in result.stdout

    # It ends by itself, and is not trained again.
    end = time.time() + 600
    while Path(f'/proc/{child}').exists():
        assert time.time() < end
        time.sleep(0.2)
    before = (trainings[1] / 'train.log').read_bytes()
    result = run_tool('reproduce.py', *args)
    assert (trainings[1] / 'train.log').read_bytes() == before
    assert 'hwl/table4 none seed 0: done' in result.stdout
    assert (rows[0] / 'row.json').stat().st_mtime_ns == finished
    report = (work / 'hwl/table4/report.md').read_text()
    assert 'NOT comparable' in report
    assert len(re.findall(r'seed 0 +\|', report)) == 2
    assert report.count('not run') == 3
    for training, row in zip(trainings, rows):
        assert (training / 'epoch_6.pth').exists()
        (best,) = training.glob('best_*.pth')
        saved = json.loads((row / 'row.json').read_text())
        assert saved['checkpoint'] == best.name
        assert 'coco/AP' in saved['metrics']
        assert saved['cfg_options'] == options
