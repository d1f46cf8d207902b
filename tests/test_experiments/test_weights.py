"""Weights that belong to a model, and such as do not."""

import pytest
import torch
from torch import nn

from mmpose_lossplus.experiments.weights import Misfit, load_weights, summary


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
    assert summary(error) == sentence
