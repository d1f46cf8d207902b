"""Trainings that must not break: processes, kills, full disks, precisions."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch.nn.modules.batchnorm import _BatchNorm

import mmpose_lossplus  # noqa: F401  registers the components

from .factories import (
    CONFIGS,
    LOSSES,
    ROOT,
    batch,
    fork_tool,
    pose_model,
    run_in_processes,
    tiny_options,
)

CONFIG = next(p for p in CONFIGS if 'dwattn_hmw-1xb64-210e_coco-256' in p.stem)


def train_on_shards(rank, world_size, folder):
    """Four pictures in three steps; rank 0 saves losses and weights."""
    results = {}
    for loss in LOSSES:
        model = pose_model(loss).double()
        # Statistics of a batch are those of a process's own pictures, so that
        # batch normalization would differ, whatever the loss.
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        data = batch(range(rank, 4, world_size))
        data['inputs'] = data['inputs'].double()
        if world_size > 1:
            model = MMDistributedDataParallel(model)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optim = OptimWrapper(sgd)
        steps = [model.train_step(data, optim)['loss'] for _ in range(3)]
        losses = torch.stack(steps).detach()
        if world_size > 1:
            torch.distributed.all_reduce(losses)
            model = model.module
        results[loss] = losses / world_size, model.state_dict()
    if rank == 0:
        torch.save(results, Path(folder) / f'{world_size}.pth')


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Means over all pixels of equal shards have the mean of all."""
    folder = str(tmp_path)
    train_on_shards(0, 1, folder)
    run_in_processes(train_on_shards, 2, folder)
    one, two = (torch.load(tmp_path / f'{n}.pth') for n in (1, 2))
    for loss in LOSSES:
        torch.testing.assert_close(two[loss], one[loss], rtol=1e-9, atol=1e-12)
        losses, _ = one[loss]
        assert losses[2] < losses[0]


def check_training(model, data, optim):
    """50 steps: every loss and weight is a number, and the loss falls."""
    steps = (model.train_step(data, optim)['loss'] for _ in range(50))
    losses = torch.tensor([float(loss) for loss in steps])
    assert losses.isfinite().all()
    assert losses[-5:].max() < 0.8 * losses[0]
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('loss', LOSSES)
def test_bfloat16_on_the_cpu(loss):
    model, data = pose_model(loss), batch(range(4))
    # MMEngine's AmpOptimWrapper wants a GPU.
    optim = OptimWrapper(torch.optim.Adam(model.parameters(), lr=5e-3))
    with torch.autocast('cpu', torch.bfloat16):
        assert model(**data).dtype == torch.bfloat16
        check_training(model, data, optim)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason='AmpOptimWrapper needs a GPU'
)
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('loss', LOSSES)
def test_amp_on_the_gpu(loss, dtype):
    model, data = pose_model(loss).cuda(), batch(range(4))
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    optim = AmpOptimWrapper('dynamic', dtype, optimizer=adam)
    check_training(model, data, optim)
    # Each overflow would have halved it.
    assert optim.loss_scaler.get_scale() >= 2**10


def train_command(work_dir, root, epochs, config=CONFIG, **options):
    """Train without validation, and keep the newest checkpoint."""
    options['default_hooks.checkpoint.max_keep_ckpts'] = 1
    options = tiny_options(root, epochs, validate=False, **options)
    command = ['train.py', config, '--no-validate', '--work-dir', work_dir]
    return [*map(str, command), '--cfg-options', *options]


def last_checkpoint(work_dir):
    """The checkpoint that --resume takes."""
    path = Path((work_dir / 'last_checkpoint').read_text())
    return path.name, torch.load(path, map_location='cpu')


# Kills its process where the environment says.
KILL = """
import os, signal
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmpose.registry import HOOKS


def kill(place):
    if place == os.environ.get('KILL'):
        os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class Kill(Hook):
    def after_train_iter(self, runner, *args, **kwargs):
        kill(f'iteration {runner.iter}')


put = LocalBackend.put


def put_half(self, obj, path):
    put(self, obj[: len(obj) // 2], path)
    kill(f'file {os.path.basename(path).split(".")[0]}')
    put(self, obj, path)


LocalBackend.put = put_half
"""


@pytest.fixture(scope='module')
def fragile(tmp_path_factory):
    """A config whose training kills itself when the environment says so."""
    folder = tmp_path_factory.mktemp('fragile')
    (folder / 'kill.py').write_text(KILL)
    config = folder / 'config.py'
    config.write_text(
        f"_base_ = '{CONFIG}'\n"
        "custom_imports = dict(imports=['mmpose_lossplus', 'kill'])\n"
        "custom_hooks = [dict(type='SyncBuffersHook'), dict(type='Kill')]\n"
    )
    return config


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_killed_and_resumed(
    workers, fragile, coco_data, tmp_path, monkeypatch
):
    """In the third epoch, or while the second's checkpoint is written."""
    monkeypatch.syspath_prepend(fragile.parent)
    options = {
        'train_dataloader.num_workers': workers,
        'train_dataloader.persistent_workers': workers > 0,
        'randomness.seed': 0,
    }

    def train(name, *args, kill='nowhere', check=True):
        monkeypatch.setenv('KILL', kill)
        work_dir = tmp_path / name
        command = train_command(work_dir, coco_data, 3, fragile, **options)
        result = fork_tool(*command, *args, check=check)
        return result.returncode, *last_checkpoint(work_dir)

    _, _, whole = train('whole')
    for place, before in (('iteration 5', 2), ('file epoch_2', 1)):
        code, name, _ = train(place, kill=place, check=False)
        assert (code, name) == (-signal.SIGKILL, f'epoch_{before}.pth')
        _, name, resumed = train(place, '--resume')
        assert name == 'epoch_3.pth'
        for part in ('state_dict', 'optimizer'):
            torch.testing.assert_close(
                resumed[part], whole[part], rtol=0, atol=0, equal_nan=True
            )


@pytest.mark.slow
@pytest.mark.skipif(os.name == 'nt', reason='no process groups')
def test_terminated_with_all_its_processes(coco_data, tmp_path):
    """What loads data must not live on, with locks and memory."""
    options = {
        'train_dataloader.num_workers': 2,
        'train_dataloader.persistent_workers': True,
        'default_hooks.checkpoint.interval': 1000,
    }
    process = subprocess.Popen(
        [sys.executable, *train_command(tmp_path, coco_data, 1000, **options)],
        cwd=ROOT / 'tools',
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines = iter(process.stdout.readline, '')
    assert any('Epoch(train)' in line for line in lines)
    process.terminate()
    # Not always last: what loads data may print that it was left alone.
    assert 'train.py was terminated.\n' in lines
    assert process.wait() == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path('/dev/full').exists(), reason='this system has no /dev/full'
)
def test_full_disk(coco_data, tmp_path):
    """The second epoch's checkpoint goes to a disk without room."""
    full = tmp_path / 'epoch_2.pth.partial'
    full.symlink_to('/dev/full')
    command = train_command(tmp_path, coco_data, 2)
    result = fork_tool(*command, check=False)
    assert result.returncode == 1
    last = result.stdout.splitlines()[-1]
    for part in (tmp_path, os.strerror(errno.ENOSPC), '--resume'):
        assert str(part) in last
    assert 'Traceback' not in result.stdout
    name, checkpoint = last_checkpoint(tmp_path)
    assert (name, checkpoint['meta']['iter']) == ('epoch_1.pth', 2)
    fork_tool(*command, '--resume')
    assert last_checkpoint(tmp_path)[0] == 'epoch_2.pth'
