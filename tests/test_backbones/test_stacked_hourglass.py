import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import parameter_count
from mmpose.registry import MODELS

from mmpose_lossplus.backbones import StackedHourglass
from mmpose_lossplus.backbones.stacked_hourglass import _Hourglass, _Residual

from ..factories import conv_gflops, randomize_norms

BN = dict(type='BN')


def small(**cfg):
    options = dict(num_stacks=3, channels=8, depth=2)
    return StackedHourglass(**{**options, **cfg})


@pytest.mark.parametrize(
    ('cfg', 'shape'),
    [
        (dict(), (48, 32)),
        (dict(num_stacks=1), (16, 16)),
        (dict(depth=1), (40, 24)),
        (dict(channels=12, norm_cfg=dict(type='GN', num_groups=2)), (32, 16)),
    ],
)
def test_one_map_of_a_quarter_for_each_stack(cfg, shape):
    outputs = small(**cfg)(torch.rand(2, 3, *shape))
    expected = (2, cfg.get('channels', 8), shape[0] // 4, shape[1] // 4)
    assert [o.shape for o in outputs] == [expected] * cfg.get('num_stacks', 3)


def test_published_size():
    """25.1 M of arXiv 1902.09212, table 1; GFLOPs as in the docstring."""
    # Norms of 2C, 1x1 to half, 3x3, 1x1 back, a 1x1 where widths differ.
    residual = 512 + 256 * 128 + 256 + 128 * 128 * 9 + 256 + 128 * 256
    assert parameter_count(_Residual(256, 256, BN))[''] == residual == 214016
    head = dict(type='CPMHead', in_channels=256, out_channels=17, num_stages=8)
    model = dict(type='TopdownPoseEstimator', head=head)
    model = MODELS.build(dict(model, backbone=dict(type='StackedHourglass')))
    # A stack has three residuals a level, one at the bottom and one after.
    stack = 14 * residual + 256 * 256 + 512
    stem = 3 * 64 * 49 + 128 + 57728 + 53760 + 230144
    parameters = stem + 8 * stack + 7 * 256**2 + 8 * 257 * 17
    assert parameter_count(model)[''] == parameters
    assert parameters == pytest.approx(25.1e6, rel=0.02)
    gflops = conv_gflops(model, 256, 192)['']
    assert gflops == pytest.approx(19.1, abs=0.05)


def naive_residual(block, x):
    y = x
    for layer, padding in zip(block.block, (0, 1, 0)):
        bn = layer.bn
        mean, var = bn.running_mean, bn.running_var
        y = F.batch_norm(y, mean, var, bn.weight, bn.bias, eps=bn.eps).relu()
        y = F.conv2d(y, layer.conv.weight, padding=padding)
    weight = getattr(block.skip, 'weight', None)
    return y + (x if weight is None else F.conv2d(x, weight))


def test_one_level_against_a_naive_one():
    hourglass = randomize_norms(_Hourglass(1, 4, BN))
    x = torch.randn(2, 4, 6, 4).double()
    before = x.clone()
    result = hourglass(x)
    assert torch.equal(x, before)
    pooled = x.reshape(2, 4, 3, 2, 2, 2).amax(dim=(3, 5))
    for block in hourglass.low[1:4]:
        pooled = naive_residual(block, pooled)
    up = pooled.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(result, naive_residual(hourglass.skip, x) + up)

    # A residual that changes the width.
    block = randomize_norms(_Residual(4, 6, BN))
    torch.testing.assert_close(block(x), naive_residual(block, x))


def test_next_input_is_the_last_one_and_the_remapped_output():
    backbone = randomize_norms(small())
    x = torch.rand(1, 3, 16, 16).double()
    outputs = backbone(x)
    x = backbone.stem(x)
    expected = [backbone.stacks[0](x)]
    for i in (1, 2):
        x = x + backbone.remaps[i - 1](expected[-1])
        expected.append(backbone.stacks[i](x))
    for output, naive in zip(outputs, expected):
        torch.testing.assert_close(output, naive)


def test_gradients_reach_every_parameter():
    backbone = small()
    outputs = backbone(torch.rand(2, 3, 32, 32))
    sum((o * torch.rand_like(o)).sum() for o in outputs).backward()
    assert all(p.grad.abs().sum() > 0 for p in backbone.parameters())


def test_initialization():
    """Uniform within 1/sqrt(fan-in): 1/sqrt(9 * 128) for the 3x3s."""
    backbone = StackedHourglass(num_stacks=1, depth=1)
    backbone.init_weights()
    weight = backbone.stacks[0][1].block[1].conv.weight
    assert weight.abs().max().item() == pytest.approx(1152**-0.5, rel=0.01)
    assert weight.std().item() == pytest.approx((3 * 1152) ** -0.5, rel=0.02)
    backbone = small(init_cfg=dict(type='Constant', layer='Conv2d', val=3))
    backbone.init_weights()
    assert (backbone.remaps[0].weight == 3).all()


@pytest.mark.parametrize(
    ('name', 'value'),
    [('num_stacks', 0), ('depth', 1.5), ('channels', '8'), ('channels', 7)],
)
def test_refused_sizes(name, value):
    with pytest.raises(ValueError, match=f'^{name} .* got {value!r}'):
        small(**{name: value})


@pytest.mark.parametrize('shape', [(24, 32), (32, 40), (8, 16)])
def test_refused_input(shape):
    with pytest.raises(ValueError, match=f'16.* {shape[0]}x{shape[1]}'):
        small()(torch.rand(1, 3, *shape))
