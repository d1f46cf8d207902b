"""Every function against a loop over pixels written from the papers."""

import math

import pytest
import torch

from mmpose_lossplus.losses import functional as F

BETA = 0.05


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def naive(loss_of_pixel):
    """Apply a function of (S, G) of one pixel to every pixel."""

    def loss(output, target):
        result = torch.empty_like(output)
        for index in torch.cartesian_prod(*map(torch.arange, output.shape)):
            index = tuple(index.tolist())
            result[index] = loss_of_pixel(
                output[index].item(), target[index].item()
            )
        return result

    return loss


def naive_anchor(gamma, slack, anchor_threshold=0.5, background=0.0):
    def loss(output, target):
        result = torch.empty_like(output)
        for b in range(output.shape[0]):
            for k in range(output.shape[1]):
                pixels = list(
                    zip(
                        output[b, k].flatten().tolist(),
                        target[b, k].flatten().tolist(),
                    )
                )
                above = [sigmoid(s) for s, g in pixels if g > anchor_threshold]
                values = []
                for s, g in pixels:
                    q = sigmoid(s)
                    bce = -(g * math.log(q) + (1 - g) * math.log(1 - q))
                    if above and g <= background:
                        anchor = max(max(above) - slack, 0)
                        bce *= (1 + q - anchor) ** gamma
                    values.append(bce)
                result[b, k] = torch.tensor(
                    values, dtype=output.dtype
                ).reshape(output.shape[2:])
        return result

    return loss


def naive_focal(gamma):
    def pixel(s, g):
        q = sigmoid(s)
        return -(
            g * (1 - q) ** gamma * math.log(q)
            + (1 - g) * q**gamma * math.log(1 - q)
        )

    return naive(pixel)


def amse(**kwargs):
    return lambda s, g: F.amse(s, g, BETA, **kwargs)


PARITY = {
    'amse quadratic': (
        amse(),
        naive(lambda s, g: (s - g) ** 2 + BETA * max(0, s - g) ** 2),
    ),
    'amse quadratic, W=0.2': (
        amse(reference=0.2),
        naive(lambda s, g: (s - g) ** 2 + BETA * max(0, s - 0.2) ** 2),
    ),
    'amse difference_of_squares': (
        amse(form='difference_of_squares'),
        naive(
            lambda s, g: (s - g) ** 2 + BETA * max(0, max(s, 0) ** 2 - g**2)
        ),
    ),
    'amse linear': (
        amse(form='linear'),
        naive(lambda s, g: (s - g) ** 2 + BETA * max(0, s - g)),
    ),
    'amse prediction_weighted': (
        amse(form='prediction_weighted'),
        naive(lambda s, g: (1 + BETA * s) * (s - g) ** 2),
    ),
    'amse error_weighted': (
        amse(form='error_weighted'),
        naive(lambda s, g: (s - g) ** 2 + BETA * abs(s - g) * s**2),
    ),
    'amse error_weighted, W=(S-G)^2': (
        amse(form='error_weighted', reference='squared_error'),
        naive(lambda s, g: (s - g) ** 2 + BETA * (s - g) ** 2 * s**2),
    ),
    'rmse': (
        lambda s, g: F.rmse(s, g, BETA),
        naive(lambda s, g: (s - g) ** 2 + BETA * s**2),
    ),
    'fmse': (F.fmse, naive(lambda s, g: (g + 1e-3) * (s - g) ** 2)),
    'fmse gamma=2.5': (
        lambda s, g: F.fmse(s, g, 2.5, 0.01),
        naive(lambda s, g: (g + 0.01) ** 2.5 * (s - g) ** 2),
    ),
    'hmw x': (
        F.heatmap_weighting_mse,
        naive(lambda s, g: (g + 1) * (s - g) ** 2),
    ),
    'hmw 2x': (
        lambda s, g: F.heatmap_weighting_mse(s, g, 'double'),
        naive(lambda s, g: (2 * g + 1) * (s - g) ** 2),
    ),
    'hmw x^2': (
        lambda s, g: F.heatmap_weighting_mse(s, g, 'square'),
        naive(lambda s, g: (g**2 + 1) * (s - g) ** 2),
    ),
    'hmw e^x': (
        lambda s, g: F.heatmap_weighting_mse(s, g, 'exp'),
        naive(lambda s, g: (math.exp(g) + 1) * (s - g) ** 2),
    ),
    'hmw function': (
        lambda s, g: F.heatmap_weighting_mse(s, g, lambda x: x**3),
        naive(lambda s, g: (g**3 + 1) * (s - g) ** 2),
    ),
    'anchor': (F.anchor_loss, naive_anchor(2, 0.05)),
    'anchor gamma=0.5': (
        lambda s, g: F.anchor_loss(s, g, 0.5, 0.1),
        naive_anchor(0.5, 0.1),
    ),
    'anchor thresholds': (
        lambda s, g: F.anchor_loss(s, g, 3.0, 0.0, 0.9, 0.2),
        naive_anchor(3, 0, 0.9, 0.2),
    ),
    'focal': (F.heatmap_focal_loss, naive_focal(2)),
    'focal gamma=0.5': (
        lambda s, g: F.heatmap_focal_loss(s, g, 0.5),
        naive_focal(0.5),
    ),
}


