"""Try to break the losses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.registry import MODELS

from mmpose_lossplus.losses import functional as F

from ..factories import DEFAULT_LOSSES, LOGITS, gradient, random_maps

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

# Times vary with the machine, and examples are the same in every run.
checked = settings(deadline=None, derandomize=True, max_examples=40)
each_loss = pytest.mark.parametrize('cfg', DEFAULT_LOSSES)
seeds = st.integers(0, 2**32 - 1)


@each_loss
@checked
@given(seeds, st.floats(-30, 37), st.sampled_from(DTYPES))
def test_finite_inputs(cfg, seed, exponent, dtype):
    """Finite wherever the loss of each pixel is one of float32's numbers."""
    output, target, weights = random_maps(seed)
    limit = torch.finfo(dtype).max
    if dtype != torch.float64:
        # The other losses square it, and Anchor Loss quadruples it.
        limit = min(limit, 8e37 if cfg['type'] in LOGITS else 1e18)
    output = (output.double() * 10**exponent).clamp(-limit, limit).to(dtype)
    value, grad = gradient(
        MODELS.build(cfg), output, target.to(dtype), weights
    )
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    assert grad.dtype == dtype
    assert value.isfinite()
    assert grad.isfinite().all()


@each_loss
@checked
@given(seeds, st.sampled_from(DTYPES))
def test_precision_of_the_input(cfg, seed, dtype):
    """Half maps lose what they round away themselves, and no more."""
    output, target, weights = random_maps(seed)
    output, target = output.to(dtype), target.to(dtype)
    loss = MODELS.build(cfg)
    value, grad = gradient(loss, output, target, weights)
    exact, exact_grad = gradient(
        loss, output.double(), target.double(), weights
    )
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(
        grad.double(),
        exact_grad,
        rtol=4 * torch.finfo(dtype).eps,
        atol=max(torch.finfo(dtype).tiny, 1e-9),
    )


@each_loss
@checked
@given(seeds, st.data())
def test_order_does_not_matter(cfg, seed, data):
    output, target, weights = random_maps(seed)
    loss = MODELS.build(cfg)
    value, grad = gradient(loss, output, target, weights)
    for dim in (0, 1):
        order = data.draw(st.permutations(range(output.shape[dim])))
        permuted = [x.transpose(0, dim)[order] for x in (output, target)]
        permuted = [x.transpose(0, dim) for x in permuted]
        weight = weights.transpose(0, dim)[order].transpose(0, dim)
        other, other_grad = gradient(loss, *permuted, weight)
        torch.testing.assert_close(other, value)
        expected = grad.transpose(0, dim)[order].transpose(0, dim)
        torch.testing.assert_close(other_grad, expected)


@each_loss
@checked
@given(seeds, st.floats(-1e4, 1e4))
def test_masked_keypoints_change_nothing(cfg, seed, value):
    output, target, weights = random_maps(seed)
    changed = output.masked_fill(weights[..., None, None] == 0, value)
    loss = MODELS.build(cfg)
    expected, expected_grad = gradient(loss, output, target, weights)
    result, grad = gradient(loss, changed, target, weights)
    assert torch.equal(result, expected)
    assert torch.equal(grad, expected_grad)
    assert (grad[weights == 0] == 0).all()


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@each_loss
def test_nan_and_infinity_stay_visible(cfg, bad):
    """No plausible number, in the loss or in the pixel's own gradient."""
    output, target, _ = random_maps(0)
    output[1, 2, 3, 4] = bad
    loss = MODELS.build(cfg)
    value, grad = gradient(loss, output, target)
    with torch.no_grad():
        assert not loss(output, target).isfinite()
    assert not value.isfinite()
    if math.isnan(bad) or cfg['type'] not in LOGITS:
        assert not grad[1, 2, 3, 4].isfinite()


@each_loss
def test_nothing_at_all(cfg):
    """Zero with a graph, not the NaN that a mean of nothing is."""
    output = torch.zeros(0, 3, 8, 6, requires_grad=True)
    value = MODELS.build(cfg)(
        output, torch.zeros_like(output), torch.ones(0, 3)
    )
    assert value.item() == 0
    value.backward()
    assert output.grad.shape == output.shape


@each_loss
@pytest.mark.parametrize('shape', [(2, 1, 8, 6), (2, 3, 1, 1), (1, 1, 1, 1)])
def test_small_shapes(cfg, shape):
    output, target, _ = random_maps(0, shape)
    loss = MODELS.build(cfg)
    value, grad = gradient(loss, output, target)
    expected = loss.loss_map(output, target).mean()
    torch.testing.assert_close(value, expected)
    assert grad.isfinite().all()


