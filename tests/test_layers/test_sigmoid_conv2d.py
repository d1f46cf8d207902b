import pytest
import torch
from mmcv.cnn import build_conv_layer
from mmpose.registry import MODELS

from mmpose_lossplus import SigmoidConv2d

HEAD = dict(
    type='HeatmapHead',
    in_channels=8,
    out_channels=3,
    deconv_out_channels=None,
)


def test_logits_in_training_and_probabilities_in_evaluation():
    layer = build_conv_layer(
        dict(
            type='SigmoidConv2d', in_channels=8, out_channels=3, kernel_size=1
        )
    )
    x = torch.randn(2, 8, 4, 4)
    logits = layer.train()(x)
    assert logits.is_logits
    torch.testing.assert_close(
        logits, torch.nn.functional.conv2d(x, layer.weight, layer.bias)
    )
    torch.testing.assert_close(layer.eval()(x), logits.sigmoid())
    assert not hasattr(layer(x), 'is_logits')


def test_loads_a_plain_conv():
    """Same parameters by name: checkpoints can go either way."""
    plain = torch.nn.Conv2d(8, 3, 1)
    layer = SigmoidConv2d(8, 3, 1)
    layer.load_state_dict(plain.state_dict())


@pytest.mark.parametrize('prior', [0.01, 0.3])
def test_prior_prob_outlives_the_head_initialization(prior):
    final_layer = dict(type='SigmoidConv2d', prior_prob=prior)
    head = MODELS.build(dict(HEAD, final_layer=final_layer))
    head.init_weights()
    heatmaps = head.eval()([torch.zeros(1, 8, 4, 4)])
    torch.testing.assert_close(heatmaps, torch.full_like(heatmaps, prior))


def test_without_prior_the_head_decides():
    head = MODELS.build(dict(HEAD, final_layer=dict(type='SigmoidConv2d')))
    head.init_weights()
    assert (head.final_layer.bias == 0).all()


@pytest.mark.parametrize('prior', [0, 1, -0.5, 2])
def test_bad_prior_prob(prior):
    with pytest.raises(ValueError, match=f'prior_prob .* got {prior}'):
        SigmoidConv2d(8, 3, 1, prior_prob=prior)


def test_prior_prob_needs_a_bias():
    with pytest.raises(ValueError, match='prior_prob=0.1 needs a bias'):
        SigmoidConv2d(8, 3, 1, bias=False, prior_prob=0.1)
