"""Weights, masks, inputs and gradients of the classes."""

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmpose.codecs import MegviiHeatmap, UDPHeatmap
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS

import mmpose_lossplus as lossplus
from mmpose_lossplus import AnchorLoss, AsymmetricMSELoss, HeatmapLoss

from ..factories import ALL_LOSSES, DEFAULT_LOSSES

KEYPOINTS = np.array([[[20.0, 30.0], [30.0, 20.0]]], dtype=np.float32)
VISIBLE = np.ones((1, 2), dtype=np.float32)


class SquaredError(HeatmapLoss):
    def loss_map(self, output, target):
        return (output - target) ** 2


@pytest.fixture
def weights():
    """Of two samples with three keypoints; one is invisible."""
    return torch.tensor([[1.0, 0.0, 1.5], [1.2, 1.0, 1.0]])


@pytest.mark.parametrize('skip_empty_channel', [False, True])
@pytest.mark.parametrize('kind', [None, 'keypoint', 'pixel'])
@pytest.mark.parametrize('mask_shape', [None, (2, 3, 16, 12), (2, 1, 16, 12)])
def test_squared_error_is_keypoint_mse(
    output, target, weights, kind, mask_shape, skip_empty_channel
):
    """Exactly: weighted as the MSE baseline, to the last bit."""
    output, target = output.float(), target.float()
    target[0, 2] = 0
    if kind is None:
        weights = None
    elif kind == 'pixel':
        weights = weights[..., None, None] * torch.rand(target.shape)
    mask = None if mask_shape is None else (torch.rand(mask_shape) > 0.3)
    options = dict(skip_empty_channel=skip_empty_channel, loss_weight=0.7)
    arguments = (output, target, weights, mask)
    ours = SquaredError(**options)(*arguments)
    assert torch.equal(ours, KeypointMSELoss(**options)(*arguments))


def test_weights_with_a_last_axis(output, target, weights):
    loss = SquaredError()
    assert torch.equal(
        loss(output, target, weights[..., None]), loss(output, target, weights)
    )


def test_use_target_weight_is_honoured(output, target, weights):
    loss = SquaredError(use_target_weight=False)
    assert torch.equal(loss(output, target, weights), loss(output, target))
    assert loss(output, target) != SquaredError()(output, target, weights)


def test_mean_is_over_all_pixels(output, target):
    """A hidden keypoint dilutes the loss, as in the baseline."""
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = ((output - target)[0, 0] ** 2).mean() / 6
    torch.testing.assert_close(
        SquaredError()(output, target, weights), expected
    )


@pytest.mark.parametrize(
    'shapes',
    [
        [(2, 3, 8, 6), (2, 3, 16, 12)],
        [(2, 3, 8), (2, 3, 8)],
        *([(2, 3, 8, 6)] * 2 + [x] for x in [(2, 4), (3,), (2, 3, 8, 1)]),
        *([(2, 3, 8, 6)] * 2 + [x] for x in [(2, 3, 2), (6, 3)]),
        *([(2, 3, 8, 6)] * 2 + [(2, 3), x] for x in [(2, 8, 6), (2, 2, 8, 6)]),
    ],
)
def test_mismatched_shapes(shapes):
    """Of output, target, weights and mask; the wrong one is named."""
    with pytest.raises(ValueError, match='SquaredError') as error:
        SquaredError()(*map(torch.zeros, shapes))
    assert str(shapes[-1]) in str(error.value)


@pytest.mark.parametrize('num_weights', [2, 3, 6])
def test_udp_combined_target(num_weights):
    """Three maps for a keypoint; other numbers are not blamed on it."""
    target = torch.zeros(1, 6, 16, 12)
    if num_weights == 2:
        codec = UDPHeatmap((48, 64), (12, 16), heatmap_type='combined')
        encoded = codec.encode(KEYPOINTS, VISIBLE)
        target = torch.from_numpy(encoded['heatmaps'])[None]
    weights = torch.ones(1, num_weights)
    if num_weights == 6:
        AsymmetricMSELoss()(target, target, weights)
        return
    with pytest.raises(ValueError, match='target_weights') as error:
        AsymmetricMSELoss()(target, target, weights)
    assert ('combined' in str(error.value)) == (num_weights == 2)


