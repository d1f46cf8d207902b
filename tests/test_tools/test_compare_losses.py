"""Comparing losses: trainings begin, go on, fail and are reported.

The fast tests put a fake script in place of tools/train.py.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from mmpose_lossplus.experiments import comparison
from mmpose_lossplus.experiments.trainings import hold

from ..factories import ARGUMENTS, ROOT, call, load_tool, save_checkpoint

tool = load_tool('compare_losses.py')
DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'

FAKE_TRAIN = f'TEST = False{ARGUMENTS}'
FAKE_TRAIN += """
import os, time
loss = args.config.parent.name
seed = int(args.work_dir.name[len('seed'):])
with open(here / 'calls', 'a') as file:
    print(loss, seed, 'resumed' if args.resume else 'new', file=file)
if (here / 'slow').exists():
    (here / f'{os.getpid()}.pid').touch()
    time.sleep(60)
if (here / f'bad_{loss}').exists():
    sys.exit('The disk is full.')
die, first = here / f'die_{loss}', 3 if args.resume else 1
log = args.work_dir / f'2024010{first}_000000/vis_data/scalars.json'
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
def compare(tmp_path, coco_data, monkeypatch):
    """Run the tool, which may refuse in a line; return what it began."""
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'train.py').write_text(FAKE_TRAIN)
    save_checkpoint(tools / 'checkpoint.pth', iteration=2)
    monkeypatch.setattr(comparison, 'TOOLS', tools)
    both = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.getsignal(number) for number in both}
    # Ctrl-C is ignored in what a script has started in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*args, config=DEMO, work='work', refused=None):
        calls = tools / 'calls'
        calls.write_text('')
        argv = ['compare_losses.py', config, *args]
        argv += ['--work-dir', tmp_path / work]
        if '--cfg-options' not in args:
            argv += ['--cfg-options', f'data_root={coco_data}']
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        if refused is None:
            tool.main()
        else:
            with pytest.raises(SystemExit, match=refused) as stop:
                tool.main()
            assert '\n' not in stop.value.code
        return calls.read_text().splitlines()

    yield start
    for number, handler in handlers.items():
        signal.signal(number, handler)


def table_of(report):
    """The numbers of a report."""
    text = report.read_text()
    return text[text.index('## Score') : text.index('## Logs')]


def test_trainings_are_not_redone(compare, tmp_path, capsys):
    whole, work = tmp_path / 'whole', tmp_path / 'work'
    args = ('--losses', 'mse', 'amse', '--seeds', '0', '1')
    new = ['mse 0 new', 'amse 0 new', 'mse 1 new', 'amse 1 new']
    assert compare(*args, work='whole') == new
    output = capsys.readouterr().out
    assert 'amse seed 1: coco/AP 0.441 (4 of 4' in output
    # 0.4, 0.01 for each letter and 0.001 for each seed.
    report = pd.read_csv(whole / 'report.csv')
    assert list(report['coco/AP'].round(6)) == [0.43, 0.431, 0.44, 0.441]
    assert list(report['seed']) == [0, 1, 0, 1]
    verdict = (whole / 'report.md').read_text().splitlines()[-1]
    assert verdict.startswith('Take amse')
    assert verdict in ' '.join(output.split())
    epochs = pd.read_csv(whole / 'epochs.csv')
    assert list(epochs['epoch']) == [1, 2, 3, 4] * 4
    assert not list(whole.rglob('*.partial'))
    # The report is of all of them, whatever came last.
    assert compare('--losses', 'mse', '--seeds', '0') == new[:1]
    assert sorted(compare(*args, '--jobs', '2')) == sorted(new[1:])
    # One that has not ended, and is not asked for, is no part of it.
    (tmp_path / 'tools/bad_rmse').touch()
    rmse = ('--losses', 'rmse', '--seeds', '0')
    assert compare(*rmse, refused='rmse seed 0') == ['rmse 0 new']
    assert 'rmse' in (work / 'report.md').read_text()
    assert compare('--losses', 'mse', '--seeds', '1') == []
    for name in ('report.md', 'report.csv', 'epochs.csv'):
        one, other = ((x / name).read_text() for x in (whole, work))
        pattern = f'- Command: .*|{tmp_path}/[a-z]+'
        assert re.sub(pattern, '', one) == re.sub(pattern, '', other)
    # Nothing was learned if a constant prediction is as good.
    (work / 'constant.json').write_text('{"coco/AP": 0.5}')
    assert compare(*args, '--target-score', '0.2') == []
    report = (work / 'report.md').read_text()
    assert 'epochs to 0.2000' in report
    assert 'constant prediction (0.5)' in report


def test_a_cut_off_training_goes_on(compare, tmp_path, capsys):
    """And does not stop the others."""
    args = ('--losses', 'amse', 'mse', '--seeds', '0')
    compare(*args, work='whole')
    (tmp_path / 'tools/die_amse').touch()
    named = 'amse seed 0: Killed. .*train.log'
    compare(*args, refused=named)
    assert 'mse seed 0: coco/AP 0.43' in capsys.readouterr().out
    report = tmp_path / 'work/report.md'
    assert 'NOT all trainings have ended: 1 of 2' in report.read_text()
    assert compare(*args) == ['amse 0 resumed']
    assert table_of(report) == table_of(tmp_path / 'whole/report.md')
    logs = report.read_text().split('## Logs')[1]
    assert re.search('20240101_000000.*20240103_000000', logs)


