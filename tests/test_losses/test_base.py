import warnings

import numpy as np
import pytest
import torch
from mmpose.codecs import MegviiHeatmap, UDPHeatmap
from mmpose.models.losses import KeypointMSELoss

from mmpose_lossplus import AnchorLoss, AsymmetricMSELoss, HeatmapLoss

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


def test_masked_keypoints_change_nothing(output, target, weights):
    loss = SquaredError()
    expected = loss(output, target, weights)
    output[0, 1] += 100
    assert torch.equal(loss(output, target, weights), expected)


def test_mean_is_over_all_pixels(output, target):
    """A hidden keypoint dilutes the loss, as in the baseline."""
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = ((output - target)[0, 0] ** 2).mean() / 6
    torch.testing.assert_close(
        SquaredError()(output, target, weights), expected
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(output, target, dtype):
    output, target = output.to(dtype), target.to(dtype)
    loss = SquaredError()(output, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, SquaredError()(output.float(), target.float()))


def test_double_stays_double(output, target):
    assert SquaredError()(output, target).dtype == torch.float64


@pytest.mark.parametrize(
    ('output_shape', 'target_shape'),
    [((2, 3, 8, 6), (2, 3, 16, 12)), ((2, 3, 8), (2, 3, 8))],
)
def test_mismatched_maps(output_shape, target_shape):
    with pytest.raises(ValueError, match='one shape') as error:
        SquaredError()(torch.zeros(output_shape), torch.zeros(target_shape))
    assert str(output_shape) in str(error.value)
    assert str(target_shape) in str(error.value)


@pytest.mark.parametrize(
    'shape', [(2, 4), (3,), (2, 3, 16, 1), (2, 3, 2), (6, 3)]
)
def test_mismatched_weights(output, target, shape):
    with pytest.raises(ValueError, match='target_weights') as error:
        SquaredError()(output, target, torch.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize('shape', [(2, 16, 12), (2, 2, 16, 12)])
def test_mismatched_mask(output, target, shape):
    with pytest.raises(ValueError, match='mask') as error:
        SquaredError()(output, target, None, torch.ones(shape))
    assert str(shape) in str(error.value)


def test_udp_combined_target():
    codec = UDPHeatmap((48, 64), (12, 16), heatmap_type='combined')
    encoded = codec.encode(KEYPOINTS, VISIBLE)
    target = torch.from_numpy(encoded['heatmaps'])[None]
    weights = torch.from_numpy(encoded['keypoint_weights'])
    with pytest.raises(ValueError, match="heatmap_type='combined'"):
        AsymmetricMSELoss()(torch.zeros_like(target), target, weights)


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


def test_maps_that_are_no_logits(output, target):
    """Said once: training works, but test-time decoding would not."""
    loss = AnchorLoss()
    with pytest.warns(UserWarning, match='SigmoidConv2d'):
        loss(output, target)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss(output, target)


def test_logits_for_a_loss_of_heatmaps(output, target):
    output.is_logits = True
    with pytest.raises(ValueError, match='SigmoidConv2d'):
        AsymmetricMSELoss()(output, target)