def test_megvii_target_needs_another_codec():
    codec = MegviiHeatmap((48, 64), (12, 16), kernel_size=11)
    encoded = codec.encode(KEYPOINTS, VISIBLE)
    target = torch.from_numpy(encoded['heatmaps'])[None]
    with pytest.raises(ValueError, match='to 255 .*MSRAHeatmap'):
        AnchorLoss()(torch.zeros_like(target), target)


def test_negative_target(output, target):
    with pytest.raises(ValueError, match='values from -0.5'):
        AnchorLoss()(output, target - 0.5)


def test_target_is_checked_until_a_keypoint_is_seen(output, target):
    """A first batch without people must not hide a wrong codec."""
    loss = AnchorLoss()
    output.is_logits = True
    assert loss(output, torch.zeros_like(target)).isfinite()
    with pytest.raises(ValueError, match='to 2'):
        loss(output, target / target.max() * 2)


def test_maps_that_are_no_logits(output, target, tmp_path):
    """Said once, in the log: training works, but decoding would not."""
    log = tmp_path / 'train.log'
    MMLogger.get_instance('training', log_file=str(log))
    loss = AnchorLoss()
    for _ in range(3):
        loss(output, target)
    assert log.read_text().count('takes logits') == 1


@pytest.mark.parametrize(
    'name',
    [
        'AsymmetricMSELoss',
        'KeypointMSELoss',
        'KeypointOHKMMSELoss',
        'AdaptiveWingLoss',
        'FocalHeatmapLoss',
        'CombinedTargetMSELoss',
    ],
)
def test_logits_for_a_loss_of_heatmaps(name, output, target):
    """MMPose's own too: they would train, and test something else."""
    weights = torch.ones(2, 3)
    output.is_logits = True
    with pytest.raises(ValueError, match=f'{name}.* SigmoidConv2d'):
        MODELS.build(dict(type=name))(output, target, weights)


def test_misspelt_argument():
    """Names the class, the argument and what there is instead."""
    with pytest.raises(TypeError) as error:
        lossplus.FocusedMSELoss(gama=2)
    for name in ('FocusedMSELoss', 'gama', 'gamma', 'loss_weight'):
        assert name in str(error.value)


def test_negative_weights(output, target):
    weights = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match='got -1'):
        AsymmetricMSELoss()(output, target, weights)
    AsymmetricMSELoss(use_target_weight=False)(output, target, weights)


@pytest.mark.parametrize('gamma', [0.5, 1])
def test_target_below_minus_delta(gamma, output, target):
    """Its weight would be NaN or negative."""
    for low in (0.1, 0.2):
        loss = lossplus.FocusedMSELoss(gamma=gamma, delta=0.1)
        if low == 0.1:
            assert loss(output, target - low).isfinite()
    with pytest.raises(ValueError, match='FocusedMSELoss has weights'):
        loss(output, target - low)


@pytest.mark.parametrize(
    ('weight_fn', 'factor'),
    [('exp', 255), (torch.sqrt, -1), ('double', -1), ('linear', -2)],
)
def test_weights_that_are_no_weights(weight_fn, factor, output, target):
    """Infinite on Megvii's targets; NaN; negative."""
    loss = lossplus.HeatmapWeightingMSELoss(weight_fn=weight_fn)
    with pytest.raises(ValueError, match='weights from'):
        loss(output, (factor * target).float())


@pytest.mark.parametrize('cfg', DEFAULT_LOSSES)
def test_registered_and_exported(cfg):
    assert type(MODELS.build(cfg)) is getattr(lossplus, cfg['type'])