@pytest.mark.parametrize(
    ('score', 'message', 'calls'),
    [
        ('AR', 'AR.* coco/AP', []),
        ('coco/AP', 'mse seed 0: .* nan', ['mse 0 new', 'amse 0 new']),
    ],
)
def test_no_score(compare, tmp_path, score, message, calls):
    (tmp_path / 'tools/nan_mse').touch()
    args = ('--losses', 'mse', 'amse', '--seeds', '0', '--score')
    for expected in (calls, []):
        found = compare(*args, score, refused=message)
        assert found == expected


def test_other_settings_need_another_folder(compare, tmp_path):
    own = "own=dict(type='AsymmetricMSELoss', beta={})"
    compare('--losses', own.format(0.1), '--seeds', '0')
    files = [x for x in (tmp_path / 'work').rglob('*') if x.is_file()]
    before = {path: path.read_bytes() for path in files}
    for message, args in {
        'max_epochs is 60 there .* 7': ['--epochs', '7'],
        'beta is 0.1 there .* 0.5': ['--losses', own.format(0.5)],
        'gpus is 1 there .* 2': ['--launcher', 'pytorch', '--gpus', '2'],
    }.items():
        assert compare(*args, refused=message) == []
    assert all(path.read_bytes() == before[path] for path in files)


@pytest.mark.parametrize(
    ('field', 'value', 'said'),
    [
        # So that COCO's AP is 0 whatever is predicted.
        ('area', 0, 'area .*id 1: 0'),
        ('area', None, 'area .*id 1: None'),
        ('id', -4, 'id .*-4'),
    ],
)
def test_labels_that_are_wrong(
    compare, coco_data, tmp_path, field, value, said
):
    """They are told of before all trainings, not taken for a bad loss."""
    root = shutil.copytree(coco_data, tmp_path / 'coco')
    file = root / 'annotations' / 'person_keypoints_val2017.json'
    coco = json.loads(file.read_text())
    coco['annotations'][0][field] = value
    file.write_text(json.dumps(coco))
    options = '--cfg-options', f'data_root={root}'
    assert compare(*options, refused=f'{file}: {said}') == []
    assert not (tmp_path / 'work').exists()


def test_two_at_a_time(compare, tmp_path):
    args = ('--losses', 'mse', '--seeds', '0')
    with hold(tmp_path / 'work/mse/seed0'):
        compare(*args, refused=str(os.getpid()))
    assert compare(*args) == ['mse 0 new']


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_ending_it_ends_the_trainings(compare, tmp_path, how):
    tools = tmp_path / 'tools'
    (tools / 'slow').touch()

    def end_it():
        while len([*tools.glob('*.pid')]) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), how)

    threading.Thread(target=end_it, daemon=True).start()
    args = ('--losses', 'mse', 'amse', '--seeds', '0', '--jobs', '2')
    compare(*args, refused='Terminated|Interrupted')
    for file in tools.glob('*.pid'):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.stem), 0)


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
        (['--launcher', 'pytorch', '--jobs', '2'], '--jobs .*2'),
        (['--cfg-options', 'a'], 'KEY=VALUE, got a'),
        (['--cfg-options', 'randomness.seed=1'], '--seeds'),
        (['--cfg-options', 'a=[1,2'], '--cfg-options'),
        (['--cfg-options', 'data_root=nowhere/'], 'nowhere.* does not exist'),
    ],
)
def test_bad_input(compare, tmp_path, args, message):
    compare(*args, refused=message)
    compare(config='nothing.py', refused='nothing.py')
    assert not (tmp_path / 'work').exists()


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
        args = [config, '--losses', 'anchor', '--seeds', '0', '1']
        args += ['--epochs', '3', '--jobs', '2', '--work-dir', work]
        args += ['--cfg-options', f'data_root={coco_data}']
        command = [sys.executable, ROOT / 'tools/compare_losses.py', *args]
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True)

    def in_epoch_2():
        logs = (work / 'anchor/seed0').glob('*/vis_data/scalars.json')
        return any('"epoch": 2' in log.read_text() for log in logs)

    # With what --cfg-options would take for a list, and rich for a tag.
    whole, work = tmp_path / 'whole', tmp_path / "a, [b] (c d)' {e}"
    assert start(whole).wait() == 0
    process = start(work)
    while not in_epoch_2():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert start(work).wait() == 0
    assert 'resumed epoch: ' in (work / 'anchor/seed0/train.log').read_text()

    tables = [pd.read_csv(x / 'report.csv') for x in (whole, work)]
    for table in tables:
        table.drop(columns=['seconds per iteration', 'logs'], inplace=True)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert set(tables[0]['epochs']) == {3}
    assert (tables[0]['PCK'] > 0).any()
    assert tables[0]['heatmap/MSE'].nunique() == 2

    files = 'configs/anchor.py', 'anchor/seed0/epoch_3.pth'
    code = f'from mmpose.apis import init_model; init_model(*{files}, "cpu")'
    call(sys.executable, '-c', code, cwd=work)