@pytest.mark.parametrize('name', PARITY)
def test_parity_with_naive_loop(name, output, target):
    target[1, 2] = 0  # an unlabelled keypoint: no pixel above the threshold
    function, loop = PARITY[name]
    result = function(3 * output, target)
    assert result.shape == output.shape
    torch.testing.assert_close(
        result, loop(3 * output, target), atol=1e-12, rtol=1e-12
    )


@pytest.mark.parametrize(
    'function',
    [
        *(
            lambda s, g, form=form: F.amse(s, g, 0.0, form=form)
            for form in F.AMSE_FORMS
        ),
        lambda s, g: F.rmse(s, g, 0.0),
        lambda s, g: F.fmse(s, g, 0.0),
        lambda s, g: F.heatmap_weighting_mse(s, g, None),
    ],
)
def test_limit_is_mse(function, output, target):
    assert torch.equal(function(output, target), (output - target) ** 2)


@pytest.mark.parametrize('function', [F.anchor_loss, F.heatmap_focal_loss])
def test_limit_is_bce(function, output, target):
    bce = torch.nn.functional.binary_cross_entropy_with_logits(
        output, target, reduction='none'
    )
    torch.testing.assert_close(
        function(output, target, gamma=0.0), bce, atol=1e-14, rtol=1e-14
    )


def test_rmse_minimum_is_below_the_target():
    target = torch.tensor([0.25, 0.5, 1.0], dtype=torch.double)
    best = target / (1 + BETA)
    output = best.clone().requires_grad_()
    loss = F.rmse(output, target, BETA)
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert gradient.abs().max() < 1e-15
    torch.testing.assert_close(loss, BETA * target**2 / (1 + BETA))


# --- AMSE: what each of the five readings promises -------------------------

TARGETS = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.double)


def slope(output, target, **kwargs):
    output = output.clone().requires_grad_()
    loss = F.amse(output, target, BETA, **kwargs).sum()
    return torch.autograd.grad(loss, output)[0]


SQUARED = dict(form='error_weighted', reference='squared_error')


@pytest.mark.parametrize(
    'kwargs', [*(dict(form=form) for form in F.AMSE_FORMS), SQUARED]
)
@pytest.mark.parametrize('error', [1e-6, 0.01, 0.3, 0.9])
def test_amse_minimum_is_at_the_target(kwargs, error):
    assert (slope(TARGETS + error, TARGETS, **kwargs) > 0).all()
    assert (slope(TARGETS - error, TARGETS, **kwargs) < 0).all()
    assert (F.amse(TARGETS, TARGETS, BETA, **kwargs) == 0).all()


GAPS = {
    'quadratic': lambda g, e: 0 * g + BETA * e**2,
    'difference_of_squares': lambda g, e: BETA * (2 * g * e + e**2),
    'linear': lambda g, e: 0 * g + BETA * e,
    'prediction_weighted': lambda g, e: 0 * g + 2 * BETA * e**3,
    'error_weighted': lambda g, e: 4 * BETA * g * e**2,
}


