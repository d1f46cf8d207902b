import pytest
import torch
from mmengine.analysis import parameter_count
from mmpose.models.backbones import MobileNetV3
from mmpose.models.backbones.utils import SELayer
from mmpose.registry import MODELS
from torch import nn

from mmpose_lossplus import HardSigmoidMobileNetV3

from ..factories import CONFIGS, read

OURS = [p for p in CONFIGS if p.match('heatmap_weighting/*mobilenetv3*')]


def blocks(model):
    return [m for m in model.modules() if isinstance(m, SELayer)]


@pytest.mark.parametrize(('arch', 'number'), [('big', 8), ('small', 9)])
def test_squeeze_excitation_by_hand(arch, number):
    backbone = HardSigmoidMobileNetV3(arch=arch)
    assert len(blocks(backbone)) == number
    for block in blocks(backbone):
        x = 99 * torch.randn(5, block.conv1.in_channels, 3, 3)
        pooled = block.conv1.conv(x.mean((2, 3), keepdim=True)).relu()
        scale = (block.conv2.conv(pooled) + 3).div(6).clamp(0, 1)
        torch.testing.assert_close(block(x), x * scale)


def test_is_mmpose_s_but_for_that():
    """Same weights, same size, same output where the functions agree."""
    ours, theirs = HardSigmoidMobileNetV3(arch='big'), MobileNetV3(arch='big')
    assert parameter_count(ours) == parameter_count(theirs)
    ours.load_state_dict(theirs.state_dict())
    # (x + 3) / 6 of 3 x is (x + 1) / 2 of x.
    for block in blocks(ours):
        block.conv2.conv.weight.data *= 3
        block.conv2.conv.bias.data *= 3
    x = torch.rand(2, 3, 64, 64)
    for backbone in (ours, theirs):
        backbone.eval()  # which does not return it
    for mine, other in zip(ours(x), theirs(x)):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize('path', OURS, ids=lambda path: path.stem)
def test_one_function_in_backbone_and_attention(path):
    model = MODELS.build(read(path).model)
    names = {type(m).__name__ for m in model.modules()}
    assert not {'HSigmoid', 'Sigmoid'} & names
    assert 'Hardsigmoid' in names
    x = torch.linspace(-5, 5, 21)
    expected = ((x + 3) / 6).clamp(0, 1)
    for module in model.modules():
        if isinstance(module, nn.Hardsigmoid):
            torch.testing.assert_close(module(x.clone()), expected)
