"""tools/_checkpoints.py on work folders in every state of a crash."""

import json

import pytest
import torch

from ..conftest import load_tool

checkpoints = load_tool('_checkpoints.py')


def save_checkpoint(path, best=None):
    info = dict(best_ckpt=best) if best else {}
    torch.save(dict(message_hub=dict(runtime_info=info)), path)


def log(folder, epochs):
    scalars = folder / '20240101_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(dict(loss=0.1, epoch=epoch, step=epoch))
        for epoch in range(1, epochs + 1)
    ]
    # The line of a validation, and one that was cut off.
    lines += [json.dumps(dict(step=epochs, AP=0.5)), '{"loss": 0.1, "ep']
    scalars.write_text('\n'.join(lines))


@pytest.fixture
def folder(tmp_path):
    """A training that was cut off in its fifth epoch; the best is 2."""
    save_checkpoint(tmp_path / 'epoch_2.pth', 'x/best_AP_epoch_2.pth')
    save_checkpoint(tmp_path / 'best_AP_epoch_2.pth')
    save_checkpoint(tmp_path / 'epoch_4.pth', 'x/best_AP_epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_text('x/epoch_4.pth')
    log(tmp_path, 5)
    return tmp_path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def test_resumes_from_the_newest(folder):
    assert checkpoints.checkpoint_to_resume(folder).name == 'epoch_4.pth'


def test_new_training(tmp_path):
    assert checkpoints.checkpoint_to_resume(tmp_path) is None


def test_cut_off_while_writing_a_checkpoint(folder):
    truncate(folder / 'epoch_4.pth')
    assert checkpoints.checkpoint_to_resume(folder) == folder / 'epoch_2.pth'
    truncate(folder / 'epoch_2.pth')
    assert checkpoints.checkpoint_to_resume(folder) is None


def test_cut_off_while_validating(folder):
    """No iteration after it is logged, so 4 may not have been compared."""
    log(folder, 4)
    assert checkpoints.checkpoint_to_resume(folder) == folder / 'epoch_2.pth'
    log(folder, 2)
    assert checkpoints.checkpoint_to_resume(folder) is None


def test_rewind(folder):
    """All is as it was at epoch 2, whose best was already removed."""
    (folder / 'best_AP_epoch_2.pth').unlink()
    save_checkpoint(folder / 'best_AP_epoch_4.pth')
    truncate(folder / 'best_AP_epoch_4.pth')
    checkpoints.rewind(folder, folder / 'epoch_2.pth')
    assert {path.name for path in folder.glob('*.*pth*')} == {
        'epoch_2.pth',
        'best_AP_epoch_2.pth',
    }
    last = (folder / 'last_checkpoint').read_text()
    assert last == str(folder / 'epoch_2.pth')
    assert checkpoints.checkpoint_to_test(folder).name == 'best_AP_epoch_2.pth'
    torch.load(folder / 'best_AP_epoch_2.pth')


def test_rewind_to_the_start(folder):
    checkpoints.rewind(folder, None)
    assert not list(folder.glob('*.pth'))
    assert not (folder / 'last_checkpoint').exists()


def test_a_lost_best_is_an_error(folder):
    (folder / 'best_AP_epoch_2.pth').unlink()
    (folder / 'epoch_2.pth').unlink()
    with pytest.raises(FileNotFoundError, match='best_AP_epoch_2.pth'):
        checkpoints.rewind(folder, folder / 'epoch_4.pth')


def test_best_or_last_is_tested(folder):
    # Not one that the last checkpoint does not know of.
    save_checkpoint(folder / 'best_AP_epoch_1.pth')
    assert (
        checkpoints.checkpoint_to_test(folder)
        == folder / 'best_AP_epoch_2.pth'
    )
    save_checkpoint(folder / 'epoch_4.pth')
    assert checkpoints.checkpoint_to_test(folder) == folder / 'epoch_4.pth'
    (folder / 'epoch_4.pth').unlink()
    with pytest.raises(FileNotFoundError, match='epoch_4.pth'):
        checkpoints.checkpoint_to_test(folder)