@pytest.mark.parametrize('form', F.AMSE_FORMS)
@pytest.mark.parametrize('error', [0.1, 0.25])
def test_amse_asymmetry(form, error):
    """Loss at G + e less loss at G - e, papers' notes on eqs. (6), (7)."""
    gap = F.amse(TARGETS + error, TARGETS, BETA, form=form) - F.amse(
        TARGETS - error, TARGETS, BETA, form=form
    )
    torch.testing.assert_close(gap, GAPS[form](TARGETS, error))
    assert (gap[1:] > 0).all()


def test_amse_squared_error(output, target):
    """W is constant: the slope is 2 (S - G) + 2 beta (S - G)^2 S."""
    gap = F.amse(TARGETS + 0.25, TARGETS, BETA, **SQUARED) - F.amse(
        TARGETS - 0.25, TARGETS, BETA, **SQUARED
    )
    torch.testing.assert_close(gap, 4 * BETA * TARGETS * 0.25**3)
    error = output - target
    torch.testing.assert_close(
        slope(output, target, **SQUARED),
        2 * error + 2 * BETA * error**2 * output,
    )


@pytest.mark.parametrize('form', F.AMSE_FORMS)
def test_amse_default_references(form, output, target):
    """As the table of its docstring has them."""
    names = dict(prediction_weighted='output', error_weighted='error')
    expected = F.amse(
        output, target, BETA, reference=names.get(form, 'target'), form=form
    )
    assert torch.equal(F.amse(output, target, BETA, form=form), expected)


@pytest.mark.parametrize('form', ['quadratic', 'difference_of_squares'])
def test_amse_without_reference_level_is_rmse(form, output, target):
    output = output.abs()
    torch.testing.assert_close(
        F.amse(output, target, BETA, 0.0, form), F.rmse(output, target, BETA)
    )


def test_amse_error_weighted_by_one_is_rmse(output, target):
    torch.testing.assert_close(
        F.amse(output, target, BETA, 1.0, 'error_weighted'),
        F.rmse(output, target, BETA),
    )


def test_amse_reference_below_the_target_moves_the_minimum():
    reference = TARGETS / 2
    best = (TARGETS + BETA * reference) / (1 + BETA)
    assert slope(best, TARGETS, reference=reference).abs().max() < 1e-15
    # At or above the target it stays there.
    assert (slope(TARGETS, TARGETS, reference=TARGETS + 0.1) == 0).all()


def test_amse_reference_is_constant_in_back_propagation(output, target):
    level = output.clone().requires_grad_()
    output.requires_grad_()
    F.amse(
        output, target, BETA, level * 0.5, 'error_weighted'
    ).sum().backward()
    assert level.grad is None
    torch.testing.assert_close(
        output.grad,
        2 * (output - target) + 2 * BETA * level * 0.5 * output,
    )


# AMSE paper, fig. 2: signs of an error of 0.5, whether arg-max is right, and
# the penalties of RMSE and of AMSE's quadratic form divided by beta.
PATTERNS = [
    ('+++', True, 17 / 12, 1 / 4),
    ('++-', True, 13 / 12, 1 / 6),
    ('-++', True, 13 / 12, 1 / 6),
    ('-+-', True, 9 / 12, 1 / 12),
    ('---', True, 1 / 12, 0),
    ('+-+', False, 9 / 12, 1 / 6),
    ('+--', False, 5 / 12, 1 / 12),
    ('--+', False, 5 / 12, 1 / 12),
]


@pytest.mark.parametrize(('signs', 'right', 'rmse', 'amse'), PATTERNS)
def test_equal_mse_patterns(signs, right, rmse, amse):
    target = torch.tensor([[[[0.5, 1.0, 0.5]]]], dtype=torch.double)
    error = torch.tensor([0.5 if sign == '+' else -0.5 for sign in signs])
    output = target + error
    mse = ((output - target) ** 2).mean().item()
    assert mse == 0.25
    assert (output.argmax().item() == 1) == right
    penalty = (F.rmse(output, target, 1.0).mean() - mse).item()
    assert penalty == pytest.approx(rmse, abs=1e-12)
    penalty = (F.amse(output, target, 1.0).mean() - mse).item()
    assert penalty == pytest.approx(amse, abs=1e-12)


