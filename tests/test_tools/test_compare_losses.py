"""Comparing losses: trainings begin, go on, fail and are reported.

The fast tests put a fake script in place of tools/train.py.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
import torch
from mmengine.config import Config

from mmpose_lossplus.experiments import comparison
from mmpose_lossplus.experiments.trainings import hold

from ..factories import ARGUMENTS, ROOT, load_tool

tool = load_tool('compare_losses.py')
DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'

FAKE_TRAIN = f'TEST = False{ARGUMENTS}'
FAKE_TRAIN += """
loss = args.config.parent.name
seed = int(args.work_dir.name[len('seed'):])
with open(here / 'calls', 'a') as file:
    print(loss, seed, 'resumed' if args.resume else 'new', file=file)
if (here / 'bad').exists() and loss == (here / 'bad').read_text():
    sys.exit('The disk is full.')
assert not args.cfg_options
config = args.config.read_text()
assert f'randomness = dict(seed={seed})' in config
die = here / f'die_{loss}_{seed}'
first = 3 if args.resume else 1
stamp = f'2024010{first}_000000'
log = args.work_dir / stamp / 'vis_data' / 'scalars.json'
log.parent.mkdir(parents=True)
with log.open('w') as file:
    for epoch in range(first, 5):
        entry = dict(loss=0.1, time=0.2, epoch=epoch, iter=epoch, step=epoch)
        print(json.dumps(entry), file=file)
        if die.exists() and epoch == 3:
            shutil.copy(here / 'checkpoint.pth', args.work_dir / 'epoch_2.pth')
            die.unlink()
            print('{"coco/AP": 0.', file=file, end='')
            sys.exit('Killed.')
        score = 0.1 * epoch + 0.01 * len(loss) + 0.001 * seed
        if (here / f'nan_{loss}').exists() and epoch == 4:
            score = float('nan')
        print(json.dumps({'coco/AP': score, 'step': epoch}), file=file)
print('Epoch(train)  [4][16/16]  lr: 0.1')
print('train.py has finished.')
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'train.py').write_text(FAKE_TRAIN)
    state = dict(meta=dict(iter=2), optimizer={})
    state.update(message_hub=dict(runtime_info={}))
    torch.save(state, tools / 'checkpoint.pth')
    monkeypatch.setattr(comparison, 'TOOLS', tools)
    return tmp_path


@pytest.fixture
def compare(project, coco_data, monkeypatch):
    """Run the tool, return the trainings that it began."""
    calls = project / 'tools' / 'calls'
    terminated = signal.getsignal(signal.SIGTERM)

    def run(*args, config=DEMO, work='work', data=coco_data):
        calls.write_text('')
        argv = ['compare_losses.py', config, *args]
        argv += ['--work-dir', project / work]
        if '--cfg-options' not in args:
            argv += ['--cfg-options', f'data_root={data}']
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        tool.main()
        return calls.read_text().splitlines()

    yield run
    signal.signal(signal.SIGTERM, terminated)


def parts_of(report):
    """What a report says, apart from the command and from where it is."""
    text = report.read_text().replace(str(report.parent), '')
    return re.sub('- Command: .*', '', text)


def table_of(report):
    """The numbers of a report."""
    text = report.read_text()
    return text[text.index('## Score') : text.index('## Logs')]


def scores_of(work):
    """The score of each training."""
    report = pd.read_csv(work / 'report.csv', index_col=['loss', 'seed'])
    return report['coco/AP'].round(6).to_dict()


def test_trainings_are_not_redone(compare, project, capsys):
    args = ('--losses', 'mse', 'amse', '--seeds')
    new = ['mse 0 new', 'amse 0 new', 'mse 1 new', 'amse 1 new']
    assert compare(*args, '0', '1') == new
    output = capsys.readouterr().out
    assert 'amse seed 1: coco/AP 0.441 (4 of 4' in output
    assert output.startswith('4 trainings to do')
    work = project / 'work'
    # 0.4, 0.01 for each letter and 0.001 for each seed.
    expected = {('mse', 0): 0.43, ('mse', 1): 0.431}
    expected.update({('amse', 0): 0.44, ('amse', 1): 0.441})
    assert scores_of(work) == expected
    lines = (work / 'report.md').read_text().splitlines()
    assert lines[-1].startswith('Take amse')
    assert lines[-1] in ' '.join(output.split())
    assert 'NOT all' not in output
    epochs = pd.read_csv(work / 'epochs.csv')
    assert list(epochs['epoch']) == [1, 2, 3, 4] * 4
    for name in ('curves.png', 'differences.png'):
        assert (work / name).read_bytes().startswith(b'\x89PNG')
    assert not list(work.rglob('*.partial'))
    table = table_of(work / 'report.md')
    assert compare(*args, '0', '1') == []
    assert table_of(work / 'report.md') == table
    assert compare(*args, '1', '2', '0', '2') == ['mse 2 new', 'amse 2 new']


