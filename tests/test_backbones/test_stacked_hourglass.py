import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import parameter_count
from mmpose.registry import MODELS

from mmpose_lossplus.backbones import StackedHourglass
from mmpose_lossplus.backbones.stacked_hourglass import _Hourglass, _Residual

from ..factories import conv_gflops, randomize_norms

BN = dict(type='BN')
SIGMOID = dict(type='SigmoidConv2d', prior_prob=0.01)


def small(**cfg):
    options = dict(out_channels=5, num_stacks=3, channels=8, depth=2)
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
def test_maps_of_a_quarter_for_each_stack(cfg, shape):
    outputs = small(**cfg)(torch.rand(2, 3, *shape))
    expected = (2, 5, shape[0] // 4, shape[1] // 4)
    assert [o.shape for o in outputs] == [expected] * cfg.get('num_stacks', 3)


def test_published_size():
    """25.1 M of arXiv 1902.09212, table 1; GFLOPs as in the docstring."""
    # Norms of 2C, 1x1 to half, 3x3, 1x1 back, a 1x1 where widths differ.
    residual = 512 + 256 * 128 + 256 + 128 * 128 * 9 + 256 + 128 * 256
    assert parameter_count(_Residual(256, 256, BN))[''] == residual == 214016
    head = dict(type='CPMHead', in_channels=17, out_channels=17, num_stages=8)
    head['final_layer'] = None
    backbone = dict(type='StackedHourglass', out_channels=17)
    model = dict(type='TopdownPoseEstimator', backbone=backbone, head=head)
    model = MODELS.build(model)
    # A stack has three residuals a level, one at the bottom and one after.
    stack = 14 * residual + 256 * 256 + 512
    stem = 3 * 64 * 49 + 128 + 57728 + 53760 + 230144
    predictions, reinjections = 8 * 257 * 17, 7 * 17 * 256
    parameters = stem + 8 * stack + 7 * 256**2 + predictions + reinjections
    counts = parameter_count(model)
    assert counts[''] == parameters == 25373512
    assert counts['backbone.reinjections'] == reinjections == 30464
    assert counts['head'] == 0
    assert parameters == pytest.approx(25.1e6, rel=0.02)
    kernels = (p for p in model.parameters() if p.ndim == 4)
    least = sum(p.numel() for p in kernels) - reinjections
    assert least == pytest.approx(25.2e6, abs=0.05e6)
    gflops = conv_gflops(model, 256, 192)['']
    assert gflops == pytest.approx(19.2, abs=0.05)


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


@pytest.mark.parametrize('final_layer', [None, SIGMOID])
@pytest.mark.parametrize('training', [False, True])
def test_features_and_heatmaps_go_into_the_next_stack(final_layer, training):
    """The heatmaps as logits, also where probabilities come out."""
    backbone = randomize_norms(small(final_layer=final_layer))
    backbone.predictions.train(training)
    x = torch.rand(1, 3, 16, 16).double()
    outputs = backbone(x)
    x = backbone.stem(x)
    for i, output in enumerate(outputs):
        features = backbone.stacks[i](x)
        layer = backbone.predictions[i]
        heatmaps = F.conv2d(features, layer.weight, layer.bias)
        on_logits = final_layer is not None and training
        assert getattr(output, 'is_logits', False) == on_logits
        if final_layer and not training:
            torch.testing.assert_close(output, heatmaps.sigmoid())
        else:
            torch.testing.assert_close(output, heatmaps)
        if i < 2:
            x = x + backbone.remaps[i](features)
            x = x + backbone.reinjections[i](heatmaps)


def test_head_adds_nothing():
    """Logits reach the loss with their mark, through CPMHead."""
    head = dict(type='CPMHead', in_channels=5, out_channels=5, num_stages=3)
    head = MODELS.build(dict(head, final_layer=None))
    backbone = small(final_layer=SIGMOID)
    maps = backbone(torch.rand(2, 3, 32, 32))
    assert all(y is x and y.is_logits for x, y in zip(maps, head(maps)))
    assert not list(head.parameters())


def test_biases_that_would_be_removed_are_not_there():
    """One in a re-injection would change no prediction, nor learn."""
    backbone = randomize_norms(small())
    x = torch.rand(2, 3, 16, 16).double()
    backbone.train()
    before = backbone(x)
    bias = torch.full((8,), 3.0).double().requires_grad_()
    for conv in backbone.reinjections:
        conv.bias = torch.nn.Parameter(bias.detach().clone())
    for output, other in zip(before, backbone(x)):
        torch.testing.assert_close(output, other)
    biased = {n for n, _ in small().named_parameters() if n.endswith('bias')}
    norms = {
        f'{name}.bias'
        for name, m in small().named_modules()
        if isinstance(m, torch.nn.BatchNorm2d)
    }
    assert biased - norms == {f'predictions.{i}.bias' for i in range(3)}


def test_gradients_reach_every_parameter():
    backbone = small()
    outputs = backbone(torch.rand(2, 3, 32, 32))
    sum((o * torch.rand_like(o)).sum() for o in outputs).backward()
    assert all(p.grad.abs().sum() > 0 for p in backbone.parameters())


def test_initialization():
    """Uniform within 1/sqrt(fan-in): 1/sqrt(9 * 128) for the 3x3s."""
    backbone = StackedHourglass(5, num_stacks=1, depth=1)
    backbone.init_weights()
    weight = backbone.stacks[0][1].block[1].conv.weight
    assert weight.abs().max().item() == pytest.approx(1152**-0.5, rel=0.01)
    assert weight.std().item() == pytest.approx((3 * 1152) ** -0.5, rel=0.02)
    backbone = small(init_cfg=dict(type='Constant', layer='Conv2d', val=3))
    backbone.init_weights()
    assert (backbone.remaps[0].weight == 3).all()


def test_prior_outlives_the_initialization():
    backbone = small(final_layer=SIGMOID)
    backbone.init_weights()
    for layer in backbone.predictions:
        prior = layer.bias.sigmoid()
        torch.testing.assert_close(prior, torch.full_like(prior, 0.01))
        assert layer.weight.abs().max() < 8**-0.5


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_stacks', 0),
        ('depth', 1.5),
        ('channels', '8'),
        ('channels', 7),
        ('out_channels', 0),
    ],
)
def test_refused_sizes(name, value):
    with pytest.raises(ValueError, match=f'^{name} .* got {value!r}'):
        small(**{name: value})


@pytest.mark.parametrize('shape', [(24, 32), (32, 40), (8, 16)])
def test_refused_input(shape):
    with pytest.raises(ValueError, match=f'16.* {shape[0]}x{shape[1]}'):
        small()(torch.rand(1, 3, *shape))
