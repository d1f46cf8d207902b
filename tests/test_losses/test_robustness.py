"""Try to break the losses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpose.registry import MODELS

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
