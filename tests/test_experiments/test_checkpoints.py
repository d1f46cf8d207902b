"""Work folders in every state of a crash."""

import pytest

from mmpose_lossplus.experiments import checkpoints

from ..factories import save_checkpoint, tiny_runner


@pytest.fixture
def folder(tmp_path):
    """A training that was cut off in its fifth epoch; the best is 2."""
    best = 'x/best_AP_epoch_2.pth'
    save_checkpoint(tmp_path / 'epoch_2.pth', best, iteration=2)
    save_checkpoint(tmp_path / 'best_AP_epoch_2.pth')
    save_checkpoint(tmp_path / 'epoch_10.pth', best, iteration=10)
    (tmp_path / 'last_checkpoint').write_text('x/epoch_10.pth')
    return tmp_path


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-40])


def test_resumes_from_the_newest_whole_one(folder):
    find = checkpoints.checkpoint_to_resume
    assert find(folder) == folder / 'epoch_10.pth'
    cut_off(folder / 'epoch_10.pth')
    assert find(folder) == folder / 'epoch_2.pth'
    # Nothing but the best, which no optimizer can go on from.
    cut_off(folder / 'epoch_2.pth')
    assert find(folder) is None


@pytest.mark.parametrize('checkpoint', ['epoch_2.pth', None])
def test_nothing_is_removed(folder, checkpoint):
    before = {path.name for path in folder.iterdir()}
    checkpoint = checkpoint and folder / checkpoint
    checkpoints.rewind(folder, checkpoint)
    assert {path.name for path in folder.iterdir()} == before
    if checkpoint:
        last = (folder / 'last_checkpoint').read_text()
        assert last == str(checkpoint)


@pytest.mark.parametrize('name', ['e{}-v2.pth', 'iter_{}.pth'])
def test_other_names_and_another_log(name, tmp_path):
    """What a restart would have deleted, for want of a local log."""
    by_epoch = not name.startswith('iter')
    hook = dict(type='SafeCheckpointHook', interval=1, by_epoch=by_epoch)
    tiny_runner(
        tmp_path,
        dict(type='AsymmetricMSELoss'),
        default_hooks=dict(checkpoint=dict(hook, filename_tmpl=name)),
        visualizer=dict(type='Visualizer', vis_backends=[]),
    ).train()
    assert not list(tmp_path.glob('*/vis_data/scalars.json'))
    newest = tmp_path / name.format(3 if by_epoch else 6)
    assert checkpoints.checkpoint_to_resume(tmp_path) == newest
    cut_off(newest)
    older = tmp_path / name.format(2 if by_epoch else 5)
    assert checkpoints.checkpoint_to_resume(tmp_path) == older


def test_best_or_last_is_tested(folder):
    # Not one that the last checkpoint does not know of.
    save_checkpoint(folder / 'best_AP_epoch_1.pth')
    test = checkpoints.checkpoint_to_test
    assert test(folder) == folder / 'best_AP_epoch_2.pth'
    save_checkpoint(folder / 'epoch_10.pth')
    assert test(folder) == folder / 'epoch_10.pth'
    for name in ('epoch_10.pth', 'last_checkpoint'):
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            test(folder)