@pytest.mark.slow
def test_more_losses_and_seeds_later(compare, project):
    """The report is that of all of them, whatever came last."""
    whole, work = project / 'whole', project / 'work'
    args = ('--losses', 'mse', 'anchor', 'amse', '--seeds')
    compare(*args, '0', '1', work='whole')
    compare('--losses', 'mse', 'anchor', '--seeds', '0')
    assert compare('--losses', 'amse', '--seeds', '0') == ['amse 0 new']
    compare(*args, '1')
    for name in ('report.md', 'report.csv', 'epochs.csv'):
        assert parts_of(work / name) == parts_of(whole / name)
    # One that has not ended, and is not asked for, is no part of it.
    (project / 'tools/bad').write_text('rmse')
    with pytest.raises(SystemExit, match='rmse seed 0'):
        compare('--losses', 'rmse', '--seeds', '0')
    assert 'rmse' in (work / 'report.md').read_text()
    assert compare('--losses', 'mse', '--seeds', '1') == []
    assert parts_of(work / 'report.md') == parts_of(whole / 'report.md')
    assert len(compare(*args, '0', '1', '--jobs', '3', work='other')) == 6
    other = project / 'other/report.md'
    assert table_of(other) == table_of(whole / 'report.md')


def test_any_name_of_a_folder(compare, project):
    """With what --cfg-options would take for a list, and rich for a tag."""
    name = "a, [b] (c d)' {e}"
    args = ('--losses', 'anchor', '--seeds', '5')
    assert compare(*args, work=name) == ['anchor 5 new']
    work = project / name
    assert (work / 'report.md').exists()
    cfg = Config.fromfile(work / 'configs/anchor/seed5.py')
    assert cfg.randomness.seed == 5
    # For other tools.
    cfg = Config.fromfile(work / 'configs/anchor.py')
    assert cfg.custom_imports.imports == ['mmpose_lossplus']
    assert cfg.model.head.loss.type == 'AnchorLoss'
    assert str(project) not in cfg.pretty_text
    assert cfg.randomness.get('seed') != 5


def test_a_score_that_is_nan(compare, project):
    (project / 'tools/nan_mse').touch()
    args = ('--losses', 'mse', 'amse', '--seeds', '0')
    for calls in (['mse 0 new', 'amse 0 new'], []):
        (project / 'tools/calls').write_text('')
        with pytest.raises(SystemExit, match='mse seed 0: .* nan'):
            compare(*args)
        assert (project / 'tools/calls').read_text().splitlines() == calls
    assert scores_of(project / 'work') == {('amse', 0): 0.44}
    table = table_of(project / 'work/report.md')
    assert 'nan' not in table.replace('cannot', '')


def test_a_cut_off_training_goes_on(compare, project, capsys):
    """And does not stop the others."""
    args = ('--losses', 'amse', 'mse', '--seeds', '0')
    compare(*args, work='whole')
    (project / 'tools/die_amse_0').touch()
    with pytest.raises(SystemExit, match='amse seed 0: Killed. .*train.log'):
        compare(*args)
    assert 'mse seed 0: coco/AP 0.43' in capsys.readouterr().out
    report = project / 'work/report.md'
    assert 'NOT all trainings have ended: 1 of 2' in report.read_text()
    assert compare(*args) == ['amse 0 resumed']
    assert table_of(report) == table_of(project / 'whole/report.md')
    logs = report.read_text().split('## Logs')[1]
    assert '20240101_000000' in logs
    assert '20240103_000000' in logs


def test_another_score_later(compare, project):
    args = ('--losses', 'mse', 'amse', '--seeds', '0', '1')
    for calls in (['mse 0 new'], []):
        with pytest.raises(SystemExit, match='AR.* coco/AP') as stop:
            compare(*args, '--score', 'AR')
        assert '\n' not in stop.value.code
        assert (project / 'tools/calls').read_text().splitlines() == calls
    args = ('--losses', 'mse', '--seeds', '0')
    assert compare(*args) == []
    assert compare(*args, '--target-score', '0.2') == []
    assert 'epochs to 0.2000' in (project / 'work/report.md').read_text()


def test_models_that_have_not_learned(compare, project, monkeypatch):
    """All their scores are ones that a constant prediction has."""
    scores = {'coco/AP': 0.5}
    monkeypatch.setattr(comparison, 'constant_scores', lambda _: scores)
    compare('--losses', 'mse', 'amse', '--seeds', '0', '1')
    verdict = (project / 'work/report.md').read_text().splitlines()[-1]
    assert 'constant prediction (0.5)' in verdict
    assert 'Take' not in verdict


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--epochs', '7'], 'settings.train_cfg.max_epochs is 60 there .* 7'),
        (
            ['--losses', "own=dict(type='AsymmetricMSELoss', beta=0.5)"],
            'losses.own.beta is 0.1 there and not 0.5',
        ),
        (
            ['--launcher', 'pytorch', '--gpus', '2'],
            'gpus is 1 there and not 2',
        ),
    ],
)
def test_other_settings_need_another_folder(compare, project, more, message):
    own = "own=dict(type='AsymmetricMSELoss', beta=0.1)"
    compare('--losses', own, '--seeds', '0')
    files = [x for x in (project / 'work').rglob('*') if x.is_file()]
    before = {path: path.read_bytes() for path in files}
    if '--losses' not in more:
        more = ['--losses', 'mse', *more]
    with pytest.raises(SystemExit, match=message) as stop:
        compare(*more, '--seeds', '0')
    assert '\n' not in stop.value.code
    for path, content in before.items():
        assert path.read_bytes() == content


