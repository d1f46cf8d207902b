"""The curves of the figures: minima, crossings and values by hand."""

import math

import cv2
import numpy as np
import pytest
import torch

import mmpose_lossplus as lossplus
from mmpose_lossplus.losses import functional as F

from ..factories import ROOT, load_tool

TARGETS = (1.0, 0.5, 0.25)
# A user's own loss: one function, one class.
MY_LOSS = """
from mmpose.registry import MODELS
from mmpose_lossplus.losses import HeatmapLoss

def cubic(output, target, alpha):
    return alpha * (output - target).abs() ** 3

@MODELS.register_module()
class CubicLoss(HeatmapLoss):
    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha

    def loss_map(self, output, target):
        return cubic(output, target, self.alpha)
"""


@pytest.fixture(scope='module')
def tool():
    return load_tool('analysis_tools/plot_losses.py')


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
        ((-1, 1, 1), 1.0833, 0.1667, True),
        ((-1, 1, -1), 0.75, 0.0833, True),
        ((-1, -1, -1), 0.0833, 0.0, True),
        ((1, -1, 1), 0.75, 0.1667, False),
        ((1, -1, -1), 0.4167, 0.0833, False),
        ((-1, -1, 1), 0.4167, 0.0833, False),
    ],
)
def test_patterns_of_one_squared_error(tool, signs, squares, excess, right):
    """Means of S^2 and of relu(S - G)^2, worked out by hand."""
    maps, is_right, losses = tool.patterns()
    target = torch.tensor([0.5, 1.0, 0.5])
    wanted = target + 0.5 * torch.tensor(signs)
    (i,) = (maps == wanted).all(dim=1).nonzero()[0]
    assert is_right[i] == right
    values = {name: loss[i] for name, loss in losses.items()}
    assert values['MSE'] == 0.25
    close = dict(abs=1e-5)
    assert values['RMSE, β=0.1'] == pytest.approx(0.25 + squares / 10, **close)
    assert values['AMSE quadratic'] == pytest.approx(
        0.25 + excess / 10, **close
    )
    # Each error is 0.5, so weights by the target cannot tell them apart.
    assert values['FMSE, γ=1'] == pytest.approx(0.25 * (2 / 3 + 1e-3))
    assert values['heatmap weighting, x'] == pytest.approx(0.25 * (1 + 2 / 3))


def test_all_below_is_the_cheapest_pattern(tool):
    """What the paper steers the model to, in every form."""
    maps, _, losses = tool.patterns()
    for name in [name for name in losses if 'AMSE' in name]:
        assert maps[losses[name].argmin()].tolist() == [0, 0.5, 0]
        assert maps[losses[name].argmax()].tolist() == [1, 1.5, 1]


def test_minima_of_rmse(tool):
    for panel, target in zip(tool.draw_rmse().axes, TARGETS):
        drawn = lines(panel)
        for beta in (0.01, 0.1, 0.5):
            x, y = drawn[f'RMSE, β={beta}']
            assert x[y.argmin()] == pytest.approx(
                target / (1 + beta), abs=0.0025
            )
            assert y.min() == pytest.approx(
                beta * target**2 / (1 + beta), abs=1e-5
            )


def test_amse_and_its_forms(tool):
    gaps = {
        'quadratic': lambda g, e: e**2,
        'difference of squares': lambda g, e: 2 * g * e + e**2,
        'linear': lambda g, e: e,
        'prediction weighted': lambda g, e: 2 * e**3,
        'error weighted': lambda g, e: 4 * g * e**2,
    }
    assert len(gaps) == len(F.AMSE_FORMS)
    axes = tool.draw_amse().axes
    for upper, lower, target in zip(axes[:3], axes[3:], TARGETS):
        loss = lines(upper)['AMSE, β=0.5']
        assert at(loss, target) == 0
        assert at(loss, target + 0.25) == pytest.approx(1.5 / 16)
        assert at(loss, target - 0.25) == pytest.approx(1 / 16)
        # How much more an error above the target costs than one below.
        for form, gap in gaps.items():
            added = lines(lower)[form]
            above, below = (at(added, target + e) for e in (0.25, -0.25))
            assert above - below == pytest.approx(gap(target, 0.25))


def test_fmse(tool):
    first, *others = tool.draw_fmse().axes
    for gamma in (1, 2, 5):
        label = f'FMSE, γ={gamma}'
        weight = lines(first)[label]
        for target in (0, 0.5, 1):
            expected = (target + 1e-3) ** gamma
            assert at(weight, target) == pytest.approx(expected)
        for panel, target in zip(others, (1.0, 0.5, 0.0)):
            expected = (target + 1e-3) ** gamma / 4
            found = at(lines(panel)[label], target - 0.5)
            assert found == pytest.approx(expected)


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
    bce = math.log(4)
    assert loss.item() == pytest.approx(1.25**2 * bce)
    # 1.25^2 q + 2 * 1.25 q (1 - q) bce
    expected = 1.5625 * 0.75 + 2.5 * 0.75 * 0.25 * bce
    assert grad.item() == pytest.approx(expected)


def test_same_bytes_each_time(tool, tmp_path):
    files = [tmp_path / name for name in ('a.png', 'b.png')]
    for file in files:
        tool.save(tool.draw_rmse, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.slow
def test_figures(run_tool, tool, tmp_path):
    """A picture of each, documented, not too large and not empty."""
    run_tool('analysis_tools/plot_losses.py', '--out', tmp_path / 'new' / 'f')
    files = list((tmp_path / 'new' / 'f').iterdir())
    assert {path.stem for path in files} == set(tool.FIGURES)
    for path in files:
        assert f'\n{path.stem} ' in tool.__doc__
        assert (ROOT / 'docs' / 'figures' / path.name).exists()
        assert path.stat().st_size < 150e3
        picture = cv2.imread(str(path))
        assert picture.shape[1] == 960
        assert picture.std() > 10


def test_a_loss_of_the_user(tool, tmp_path, monkeypatch):
    (tmp_path / 'my_module.py').write_text(MY_LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    config = "mine=dict(type='my_module.CubicLoss', alpha=2)"
    seen = {}
    draw = tool.draw_losses

    def keep(losses, derived):
        seen[derived] = draw(losses, derived)
        return seen[derived]

    monkeypatch.setattr(tool, 'draw_losses', keep)
    out = str(tmp_path / 'out')
    args = ['plot_losses.py', '--out', out, '--losses', config, 'anchor']
    monkeypatch.setattr('sys.argv', args)
    tool.main()
    assert sorted(path.stem for path in (tmp_path / 'out').iterdir()) == [
        *('losses', 'losses_gradient')
    ]
    values = {
        derived: at(lines(figure.axes[1])['mine'], 1.0)
        for derived, figure in seen.items()
    }
    # 2 e^3 and 6 e^2 of an error of 0.5.
    assert values == pytest.approx({False: 0.25, True: 1.5})
    assert 'anchor' in lines(seen[False].axes[4])


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--losses', 'ohkm'], 'KeypointOHKMMSELoss'),
        (['--losses', 'L9'], 'L9'),
        (['--out', __file__], __file__),
        (['--out', f'{__file__}/below'], __file__),
    ],
)
def test_bad_input(tool, monkeypatch, args, message):
    monkeypatch.setattr('sys.argv', ['plot_losses.py', *args])
    with pytest.raises(SystemExit, match=message) as error:
        tool.main()
    assert '\n' not in str(error.value)