@pytest.mark.parametrize('cfg', DEFAULT_LOSSES)
def test_takes_the_options_of_the_baseline(cfg):
    """MMPose's `loss` options stay when a config changes the type."""
    loss = MODELS.build(
        dict(
            cfg,
            use_target_weight=True,
            skip_empty_channel=True,
            loss_weight=2.0,
        )
    )
    assert (loss.skip_empty_channel, loss.loss_weight) == (True, 2.0)


@pytest.mark.parametrize('cfg', ALL_LOSSES)
def test_gradient(cfg, output, target):
    """Against finite differences; what is detached is compared elsewhere."""
    loss = MODELS.build(cfg)
    weights = torch.rand(target.shape[:2], dtype=torch.double)
    constants = {
        # W and q* are constants of the gradient but functions of the output.
        ('prediction_weighted', None): lambda s, g: fixed,
        ('error_weighted', None): lambda s, g: (fixed - g).abs(),
        ('error_weighted', 'squared_error'): lambda s, g: (fixed - g) ** 2,
    }
    fixed = output[..., :5, :4].clone()
    kind = (cfg.get('form'), cfg.get('reference'))
    if kind in constants:
        loss.reference = constants[kind]
    output, target = fixed.clone().requires_grad_(), target[..., :5, :4]
    if cfg['type'] == 'AnchorLoss':
        # The maximum that q* follows must not be one of the inputs.
        peak = torch.full_like(target[..., :1], 3.0)
        ones = torch.ones_like(peak)

        def function(x):
            x = torch.cat([x, peak], dim=-1)
            return loss(x, torch.cat([target * 0.5, ones], dim=-1), weights)
    else:

        def function(x):
            return loss(x, target, weights)

    assert torch.autograd.gradcheck(function, output)


def test_anchor_gradient_stops_at_the_anchor(output, target):
    """The peak pixel has the gradient of BCE: its role in q* adds none."""
    output.requires_grad_()
    lossplus.AnchorLoss(gamma=5)(output, target).backward()
    peak = target == target.amax((2, 3), keepdim=True)
    expected = (output.sigmoid() - target) / target.numel()
    torch.testing.assert_close(output.grad[peak], expected[peak])


@pytest.mark.parametrize('cfg', ALL_LOSSES)
@pytest.mark.parametrize('empty_target', [False, True])
def test_no_visible_keypoint(cfg, output, target, empty_target):
    """Zero with a graph, so that backward and DDP go on."""
    output.requires_grad_()
    if empty_target:
        target = torch.zeros_like(target)
    loss = MODELS.build(cfg)(output, target, torch.zeros(target.shape[:2]))
    assert loss.item() == 0
    loss.backward()
    assert (output.grad == 0).all()


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='AsymmetricMSELoss', beta=-0.1), 'beta .* got -0.1'),
        (dict(type='AsymmetricMSELoss', form='L2'), "form .* got 'L2'"),
        (
            dict(type='AsymmetricMSELoss', reference='truth'),
            "reference .* got 'truth'",
        ),
        (
            dict(type='AsymmetricMSELoss', reference=[1]),
            r'reference .* got \[1\]',
        ),
        (dict(type='RegularizedMSELoss', beta=-1), 'beta .* got -1'),
        (dict(type='FocusedMSELoss', gamma=-1), 'gamma .* got -1'),
        (dict(type='FocusedMSELoss', delta=-1), 'delta .* got -1'),
        (dict(type='FocusedMSELoss', gamma=float('nan')), 'gamma .* got nan'),
        (
            dict(type='HeatmapWeightingMSELoss', weight_fn='x'),
            "weight_fn .* got 'x'",
        ),
        (dict(type='AnchorLoss', gamma=-2), 'gamma .* got -2'),
        (dict(type='AnchorLoss', slack=-0.1), 'slack .* got -0.1'),
        (
            dict(type='AnchorLoss', background_threshold=0.6),
            'background_threshold .* got 0.6',
        ),
        (dict(type='AnchorLoss', gamma=65), 'gamma .* got 65'),
        (dict(type='HeatmapFocalLoss', gamma=-2), 'gamma .* got -2'),
    ],
)
def test_bad_parameters(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
