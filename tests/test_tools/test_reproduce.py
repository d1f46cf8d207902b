"""Reproducing a table: what runs, what is skipped, what a crash leaves.

The fast tests put fake scripts in place of tools/train.py and tools/test.py.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
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
    sys.exit('The file x.json does not exist: get it.')
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
    """Four tables, of which four rows share a training, and fake scripts."""
    tools, configs = tmp_path / 'tools', tmp_path / 'configs'
    tools.mkdir()
    configs.mkdir()
    (tools / 'train.py').write_text(FAKE_TRAIN)
    (tools / 'test.py').write_text(FAKE_TEST)
    save_checkpoint(tools / 'checkpoint.pth')
    best = "default_hooks = dict(checkpoint=dict(save_best='coco/AP'))"
    for name in ('mse_4xb32', 'mse_4xb32-boxes', 'bad_2xb8', 'plain'):
        (configs / f'{name}.py').write_text(
            f'name = {name!r}\n{"" if name == "plain" else best}\n'
            "train_cfg, test_evaluator = dict(), dict(type='CocoMetric')\n"
            'auto_scale_lr = dict(base_batch_size=512)\n'
        )

    def row(name, config, test=None, left_out=''):
        cells = (name, [name], config, test, dict(AP=72.4), 'P')
        return tool.tables.Row(*cells, left_out=left_out)

    mse = row('mse', 'mse_4xb32')
    boxes = row('boxes', 'mse_4xb32', 'mse_4xb32-boxes')
    cited = row('cited', None, left_out='Another method')
    rows = {
        'p/table1': [mse, boxes, cited],
        'p/table2': [mse],
        'p/table3': [row('bad', 'bad_2xb8'), row('good', 'mse_4xb32')],
        'p/table4': [row('plain', 'plain')],
    }
    table = tool.tables.Table
    tables = {x: table(x, 'A', 'c', ['Loss'], ['AP'], rows[x]) for x in rows}
    monkeypatch.setattr(tool, 'TOOLS', tools)
    monkeypatch.setattr(tool.tables, 'load_tables', lambda: tables)
    monkeypatch.setattr(
        tool.tables, 'config_file', lambda name: str(configs / f'{name}.py')
    )
    return tmp_path


@pytest.fixture
def reproduce(tool, project, monkeypatch):
    """Run the tool, return the steps that ran, as script and folder."""
    calls, work = project / 'tools' / 'calls', project / 'work'

    def run_steps(*args):
        calls.write_text('')
        argv = ['reproduce.py', *args, '--work-dir', str(work)]
        monkeypatch.setattr(sys, 'argv', argv)
        tool.main()
        return steps()

    def steps():
        text = calls.read_text().replace(f'{work}/', '')
        return [tuple(line.split()) for line in text.splitlines()]

    run_steps.steps = steps
    return run_steps


def wait_for(condition, process=None):
    """Wait until something is true, while a process lives."""
    end = time.time() + 600
    while not condition():
        assert process is None or process.poll() is None, 'ended too early'
        assert time.time() < end
        time.sleep(0.02)


def snapshot(folder):
    files = filter(Path.is_file, folder.rglob('*'))
    return {path: path.read_bytes() for path in files}


def test_rows_tables_and_seeds_share_a_training(reproduce, project):
    boxes = ('test', 'p/table1/boxes/seed0')
    assert reproduce('p/table1') == [
        ('train', 'train/mse_4xb32/seed0'),
        ('test', 'p/table1/mse/seed0'),
        boxes,
    ]
    assert reproduce('p/table2') == [('test', 'p/table2/mse/seed0')]
    assert reproduce('p/table2', '--seeds', '2', '0', '2') == [
        ('train', 'train/mse_4xb32/seed2'),
        ('test', 'p/table2/mse/seed2'),
    ]
    # 70 and 72 against 72.4.
    report = (project / 'work/p/table2/report.md').read_text()
    assert re.search(r'seeds 0, 2 +\| 71.00 ±1.41 ', report)
    file = project / 'work/p/table1/boxes/seed0/row.json'
    row = json.loads(file.read_text())
    assert row['config_hash'] != row['test_config_hash']
    expected = dict(config='mse_4xb32', test_config='mse_4xb32-boxes', seed=0)
    expected.update(checkpoint='epoch_2.pth', metrics={'coco/AP': 0.7})
    assert expected.items() <= row.items()
    file.unlink()  # killed between the test and its record
    assert reproduce('p/table1') == [boxes]
    with hold(project / 'work/train/mse_4xb32/seed0'):
        assert reproduce('p/table1') == []  # what is done needs no lock
    in_use = pytest.raises(SystemExit, match=f'process {os.getpid()}')
    with hold(project / 'work/train/mse_4xb32/seed1'), in_use:
        reproduce('p/table1', '--seeds', '1')
    assert reproduce.steps() == []


def test_as_many_seeds_as_the_paper_has_runs(tool, reproduce, project):
    known = tool.tables.load_tables()
    mse = replace(known['p/table2'].rows[0], reported=dict(AP='72.4 ± 0.1'))
    known['p/table2'] = replace(known['p/table2'], rows=[mse], seeds=3)
    tested = [step[1] for step in reproduce('p/table2') if step[0] == 'test']
    assert tested == [f'p/table2/mse/seed{i}' for i in range(3)]
    report = (project / 'work/p/table2/report.md').read_text()
    assert re.search(r'published +\| 72.4 ± 0.1 ', report)
    assert re.search(r'seeds 0, 1, 2 +\| 71.00 ±1.00 ', report)
    assert re.search(r'difference +\| -1.40 ', report)


@pytest.mark.parametrize('how', ['options', 'config'])
@pytest.mark.parametrize('done', [True, False])
def test_another_config_needs_another_folder(reproduce, project, how, done):
    reproduce('p/table1', '--rows', 'mse')
    row = project / 'work/p/table1/mse/seed0/row.json'
    old = json.loads(row.read_text())['config_hash']
    if not done:
        row.unlink()
    before = snapshot(project / 'work')
    more = ['--cfg-options', 'train_cfg.max_epochs=3']
    if how == 'config':
        more = []
        with (project / 'configs/mse_4xb32.py').open('a') as file:
            file.write('train_cfg = dict(max_epochs=3)\n')
    with pytest.raises(SystemExit) as stop:
        reproduce('p/table1', *more)
    first, second = re.findall(r'\b[0-9a-f]{12}\b', stop.value.code)
    assert first == old != second
    assert reproduce.steps() == []
    assert snapshot(project / 'work') == before


def test_a_failed_row_does_not_stop_the_others(reproduce, project, capsys):
    train = ('train', 'train/bad_2xb8/seed0')
    with pytest.raises(SystemExit, match='bad'):
        reproduce('p/table3')
    assert reproduce.steps() == [
        train,
        ('train', 'train/mse_4xb32/seed0'),
        ('test', 'p/table3/good/seed0'),
    ]
    log = project / 'work/train/bad_2xb8/seed0/train.log'
    report = (project / 'work/p/table3/report.md').read_text()
    for text in (capsys.readouterr().out, report):
        for part in ('FAILED', 'The file x.json does not exist', str(log)):
            assert part in text
        assert 'Traceback' not in text
    (project / 'tools' / 'mended').touch()
    # Nothing is there to be mixed with the results of other options.
    more = ['--rows', 'bad', '--cfg-options', 'data_root=elsewhere']
    test = ('test', 'p/table3/bad/seed0')
    assert reproduce('p/table3', *more) == [train, test]


def test_dry_run_prints_what_would_run(reproduce, project, capsys):
    def lines(*args):
        capsys.readouterr()
        reproduce(*args, '--dry-run')
        return capsys.readouterr().out.splitlines()

    work = project / 'work'
    train, *tests = lines('p/table1', '--cfg-options', 'a=b c')
    assert not work.exists()
    assert shlex.split(train) == [
        sys.executable,
        str(project / 'tools/train.py'),
        str(project / 'configs/mse_4xb32.py'),
        '--auto-scale-lr',
        *('--work-dir', str(work / 'train/mse_4xb32/seed0')),
        *('--launcher', 'none'),
        *('--cfg-options', 'randomness.seed=0'),
        # What the name promises, whatever the config says.
        *('auto_scale_lr.base_batch_size=128', 'a=b c'),
    ]
    best = f'{work}/train/mse_4xb32/seed0/best_*.pth'  # for the shell
    for line, stem in zip(tests, ('mse_4xb32', 'mse_4xb32-boxes')):
        assert f'/{stem}.py {best} ' in line
    # As many GPUs as the name says, for both scripts.
    launched = lines('p/table2', '--launcher', 'pytorch')
    assert ['--nproc_per_node 4' in line for line in launched] == [True] * 2
    reproduce('p/table1')
    assert lines('p/table1') == [
        '# p/table1 mse seed 0: done',
        '# p/table1 boxes seed 0: done',
    ]


def test_a_name_without_a_batch(reproduce, project, capsys):
    """One GPU, and the batch that the config itself says."""
    reproduce('p/table4', '--dry-run', '--launcher', 'pytorch')
    train, test = capsys.readouterr().out.splitlines()
    assert '--nproc_per_node 1' in train
    assert '--auto-scale-lr' in train
    assert 'base_batch_size' not in train
    last = project / 'work/train/plain/seed0/last_checkpoint'
    assert f'"$(cat {last})"' in test  # it keeps no best
    assert len(reproduce('p/table4')) == 2


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ('p/tabel1', 'p/tabel1.*p/table1'),
        ('p/table1 --rows mes', 'mes.*mse, boxes, cited'),
        ('p/table1 --cfg-options a', 'got a'),
        ('p/table1 --cfg-options randomness.seed=1', '--seeds'),
        ('p/table1 --cfg-options a=[1,2', 'brackets'),
        ('p/table1 --cfg-options auto_scale_lr.base_batch_size.x=1', 'mse_4'),
        ('p/table1 --gpus 2', '--gpus 2 needs --launcher'),
        ('p/table1 --gpus 0 --launcher slurm', 'got 0'),
    ],
)
def test_bad_input(reproduce, project, args, message):
    with pytest.raises(SystemExit, match=message) as stop:
        reproduce(*args.split())
    assert '\n' not in stop.value.code
    assert not (project / 'work').exists()


def test_list(reproduce, capsys):
    reproduce('list')
    assert '\n    mse boxes (and 1' in capsys.readouterr().out


def test_metrics_for_a_server_write_into_the_row(tool):
    mpii = dict(type='MpiiSubmission', outfile='work_dirs/pred.mat')
    options = tool.output_options([dict(type='CocoMetric'), mpii], Path('w'))
    assert options == ['test_evaluator.1.outfile=w/pred.mat']
    options = tool.output_options(dict(type='CocoSubmission'), Path('w'))
    assert options == ['test_evaluator.out_dir=w']


def test_no_going_on_with_other_gpus(reproduce, project):
    """MMEngine would keep the checkpoint's learning rate."""
    work = project / 'work/train/mse_4xb32/seed0'
    (project / 'tools' / 'train.py').write_text('exit(1)')
    with pytest.raises(SystemExit, match='mse'):
        reproduce('p/table2')
    save_checkpoint(work / 'epoch_1.pth', iteration=1)
    begun = json.loads((work / 'train.json').read_text())
    (work / 'train.json').write_text(json.dumps(dict(begun, gpus=8)))
    with pytest.raises(SystemExit, match='mse'):
        reproduce('p/table2')
    assert reproduce.steps() == []
    report = (project / 'work/p/table2/report.md').read_text()
    assert 'begun on 8 GPUs' in report


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_ending_it_ends_the_script(reproduce, project, how):
    # Ctrl-C is ignored in what a script has started in the background.
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    pid = project / 'tools' / 'pid'
    (project / 'tools' / 'train.py').write_text(
        'import os, pathlib, time\n'
        f'pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n'
        'time.sleep(60)\n'
    )

    def end_it():
        wait_for(lambda: pid.exists() and pid.read_text())
        os.kill(os.getpid(), how)

    threading.Thread(target=end_it, daemon=True).start()
    try:
        with pytest.raises(SystemExit, match='Terminated|Interrupted'):
            reproduce('p/table2')
    finally:
        signal.signal(signal.SIGINT, old)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path, run_tool, coco_data):
    """A real table, on generated data.

    Killed are all processes in the first row's training, all in the second's,
    and at last reproduce.py alone.
    """
    work = tmp_path / 'work'
    options = tiny_options(coco_data, epochs=4)
    args = ['hwl/table4', '--rows', 'none', 'linear', '--work-dir', work]
    args += ['--cfg-options', *options]
    trainings = [
        work / f'train/td-hm_mobilenetv3-dwattn_{loss}1xb64-210e_coco-256x192'
        for loss in ('', 'hmw-')
    ]
    first, second = (folder / 'seed0' for folder in trainings)
    rows = [work / f'hwl/table4/{row}/seed0' for row in ('none', 'linear')]

    def kill_in_epoch(folder, epoch, kill):
        command = [sys.executable, ROOT / 'tools/reproduce.py', *args]
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(
            lambda: any(
                f'"epoch": {epoch}' in scalars.read_text()
                for scalars in folder.glob('*/vis_data/scalars.json')
            ),
            process,
        )
        kill(process.pid, signal.SIGKILL)
        process.wait()

    kill_in_epoch(first, 2, os.killpg)
    kill_in_epoch(second, 2, os.killpg)
    assert 'resumed epoch: ' in (first / 'train.log').read_text()
    finished = (rows[0] / 'row.json').stat().st_mtime_ns
    assert not (rows[1] / 'row.json').exists()

    kill_in_epoch(second, 3, os.kill)
    owner = (second / '.train.lock.owner').read_text()
    child = int(re.search(r'\d+', owner)[0])
    os.kill(child, signal.SIGSTOP)
    result = run_tool('reproduce.py', *args, check=False)
    os.kill(child, signal.SIGCONT)
    assert result.returncode == 1
    assert f'in use by process {child} ' in result.stdout
    assert 'Traceback' not in result.stdout

    # It ends by itself, and is not trained again.
    wait_for(lambda: not Path(f'/proc/{child}').exists())
    before = (second / 'train.log').read_bytes()
    run_tool('reproduce.py', *args)
    assert (second / 'train.log').read_bytes() == before
    assert (rows[0] / 'row.json').stat().st_mtime_ns == finished
    report = (work / 'hwl/table4/report.md').read_text()
    assert 'NOT comparable' in report
    assert len(re.findall(r'seed 0 +\|', report)) == 2
    for training, row in zip((first, second), rows):
        assert (training / 'epoch_4.pth').exists()
        (best,) = training.glob('best_*.pth')
        saved = json.loads((row / 'row.json').read_text())
        assert saved['checkpoint'] == best.name
        assert 'coco/AP' in saved['metrics']
        assert saved['cfg_options'] == options