# --- Anchor Loss -----------------------------------------------------------


def test_anchor_loss_by_hand():
    """One map: peak q = 0.8, background q = 0.9 (hard) and 0.25 (easy)."""
    q = torch.tensor([[[[0.8, 0.9], [0.25, 0.6]]]], dtype=torch.double)
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.3]]]], dtype=torch.double)
    loss = F.anchor_loss(q.logit(), target)
    expected = [
        -math.log(0.8),
        (1 + 0.9 - 0.75) ** 2 * -math.log(0.1),  # anchor 0.8 - 0.05
        (1 + 0.25 - 0.75) ** 2 * -math.log(0.75),
        -(0.3 * math.log(0.6) + 0.7 * math.log(0.4)),
    ]
    torch.testing.assert_close(
        loss.flatten(), torch.tensor(expected, dtype=torch.double)
    )


def test_gradient_of_bce_at_a_logit_of_zero():
    """It is q - G = 1/2 - G, also where autograd has a kink to decide on."""
    output = torch.zeros(1, 1, 1, 3, requires_grad=True)
    target = torch.tensor([[[[0.0, 0.5, 1.0]]]])
    F.anchor_loss(output, target, gamma=0).sum().backward()
    assert output.grad.flatten().tolist() == [0.5, 0.0, -0.5]


def test_anchor_loss_gradient(output, target):
    """Eq. (20): background term, anchor constant, by the logit."""
    gamma = 2.0
    output.requires_grad_()
    F.anchor_loss(output, target, gamma).sum().backward()
    with torch.no_grad():
        q = output.sigmoid()
        region = torch.where(target > 0.5, q, 0.0)
        anchor = (region.amax((2, 3), keepdim=True) - 0.05).clamp(min=0)
        base = 1 + q - anchor
        slope = base - gamma * (1 - q) * torch.log1p(-q)
        expected = torch.where(
            target == 0, base ** (gamma - 1) * q * slope, q - target
        )
    torch.testing.assert_close(output.grad, expected)


def test_anchor_loss_boosts_what_beats_the_peak(target):
    """More than BCE above the anchor, less below, equal at it."""
    background = (target == 0).nonzero()[0]
    output = torch.full_like(target, -4)
    output[target > 0.5] = 0  # q* = 0.45
    factors = []
    for q in (0.44, 0.45, 0.46):
        output[tuple(background)] = math.log(q / (1 - q))
        loss = F.anchor_loss(output, target)[tuple(background)].item()
        factors.append(loss / -math.log(1 - q))
    assert factors[0] < 1 < factors[2]
    assert factors[1] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize('gamma', [0.0, 0.1, 0.5, 2.0, 20.0, 64.0])
@pytest.mark.parametrize('logit', [-1e4, -200.0, 200.0, 1e4])
@pytest.mark.parametrize('function', ['anchor', 'focal'])
def test_extreme_logits_stay_finite(function, gamma, logit, target):
    target = target.float()
    output = torch.full_like(target, logit)
    output[target > 0.5] *= -1
    output.requires_grad_()
    if function == 'anchor':
        loss = F.anchor_loss(output, target, gamma, slack=0.0)
    else:
        loss = F.heatmap_focal_loss(output, target, gamma)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert output.grad.isfinite().all()


def test_focal_loss_by_hand():
    q = torch.tensor([[[[0.9, 0.2]]]], dtype=torch.double)
    target = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.double)
    loss = F.heatmap_focal_loss(q.logit(), target, 2.0).flatten()
    assert loss[0].item() == pytest.approx(0.01 * -math.log(0.9))
    assert loss[1].item() == pytest.approx(0.04 * -math.log(0.8))


# --- Weights ---------------------------------------------------------------


def test_unknown_names(output, target):
    with pytest.raises(ValueError, match="got 'cube'"):
        F.heatmap_weighting_mse(output, target, 'cube')
    with pytest.raises(ValueError, match="got 'cubic'"):
        F.amse(output, target, form='cubic')
    with pytest.raises(ValueError, match="reference .* got 'truth'"):
        F.amse(output, target, reference='truth')
