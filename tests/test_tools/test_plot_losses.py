"""The curves of the figures: minima, crossings and values by hand."""

import math

import cv2
import numpy as np
import pytest
import torch

import mmpose_lossplus as lossplus

from ..factories import ROOT, load_tool, run_main

TARGETS = (1.0, 0.5, 0.25)


@pytest.fixture(scope='module')
def tool():
    return load_tool('analysis_tools/plot_losses.py')


@pytest.mark.parametrize('of_target', [False, True])
def test_gradients_of_designs(tool, of_target):
    """BCE's where a design does not modulate, else eq. (20) by hand."""
    q = tool.PROBABILITIES
    bce = q - 1 if of_target else q
    plain = 'background' if of_target else 'target'
    grad = tool.class_gradient(plain, 2.0, 0.55, of_target)
    torch.testing.assert_close(grad, bce)
    # A rival at an anchor of 0.55 - 0.05; a target at one of 0.45 + 0.05.
    other = 0.45 if of_target else 0.55
    grad = tool.class_gradient('both', 2.0, other, of_target)
    x = 1 - q if of_target else q
    base = x + 0.5
    slope = base * x * (base - 2 * (1 - x) * torch.log1p(-x))
    torch.testing.assert_close(grad, -slope if of_target else slope)


def lines(panel):
    """What is drawn in a panel, by label: x and y."""
    return {line.get_label(): line.get_data() for line in panel.lines}


def at(line, x):
    """Value of a line at a place of its grid."""
    (found,) = np.flatnonzero(np.isclose(line[0], x, atol=1e-9))
    return line[1][found]


@pytest.mark.parametrize(
    ('signs', 'squares', 'excess', 'right'),
    [
        ((1, 1, 1), 1.4167, 0.25, True),
        ((1, 1, -1), 1.0833, 0.1667, True),
        ((-1, 1, -1), 0.75, 0.0833, True),
        ((-1, -1, -1), 0.0833, 0.0, True),
        ((1, -1, 1), 0.75, 0.1667, False),
        ((1, -1, -1), 0.4167, 0.0833, False),
    ],
)
def test_patterns_of_one_squared_error(tool, signs, squares, excess, right):
    """Means of S^2 and of relu(S - G)^2, worked out by hand."""
    maps, is_right, losses = tool.patterns()
    wanted = torch.tensor([0.5, 1.0, 0.5]) + 0.5 * torch.tensor(signs)
    (i,) = (maps == wanted).all(dim=1).nonzero()[0]
    assert is_right[i] == right
    values = {name: loss[i] for name, loss in losses.items()}
    expected = {
        'MSE': 0.25,
        'RMSE, β=0.1': 0.25 + squares / 10,
        'AMSE quadratic': 0.25 + excess / 10,
        # Each error is 0.5: weights by the target cannot tell them apart.
        'FMSE, γ=1': 0.25 * (2 / 3 + 1e-3),
        'heatmap weighting, x': 0.25 * (1 + 2 / 3),
    }
    found = {name: values[name] for name in expected}
    assert found == pytest.approx(expected, abs=1e-5)


def test_all_below_is_the_cheapest_pattern(tool):
    """What the paper steers the model to, in every form."""
    maps, _, losses = tool.patterns()
    for name, loss in losses.items():
        if 'AMSE' in name:
            assert maps[loss.argmin()].tolist() == [0, 0.5, 0]
            assert maps[loss.argmax()].tolist() == [1, 1.5, 1]


def test_minima_of_rmse(tool):
    for panel, target in zip(tool.draw_rmse().axes, TARGETS):
        drawn = lines(panel)
        for beta in (0.01, 0.1, 0.5):
            x, y = drawn[f'RMSE, β={beta}']
            best = target / (1 + beta)
            assert x[y.argmin()] == pytest.approx(best, abs=0.0025)
            assert y.min() == pytest.approx(beta * target * best, abs=1e-5)


def test_amse(tool):
    for panel, target in zip(tool.draw_amse().axes, TARGETS):
        loss = lines(panel)['AMSE, β=0.5']
        assert at(loss, target) == 0
        assert at(loss, target + 0.25) == pytest.approx(1.5 / 16)
        assert at(loss, target - 0.25) == pytest.approx(1 / 16)


def test_fmse(tool):
    weight, _, panel, _ = (
        lines(x)['FMSE, γ=2'] for x in tool.draw_fmse().axes
    )
    assert at(weight, 0.5) == pytest.approx(0.501**2)
    assert at(panel, 1.0) == pytest.approx(0.501**2 / 4)


def test_anchor_loss_crosses_bce_at_the_anchor(tool):
    for panel, anchor in zip(tool.draw_anchor().axes, (0.1, 0.5, 0.9)):
        drawn = lines(panel)
        q, bce = drawn['BCE']
        np.testing.assert_allclose(bce, -np.log(1 - q))
        np.testing.assert_allclose(drawn['focal loss, γ=2'][1], q**2 * bce)
        away = abs(q - anchor) > 1e-9
        for gamma in (1, 2, 5):
            _, loss = drawn[f'Anchor Loss, γ={gamma}']
            assert ((loss < bce) == (q < anchor))[away].all()


def test_gradient_of_anchor_loss(tool):
    """By hand at q = 0.75 and q* = 0.5, gamma 2, derived by the logit."""
    logit = torch.tensor([math.log(3)], dtype=torch.double)
    loss, grad = tool.curve(lossplus.AnchorLoss(), logit, 0.0, anchor=0.5)
    q, bce = 0.75, math.log(4)
    assert loss.item() == pytest.approx(1.25**2 * bce)
    slope = 1.25**2 * q + 2 * 1.25 * q * (1 - q) * bce
    assert grad.item() == pytest.approx(slope)


def test_same_bytes_each_time(tool, tmp_path):
    for name in ('a.png', 'b.png'):
        tool.save(tool.draw_rmse, tmp_path / name)
    one, two = (path.read_bytes() for path in tmp_path.iterdir())
    assert one == two


@pytest.mark.slow
def test_figures(tool, tmp_path):
    """A picture of each, documented, not too large and not empty."""
    run_main('analysis_tools/plot_losses.py', '--out', tmp_path / 'new' / 'f')
    files = list((tmp_path / 'new' / 'f').iterdir())
    assert {path.stem for path in files} == set(tool.FIGURES)
    for path in files:
        assert f'\n{path.stem} ' in tool.__doc__
        assert (ROOT / 'docs' / 'figures' / path.name).exists()
        assert path.stat().st_size < 150e3
        picture = cv2.imread(str(path))
        assert picture.shape[1] == 960
        assert picture.std() > 10


@pytest.mark.parametrize(('derived', 'value'), [(False, 0.75), (True, 3.0)])
def test_losses_side_by_side(tool, derived, value):
    """3 e^2 and 6 e of an error of 0.5, heatmaps and logits apart."""
    amse = lossplus.AsymmetricMSELoss(beta=2.0)
    losses = dict(mine=amse, anchor=lossplus.AnchorLoss())
    axes = tool.draw_losses(losses, derived).axes
    assert at(lines(axes[1])['mine'], 1.0) == pytest.approx(value)
    assert 'mine' not in lines(axes[4])
    assert 'anchor' in lines(axes[4])


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--losses', 'ohkm'], 'KeypointOHKMMSELoss'),
        (['--losses', 'L9'], 'L9'),
        (['--out', f'{__file__}/below'], __file__),
    ],
)
def test_bad_input(tool, monkeypatch, args, message):
    monkeypatch.setattr('sys.argv', ['plot_losses.py', *args])
    with pytest.raises(SystemExit, match=message):
        tool.main()
