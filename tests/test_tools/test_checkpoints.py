"""Work folders in every state of a crash."""

import pytest
import torch
from torch import nn

from mmpose_lossplus.experiments import checkpoints
from mmpose_lossplus.experiments.weights import Misfit, load_weights

from ..factories import save_checkpoint, write_log


@pytest.fixture
def folder(tmp_path):
    """A training that was cut off in its fifth epoch; the best is 2."""
    save_checkpoint(tmp_path / 'epoch_2.pth', 'x/best_AP_epoch_2.pth')
    save_checkpoint(tmp_path / 'best_AP_epoch_2.pth')
    save_checkpoint(tmp_path / 'epoch_4.pth', 'x/best_AP_epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_text('x/epoch_4.pth')
    write_log(tmp_path, 5)
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
    write_log(folder, 4)
    assert checkpoints.checkpoint_to_resume(folder) == folder / 'epoch_2.pth'
    write_log(folder, 2)
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


def layers(*sizes, part='head'):
    """A model with a normalization and linear layers."""
    linear = [nn.Linear(2, size) for size in sizes]
    return nn.ModuleDict({part: nn.Sequential(nn.BatchNorm1d(2), *linear)})


def test_published_weights_are_loaded():
    """With what the published models of MMPose and MMDet have besides."""
    trained, model = layers(2, 3).state_dict(), layers(2, 3)
    weights = {f'module.{name}': value for name, value in trained.items()}
    del weights['module.head.0.num_batches_tracked']
    weights['module.data_preprocessor.mean'] = torch.zeros(3, 1, 1)
    load_weights(model, dict(state_dict=weights, meta={}))
    for name, value in model.state_dict().items():
        assert value.equal(trained[name])


@pytest.mark.parametrize(
    ('trained', 'message'),
    [
        (layers(2, 2), 'size mismatch for head.2.weight: .*model'),
        (layers(2), 'lacks 2 of the 9 weights, such as head.2.weight$'),
        (layers(2, 3, 3), '2 weights more .*, such as head.3.weight$'),
        (layers(2, 3, part='neck'), 'lacks 8 of the 9 weights'),
    ],
)
def test_weights_of_another_model(trained, message):
    with pytest.raises(Misfit, match=message) as error:
        load_weights(layers(2, 3), trained.state_dict())
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (KeyError('loss'), "KeyError 'loss'"),
        (ValueError(), 'ValueError'),
        (ValueError('It is 1.5. Use 2.\nMore.'), 'ValueError It is 1.5'),
        (ValueError('\nIt is 1.5\nmore. Use 2.'), 'ValueError It is 1.5'),
        (
            OSError(28, 'No space', 'x.pth'),
            "OSError [Errno 28] No space: 'x.pth'",
        ),
    ],
)
def test_summary(error, sentence):
    """Kind and first sentence, without a full stop."""
    assert checkpoints.summary(error) == sentence
