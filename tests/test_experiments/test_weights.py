"""Weights that are those of a model, and all others."""

import pytest
import torch
from torch import nn

from mmpose_lossplus.experiments import weights


def layers(*sizes, part='head'):
    """A model with a normalization and linear layers."""
    linear = [nn.Linear(2, size) for size in sizes]
    return nn.ModuleDict({part: nn.Sequential(nn.BatchNorm1d(2), *linear)})


def test_published_weights_are_loaded():
    """With what the published models of MMPose and MMDet have besides."""
    trained, model = layers(2, 3).state_dict(), layers(2, 3)
    state = {f'module.{name}': value for name, value in trained.items()}
    del state['module.head.0.num_batches_tracked']
    state['module.data_preprocessor.mean'] = torch.zeros(3, 1, 1)
    weights.load_weights(model, dict(state_dict=state, meta={}))
    for name, value in model.state_dict().items():
        assert value.equal(trained[name])


@pytest.mark.parametrize(
    ('trained', 'message'),
    [
        (layers(2, 2), 'head.2.weight'),
        (layers(2), '2 of the 9 .* head.2.weight$'),
        (layers(2, 3, 3), '2 .* head.3.weight$'),
        (layers(2, 3, part='neck'), '8 of the 9 '),
    ],
)
def test_weights_of_another_model(trained, message, tmp_path):
    with pytest.raises(weights.Misfit, match=message) as error:
        weights.load_weights(layers(2, 3), trained.state_dict())
    assert '\n' not in str(error.value)
    path = tmp_path / 'other.pth'
    torch.save(trained.state_dict(), path)
    with pytest.raises(SystemExit, match=r'other\.pth .* some\.py'):
        weights.load_from_file(layers(2, 3), str(path), 'some.py')


@pytest.mark.parametrize(
    ('trained', 'said'),
    [
        (layers(2, 3).state_dict(), '9 of 9 '),
        (layers(2, 2).state_dict(), '7 of 9 '),  # another last layer
        (layers(3, 2).state_dict(), '5 of 9 '),
        (layers(2, 3, part='neck').state_dict(), 'none .* head.* but neck'),
        ({}, 'none .* but nothing'),
    ],
)
def test_what_a_training_begins_with(trained, said, tmp_path):
    """Another last layer may be meant so; another model is a mistake."""
    path = str(tmp_path / 'a.pth')
    trained = {f'module.{name}': value for name, value in trained.items()}
    torch.save(dict(state_dict=trained, meta={}), path)
    args = layers(2, 3), path, 'some.py'
    if said.startswith('none'):
        with pytest.raises(SystemExit, match=rf'a\.pth .*some\.py.*{said}'):
            weights.say_what_fits(*args)
    else:
        assert weights.say_what_fits(*args).startswith(said)


def test_no_weights(tmp_path):
    (tmp_path / 'text.pth').write_text('no checkpoint', encoding='utf-8')
    for path in (tmp_path / 'text.pth', tmp_path / 'none.pth'):
        with pytest.raises(SystemExit, match=path.name):
            weights.load_from_file(layers(2), str(path), 'some.py')


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (KeyError('loss'), "KeyError 'loss'"),
        (ValueError(), 'ValueError'),
        (ValueError('It is 1.5. Use 2.\nMore.'), 'ValueError It is 1.5'),
        (ValueError('\nIt is 1.5\nmore. Use 2.'), 'ValueError It is 1.5'),
        (OSError(28, 'No space', 'a'), "OSError [Errno 28] No space: 'a'"),
    ],
)
def test_summary(error, sentence):
    """Kind and first sentence, without a full stop."""
    assert weights.summary(error) == sentence
