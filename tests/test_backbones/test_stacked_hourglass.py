import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import FlopAnalyzer
from mmpose.registry import MODELS
from torch import nn

from mmpose_lossplus.backbones import StackedHourglass
from mmpose_lossplus.backbones.stacked_hourglass import _Hourglass, _Residual

BN = dict(type='BN')


def small(**cfg):
    return StackedHourglass(
        **{**dict(num_stacks=3, channels=8, depth=2), **cfg}
    )


def size(module):
    return sum(p.numel() for p in module.parameters())


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


def test_size_of_a_residual():
    """Norms of 2C, 1x1 to half, 3x3, 1x1 back, a 1x1 where widths differ."""
    same = 512 + 256 * 128 + 256 + 128 * 128 * 9 + 256 + 128 * 256
    assert size(_Residual(256, 256, BN)) == same == 214016
    wider = 256 + 128 * 128 + 256 + 128 * 128 * 9 + 256 + 128 * 256
    assert size(_Residual(128, 256, BN)) == wider + 128 * 256


def test_published_size():
    """25.1 M of arXiv 1902.09212, table 1; GFLOPs as in the docstring."""
    cfg = dict(
        type='TopdownPoseEstimator',
        backbone=dict(type='StackedHourglass'),
        head=dict(
            type='CPMHead', in_channels=256, out_channels=17, num_stages=8
        ),
    )
    model = MODELS.build(cfg).eval()
    # A stack has three residuals a level, one at the bottom and one after.
    stack = 14 * 214016 + 256 * 256 + 512
    stem = 3 * 64 * 49 + 128 + 57728 + 53760 + 230144
    assert size(model.backbone.stacks[0]) == stack
    assert size(model.backbone.stem) == stem
    assert size(model) == stem + 8 * stack + 7 * 256**2 + 8 * 257 * 17
    assert size(model) == pytest.approx(25.1e6, rel=0.02)

    model.forward = model._forward
    flops = FlopAnalyzer(model, torch.zeros(1, 3, 256, 192))
    flops.unsupported_ops_warnings(False)
    flops.uncalled_modules_warnings(False)
    gflops = flops.by_operator()['conv'] / 1024**3
    assert gflops == pytest.approx(19.1, abs=0.05)


def test_gradients_reach_every_parameter():
    backbone = small()
    sum(
        (o * torch.rand_like(o)).sum()
        for o in backbone(torch.rand(2, 3, 16, 32))
    ).backward()
    assert all(p.grad.abs().sum() > 0 for p in backbone.parameters())


def naive_residual(block, x):
    y = x
    for layer, padding in zip(block.block, (0, 1, 0)):
        bn = layer.bn
        mean, var = bn.running_mean, bn.running_var
        y = F.batch_norm(y, mean, var, bn.weight, bn.bias, eps=bn.eps).relu()
        y = F.conv2d(y, layer.conv.weight, padding=padding)
    weight = getattr(block.skip, 'weight', None)
    return y + (x if weight is None else F.conv2d(x, weight))


def randomized(module):
    """With statistics that are not batch norm's initial ones."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight.data, m.bias.data, m.running_mean):
                t.normal_()
            m.running_var.uniform_(0.5, 2)
    return module.double().eval()


def test_one_level_against_a_naive_one():
    hourglass = randomized(_Hourglass(1, 4, BN))
    x = torch.randn(2, 4, 6, 4).double()
    before = x.clone()
    result = hourglass(x)
    assert torch.equal(x, before)
    pooled = x.reshape(2, 4, 3, 2, 2, 2).amax(dim=(3, 5))
    for block in hourglass.low[1:4]:
        pooled = naive_residual(block, pooled)
    up = pooled.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(result, naive_residual(hourglass.skip, x) + up)


def test_a_residual_that_changes_the_width():
    block = randomized(_Residual(4, 6, BN))
    x = torch.randn(2, 4, 3, 5).double()
    torch.testing.assert_close(block(x), naive_residual(block, x))


def test_stacks_come_one_after_the_other():
    backbone = small()
    backbone.eval()
    x = torch.rand(1, 3, 16, 16)
    before = backbone(x)
    nn.init.normal_(backbone.stacks[1][2].conv.weight)
    after = backbone(x)
    same = [torch.equal(a, b) for a, b in zip(before, after)]
    assert same == [True, False, False]


def test_next_input_is_the_last_one_and_the_remapped_output():
    backbone = small()
    backbone.eval()
    x = torch.rand(1, 3, 16, 16)
    first, second, _ = backbone(x)
    inputs = backbone.stem(x)
    expected = backbone.stacks[1](inputs + backbone.remaps[0](first))
    torch.testing.assert_close(second, expected)


def test_biases_would_change_nothing():
    backbone = small().double()
    x = torch.rand(2, 3, 32, 32).double()
    without = backbone(x)
    for m in backbone.modules():
        if isinstance(m, nn.Conv2d):
            assert m.bias is None
            m.bias = nn.Parameter(torch.randn(m.out_channels).double())
    for stack, expected in zip(backbone(x), without):
        torch.testing.assert_close(stack, expected)


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


@pytest.mark.parametrize('name', ['num_stacks', 'channels', 'depth'])
@pytest.mark.parametrize('value', [0, -2, 1.5, '8', None])
def test_bad_sizes(name, value):
    with pytest.raises(ValueError, match=f'^{name} must .* got {value!r}\\.$'):
        small(**{name: value})


def test_odd_channels():
    with pytest.raises(ValueError, match='^channels must be even, got 7'):
        small(channels=7)


@pytest.mark.parametrize('shape', [(24, 32), (32, 40), (17, 32), (8, 16)])
def test_bad_input(shape):
    message = f'divisible by 16, got {shape[0]}x{shape[1]}'
    with pytest.raises(ValueError, match=message):
        small()(torch.rand(1, 3, *shape))
