"""The ResNets of basic blocks of the ResNet paper."""

import pytest
import torch

from ..factories import needs_mmpretrain

pytestmark = needs_mmpretrain


def resnet(depth, **kwargs):
    from mmpose_lossplus.backbones.cifar_resnet import BasicResNetCIFAR

    return BasicResNetCIFAR(depth, **kwargs)


@pytest.mark.parametrize(
    ('depth', 'millions'),
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)],
)
def test_parameters_are_those_of_the_paper(depth, millions):
    """Its table 6, with the layer that classifies into 10."""
    model = resnet(depth)
    count = sum(p.numel() for p in model.parameters()) + 64 * 10 + 10
    digits = len(str(millions).partition('.')[2])
    assert round(count / 1e6, digits) == millions


def test_parameters_by_hand():
    """Convolutions and norms of 3 stages with 2n layers, and no shortcuts."""
    n, convs, inputs = 18, 3 * 9 * 16, 16
    for channels in (16, 32, 64):
        convs += 9 * channels * (inputs + (2 * n - 1) * channels)
        inputs = channels
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    model = resnet(110)
    assert sum(p.numel() for p in model.parameters()) == convs + norms
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(layers) == 109  # and the one that classifies


def test_shortcuts_have_no_parameters():
    """Where the residual is 0, the input goes through, padded by zeros."""
    model = resnet(8, zero_init_residual=True)
    model.init_weights()
    x = torch.rand(2, 16, 8, 8)
    y = model.layer2.eval()(x)
    assert torch.equal(y[:, :16], x[..., ::2, ::2])
    assert (y[:, 16:] == 0).all()
    assert model(torch.rand(2, 3, 32, 32))[0].shape == (2, 64, 8, 8)


@pytest.mark.parametrize('depth', [18, 2, -4])
def test_depth(depth):
    with pytest.raises(ValueError, match=f'6n.* got {depth}'):
        resnet(depth)
