"""What tools/train.py and test.py do before and after MMPose's scripts."""

import errno
import json
import os
from pathlib import Path

import mmpose
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmpose_lossplus import EpochSeedHook, SafeCheckpointHook
from mmpose_lossplus.experiments import host_scripts
from mmpose_lossplus.experiments.files import lock

from ..factories import ROOT, fork_tool, tiny_options

HMW = ROOT / 'configs/heatmap_weighting'
HMW /= 'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192.py'
SAFE = dict(type='mmpose.SafeCheckpointHook')
SEEDS = dict(type='mmpose.EpochSeedHook')
SYNC = dict(type='SyncBuffersHook')


def stopped(result, *words):
    """The script ended with one sentence in which these words stand."""
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout
    line = result.stdout.splitlines()[-1]
    assert all(str(word) in line for word in words), line


@pytest.mark.slow
@pytest.mark.parametrize('command', [['train.py'], ['test.py', 'x.pth']])
def test_work_dir_that_cannot_be(command, coco_data, tmp_path):
    """Refused before anything is built."""
    (tmp_path / 'file').touch()
    work_dir = tmp_path / 'file' / 'work'
    command = [command[0], HMW, *command[1:], '--work-dir', work_dir]
    options = tiny_options(coco_data, epochs=1)
    result = fork_tool(*command, '--cfg-options', *options, check=False)
    stopped(result, work_dir, os.strerror(errno.ENOTDIR), '--work-dir')
    assert 'System environment' not in result.stdout


def test_work_dir_without_the_right_to_write(monkeypatch, tmp_path):
    def refuse(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), dir)

    monkeypatch.setattr(host_scripts.tempfile, 'TemporaryFile', refuse)
    with pytest.raises(SystemExit, match=str(tmp_path)):
        host_scripts.check_work_dir(tmp_path)


def test_work_dir_with_letters_that_the_locale_lacks(monkeypatch, tmp_path):
    """MMEngine would fail at the first checkpoint."""
    folder = tmp_path / '\u4eba'
    host_scripts.check_work_dir(folder)
    monkeypatch.setattr(
        host_scripts.locale, 'getpreferredencoding', lambda _: 'ascii'
    )
    with pytest.raises(SystemExit, match='ascii.*PYTHONUTF8'):
        host_scripts.check_work_dir(folder)
    host_scripts.check_work_dir(tmp_path)


def test_two_trainings_in_one_folder(coco_data, tmp_path):
    command = ['train.py', HMW, '--work-dir', tmp_path, '--cfg-options']
    command += tiny_options(coco_data, epochs=1)
    with lock(tmp_path / host_scripts.LOCK):
        result = fork_tool(*command, check=False)
    stopped(result, tmp_path, f'process {os.getpid()}')


class OwnHook(CheckpointHook):
    pass


@pytest.mark.parametrize(
    ('checkpoint', 'expected'),
    [
        (dict(type='CheckpointHook', interval=3), dict(SAFE, interval=3)),
        (dict(type=CheckpointHook), SAFE),
        ('default', dict(SAFE, interval=1)),  # which MMEngine adds
        # Own ones are left alone.
        (None, None),
        (dict(type=OwnHook), dict(type=OwnHook)),
        (dict(type='SafeCheckpointHook'), dict(type='SafeCheckpointHook')),
        (dict(type=SafeCheckpointHook), dict(type=SafeCheckpointHook)),
    ],
)
def test_checkpoints_are_made_safe(checkpoint, expected):
    default = checkpoint == 'default'
    hooks = dict() if default else dict(checkpoint=checkpoint)
    cfg = Config(dict(default_hooks=hooks))
    changes = host_scripts.make_safe(cfg)
    assert cfg.default_hooks.checkpoint == expected
    assert len(changes) == (expected != checkpoint)


@pytest.mark.parametrize(
    ('seed', 'hooks', 'expected'),
    [
        (0, [SYNC], [SYNC, SEEDS]),
        (0, None, [SEEDS]),
        (None, [SYNC], [SYNC]),
        (0, [dict(type='EpochSeedHook')], [dict(type='EpochSeedHook')]),
        (0, [dict(type=EpochSeedHook)], [dict(type=EpochSeedHook)]),
    ],
)
def test_epochs_are_seeded(seed, hooks, expected):
    cfg = Config(dict(randomness=dict(seed=seed), custom_hooks=hooks))
    cfg.default_hooks = dict(checkpoint=None)
    changes = host_scripts.make_safe(cfg)
    assert cfg.custom_hooks == expected
    assert len(changes) == (expected != hooks)


@pytest.mark.slow
def test_train_without_validation_and_tests(coco_data, tmp_path):
    """Options of MMPose's scripts that change the evaluators, our line of
    what was added, and checkpoints of other models."""
    folder = Path(mmpose.__file__).parent / '.mim/configs/body_2d_keypoint'
    name = 'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'
    config = folder / 'topdown_heatmap' / 'coco' / name
    work_dir = ['--work-dir', tmp_path, '--cfg-options']
    options = tiny_options(coco_data, epochs=1, validate=False)
    train = ['train.py', config, '--no-validate', *work_dir, *options]
    lines = fork_tool(*train).stdout.splitlines()
    assert lines[-1] == 'train.py has finished.'
    assert any(x.endswith('(SafeCheckpointHook)') for x in lines)
    dump, out = tmp_path / 'dump.pkl', tmp_path / 'out.json'
    test = ['test.py', config, tmp_path / 'epoch_1.pth']
    work_dir += tiny_options(coco_data, epochs=1)
    fork_tool(*test, '--dump', dump, '--out', out, *work_dir)
    assert dump.exists()
    assert 'coco/AP' in json.loads(out.read_text())

    other = 'model.backbone.widen_factor=0.5'
    result = fork_tool(*test, *work_dir, other, check=False)
    stopped(result, tmp_path / 'epoch_1.pth', config, 'size mismatch')
    odd = tmp_path / 'odd.pth'
    torch.save({'other.weight': torch.zeros(1)}, odd)
    for load_from, said in (
        (odd, 'other.weight'),
        (tmp_path / 'none.pth', 'none.pth'),
    ):
        result = fork_tool(*train, f'load_from={load_from}', check=False)
        stopped(result, load_from, config, said)
    log = fork_tool(*test, '--allow-misfit', *work_dir, other).stdout
    assert log.splitlines()[-1] == 'test.py has finished.'