@each_loss
def test_memory_layout_does_not_matter(cfg):
    output, target, weights = random_maps(0)
    loss = MODELS.build(cfg)
    value, grad = gradient(loss, output, target, weights)
    wide = torch.zeros(2, 3, 8, 12)
    wide[..., ::2] = output
    for layout in (
        output.to(memory_format=torch.channels_last),
        output.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        wide[..., ::2],
    ):
        for other in (target, target.to(memory_format=torch.channels_last)):
            result = gradient(loss, layout, other, weights)
            torch.testing.assert_close(result, (value, grad))


@each_loss
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_is_off_inside(cfg, dtype):
    """Also for a function of the user's with a matrix product in it."""
    if not torch.cuda.is_available() and dtype == torch.float16:
        pytest.skip('float16 autocast needs a GPU')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    output, target, weights = (x.to(device) for x in random_maps(0))
    output, target = output.to(dtype), target.to(dtype)
    loss = MODELS.build(cfg)
    expected = gradient(loss, output, target, weights)
    with torch.autocast(device, dtype=dtype):
        result = gradient(loss, output, target, weights)
    assert torch.equal(result[0], expected[0])
    assert torch.equal(result[1], expected[1])


def test_autocast_is_off_in_a_function_of_the_user():
    seen = []

    def weight_fn(target):
        product = target @ target.transpose(-1, -2)
        seen.append(product.dtype)
        return product.mean() + 0 * target

    loss = MODELS.build(
        dict(type='HeatmapWeightingMSELoss', weight_fn=weight_fn)
    )
    output, target, _ = random_maps(0)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        gradient(loss, output, target)
    assert {*seen} == {torch.float32}


# What the papers claim.
levels = st.floats(0, 1, width=32)
errors = st.floats(1 / 64, 1, width=32)


def pixel(function, output, target, **kwargs):
    """Loss of one pixel in float64."""
    maps = [
        torch.full((1, 1, 1, 1), x, dtype=torch.double)
        for x in (output, target)
    ]
    return function(*maps, **kwargs).item()


@checked
@given(levels, errors, st.floats(1e-3, 1))
def test_over_prediction_is_dearer(target, error, beta):
    """AMSE, all forms but the two that are symmetric on the background."""
    for form in ('quadratic', 'difference_of_squares', 'linear'):
        over = pixel(F.amse, target + error, target, beta=beta, form=form)
        under = pixel(F.amse, target - error, target, beta=beta, form=form)
        assert over > under
        assert math.isclose(under, error**2, rel_tol=1e-9)


@checked
@given(levels, errors, errors)
def test_larger_errors_are_dearer(target, error, more):
    """All squared errors on either side, RMSE beyond its own minimum."""
    for function in (F.amse, F.fmse, F.heatmap_weighting_mse):
        for sign in (-1, 1):
            near = pixel(function, target + sign * error, target)
            far = pixel(function, target + sign * (error + more), target)
            assert far > near
    near, far = target + error, target + error + more
    assert pixel(F.rmse, far, target) > pixel(F.rmse, near, target)


@checked
@given(levels, levels, errors)
def test_the_foreground_is_dearer(one, other, error):
    """FMSE and heatmap weighting: the same error at a higher target."""
    low, high = sorted((one, other))
    for function in (F.fmse, F.heatmap_weighting_mse):
        assert pixel(function, low + error, low) <= pixel(
            function, high + error, high
        ) * (1 + 1e-6)


@checked
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-6, 6), st.floats(0, 4))
def test_anchor_loss_of_a_background_pixel(one, other, peak, gamma):
    """Grows with its own score, falls with that of the keypoint."""
    target = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.double)

    def background(score, peak):
        output = torch.tensor([[[[peak, score]]]], dtype=torch.double)
        return F.anchor_loss(output, target, gamma=gamma)[0, 0, 0, 1].item()

    low, high = sorted((one, other))
    assert background(low, peak) <= background(high, peak)
    assert background(peak, low) >= background(peak, high)
    # More than BCE if it beats the keypoint less the slack, else less.
    bce = background(one, peak) if gamma == 0 else math.log1p(math.exp(one))
    gap = 1 / (1 + np.exp(-one)) - max(1 / (1 + np.exp(-peak)) - 0.05, 0)
    assert (background(one, peak) - bce) * gap >= -1e-12