def test_two_at_a_time(compare, project):
    refused = pytest.raises(SystemExit, match=f'{os.getpid()}')
    with hold(project / 'work/mse/seed0'), refused:
        compare('--losses', 'mse', '--seeds', '0')
    assert compare('--losses', 'mse', '--seeds', '0') == ['mse 0 new']


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_ending_it_ends_the_trainings(compare, project, how):
    # Ctrl-C is ignored in what a script has started in the background.
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    pids = project / 'pids'
    (project / 'tools/train.py').write_text(
        'import os, time\n'
        f'with open({str(pids)!r}, "a") as file:\n'
        '    print(os.getpid(), file=file)\n'
        'time.sleep(60)\n'
    )

    def end_it():
        while not pids.exists() or len(pids.read_text().splitlines()) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), how)

    threading.Thread(target=end_it, daemon=True).start()
    try:
        with pytest.raises(SystemExit, match='Terminated|Interrupted'):
            compare('--losses', 'mse', 'amse', '--seeds', '0', '--jobs', '2')
    finally:
        signal.signal(signal.SIGINT, old)
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--losses', 'msa'], 'msa'),
        (['--losses', 'configs=dict(type="KeypointMSELoss")'], 'configs'),
        (['--losses', 'report.md=dict(type="KeypointMSELoss")'], 'report.md'),
        (['--losses', 'mse', 'mse.py=dict(type="AnchorLoss")'], 'mse.py'),
        (['--seeds', '-1'], '-1'),
        (['--epochs', '0'], '--epochs .*0'),
        (['--jobs', '0'], '--jobs .*0'),
        (['--gpus', '2'], '--gpus 2'),
        (['--launcher', 'pytorch', '--jobs', '2'], 'which|--jobs .*2'),
        (['--cfg-options', 'a'], 'KEY=VALUE, got a'),
        (['--cfg-options', 'randomness.seed=1'], '--seeds'),
        (['--cfg-options', 'a=[1,2'], '--cfg-options'),
        (['--cfg-options', 'data_root=nowhere/'], 'nowhere.* does not exist'),
    ],
)
def test_bad_input(compare, project, args, message):
    with pytest.raises(SystemExit, match=message) as stop:
        compare(*args)
    assert '\n' not in stop.value.code
    assert not (project / 'work').exists()


def test_no_config(compare):
    with pytest.raises(SystemExit, match='nothing.py'):
        compare(config='nothing.py')


def test_help(run_tool):
    assert '90 %' in run_tool('compare_losses.py', '--help').stdout


@pytest.mark.slow
def test_killed_and_started_again(tmp_path, coco_data):
    """All of it with MMPose: the same table, to the last digit, as without."""
    config = tmp_path / 'pck_1xb2.py'
    # On noise AP is 0, a generous PCK is not.
    config.write_text(
        f'_base_ = {str(DEMO)!r}\n'
        "val_evaluator = dict(_delete_=True, type='PCKAccuracy', thr=0.5)\n"
        "default_hooks = dict(checkpoint=dict(save_best='PCK'), "
        'logger=dict(interval=1))\n'
        'train_dataloader = dict(batch_size=2, num_workers=0, '
        'persistent_workers=False)\n'
    )

    def start(work):
        args = [config, '--losses', 'mse', 'anchor', '--seeds', '0', '1']
        args += ['--epochs', '4', '--jobs', '2', '--work-dir', work]
        args += ['--cfg-options', f'data_root={coco_data}']
        return subprocess.Popen(
            [sys.executable, ROOT / 'tools/compare_losses.py', *args],
            cwd=tmp_path,
            start_new_session=True,
        )

    def in_epoch_3():
        logs = (work / 'mse/seed0').glob('*/vis_data/scalars.json')
        return any('"epoch": 3' in log.read_text() for log in logs)

    whole, work = tmp_path / 'whole', tmp_path / 'work, [1] of 2'
    assert start(whole).wait() == 0
    process = start(work)
    while not in_epoch_3():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert start(work).wait() == 0
    assert 'resumed epoch: ' in (work / 'mse/seed0/train.log').read_text()

    tables = [pd.read_csv(x / 'report.csv') for x in (whole, work)]
    for table in tables:
        table.drop(columns=['seconds per iteration', 'logs'], inplace=True)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert set(tables[0]['epochs']) == {4}
    assert (tables[0]['PCK'] > 0).any()
    assert 'heatmap/MSE' in tables[0]

    files = 'configs/anchor.py', 'anchor/seed0/epoch_4.pth'
    code = f'from mmpose.apis import init_model; init_model(*{files}, "cpu")'
    subprocess.run([sys.executable, '-c', code], cwd=work, check=True)
