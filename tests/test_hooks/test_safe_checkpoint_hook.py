"""Checkpoints on a disk that is full, and after a kill."""

import errno
import os
import zipfile

import pytest
import torch
from mmengine.fileio import LocalBackend

from mmpose_lossplus.hooks.safe_checkpoint_hook import (
    SafeCheckpointHook,
    SafeLocalBackend,
)

from ..factories import Peak, loader, tiny_runner

LOSS = dict(type='AsymmetricMSELoss')


def train(work_dir, max_epochs, resume=False, hook='SafeCheckpointHook'):
    """Keep one checkpoint, and the best: with Peak it is the newest."""
    hook = dict(type=hook, interval=1, max_keep_ckpts=1, save_best='count')
    tiny_runner(
        work_dir,
        LOSS,
        max_epochs,
        resume=resume,
        default_hooks=dict(checkpoint=dict(hook, rule='greater')),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=dict(type=Counter),
    ).train()


class Counter(Peak):
    """A score that is better each time."""

    count = 0

    def compute_metrics(self, results):
        Counter.count += 1
        return dict(count=float(Counter.count))


def check_whole(work_dir):
    """What --resume would take is there and can be read."""
    last = (work_dir / 'last_checkpoint').read_text()
    checkpoint = torch.load(last, map_location='cpu')
    assert 'optimizer' in checkpoint
    return checkpoint['meta']['epoch']


def test_files_as_by_mmengine(tmp_path):
    """What a training leaves does not differ."""
    for hook in ('CheckpointHook', 'SafeCheckpointHook'):
        train(tmp_path / hook, 3, hook=hook)
        train(tmp_path / hook, 4, resume=True, hook=hook)
        # All but logs and configs, whose names begin with the date.
        files = {path.name for path in (tmp_path / hook).glob('[a-z]*_*')}
        last = {'epoch_4.pth', 'last_checkpoint'}
        assert files == {'best_count_epoch_4.pth', *last}


@pytest.fixture
def disk(monkeypatch):
    """A disk that fails in the middle of the n-th checkpoint."""
    put = LocalBackend.put
    state = dict(left=10**9)

    def write(self, obj, filepath):
        state['left'] -= 1
        if state['left'] < 0:
            put(self, obj[: len(obj) // 2], filepath)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, obj, filepath)

    monkeypatch.setattr(LocalBackend, 'put', write)
    return state


# An epoch writes its checkpoint, the best, and its checkpoint again.
@pytest.mark.parametrize(
    ('writes', 'epoch'), [(3, 1), (4, 2), (5, 2), (6, 2), (7, 3)]
)
def test_full_disk_leaves_a_whole_checkpoint(disk, writes, epoch, tmp_path):
    disk['left'] = writes
    with pytest.raises(OSError, match='No space left'):
        train(tmp_path, 5)
    assert check_whole(tmp_path) == epoch
    assert not list(tmp_path.glob('*.partial'))
    assert all(map(zipfile.is_zipfile, tmp_path.glob('*.pth')))
    disk['left'] = 10**9
    train(tmp_path, 5, resume=True)
    assert check_whole(tmp_path) == 5


def test_half_a_file_never_has_the_name(tmp_path, monkeypatch):
    """As a kill leaves it: nothing is caught, nothing is cleaned up."""
    file = tmp_path / 'epoch_1.pth'
    file.write_bytes(b'whole')

    def seen_while_writing(self, obj, filepath):
        assert file.read_bytes() == b'whole'
        assert filepath != str(file)
        file.with_name('epoch_1.pth.partial').write_bytes(obj)

    monkeypatch.setattr(LocalBackend, 'put', seen_while_writing)
    SafeLocalBackend().put(b'new', str(file))
    assert file.read_bytes() == b'new'
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize('max_epochs', [2, 3])
def test_cut_off_while_validating(max_epochs, tmp_path, monkeypatch):
    """The second epoch is saved, and best, but that is not known yet."""
    score = Counter.compute_metrics

    def cut_off(self, results):
        if (tmp_path / 'epoch_2.pth').exists():
            raise KeyboardInterrupt
        return score(self, results)

    monkeypatch.setattr(Counter, 'compute_metrics', cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, max_epochs)
    assert check_whole(tmp_path) == 2
    assert (tmp_path / 'best_count_epoch_1.pth').exists()
    monkeypatch.setattr(Counter, 'compute_metrics', score)
    before = Counter.count
    train(tmp_path, max_epochs, resume=True)
    assert Counter.count == before + max_epochs - 1
    assert (tmp_path / f'best_count_epoch_{max_epochs}.pth').exists()
    assert check_whole(tmp_path) == max_epochs


def test_what_is_validated_is_not_validated_again(tmp_path):
    """It would step a plateau's schedule twice and remove the best."""
    train(tmp_path, 1)
    before = Counter.count
    train(tmp_path, 2, resume=True)
    assert Counter.count == before + 1
    assert (tmp_path / 'best_count_epoch_2.pth').exists()


def test_explicit_backends_are_kept_and_iterations_saved(tmp_path):
    hook = dict(type='SafeCheckpointHook', interval=1, by_epoch=False)
    hook.update(max_keep_ckpts=1, backend_args=dict(backend='local'))
    runner = tiny_runner(
        tmp_path,
        LOSS,
        train_cfg=dict(by_epoch=False, max_iters=3),
        default_hooks=dict(checkpoint=hook),
    )
    runner.train()
    (hook,) = (h for h in runner.hooks if isinstance(h, SafeCheckpointHook))
    assert type(hook.file_backend) is LocalBackend
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_3.pth']
