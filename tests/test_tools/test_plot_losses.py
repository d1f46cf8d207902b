"""The curves of the figures: minima, crossings and values by hand."""

import inspect
import math

import cv2
import numpy as np
import pytest
import torch

from mmpose_lossplus.losses import functional as F

from ..factories import ROOT, load_tool

# One step of the grids on which curves are drawn.
STEP = 0.0025


@pytest.fixture(scope='module')
def tool():
    return load_tool('analysis_tools/plot_losses.py')


def at(tool, loss, output):
    """Value of a curve over the outputs where it is drawn."""
    return loss[(tool.outputs() - output).abs().argmin()].item()


def lowest(tool, loss):
    return tool.outputs()[loss.argmin()].item()


def test_grids_hold_the_targets(tool):
    assert tool.outputs()[1] - tool.outputs()[0] == pytest.approx(STEP)
    for target in (*tool.TARGETS, 0.0):
        assert (tool.outputs() - target).abs().min() < 1e-12


def test_patterns_have_one_squared_error(tool):
    found = tool.patterns()
    assert len({p.signs for p in found}) == 8
    assert {p.losses['MSE'] for p in found} == {0.25}
    assert [p.right for p in found] == [True] * 5 + [False] * 3
    # Those of the paper's figure: all above, all below, and the wrong ones.
    by_signs = {p.signs: p for p in found}
    assert by_signs['+++'].prediction.tolist() == [1.0, 1.5, 1.0]
    assert by_signs['−−−'].prediction.tolist() == [0.0, 0.5, 0.0]
    assert {p.signs for p in found if not p.right} == {'+−+', '+−−', '−−+'}


@pytest.mark.parametrize(
    ('signs', 'squares', 'excess'),
    [
        ('+++', 1.4167, 0.25),
        ('++−', 1.0833, 0.1667),
        ('−++', 1.0833, 0.1667),
        ('−+−', 0.75, 0.0833),
        ('−−−', 0.0833, 0.0),
        ('+−+', 0.75, 0.1667),
        ('+−−', 0.4167, 0.0833),
        ('−−+', 0.4167, 0.0833),
    ],
)
def test_losses_of_the_patterns(tool, signs, squares, excess):
    """Means of S^2 and of relu(S - G)^2, worked out by hand."""
    (pattern,) = (p for p in tool.patterns() if p.signs == signs)
    beta, losses = tool.TOY_BETA, pattern.losses
    close = dict(abs=1e-4 * beta)
    assert losses[f'RMSE, β={beta}'] == pytest.approx(
        0.25 + beta * squares, **close
    )
    assert losses['AMSE quadratic'] == pytest.approx(
        0.25 + beta * excess, **close
    )
    # Each error is 0.5, so weights by the target cannot tell them apart.
    weights = np.array(tool.TOY_TARGET)
    assert losses['FMSE, γ=1'] == pytest.approx(0.25 * (weights + 1e-3).mean())
    assert losses['heatmap weighting, x'] == pytest.approx(
        0.25 * (weights + 1).mean()
    )


def test_all_below_is_the_cheapest_pattern(tool):
    """What the paper steers the model to, in every form."""
    for name in tool.TOY_LOSSES:
        values = {p.signs: p.losses[name] for p in tool.patterns()}
        if max(values.values()) - min(values.values()) > 1e-9:
            assert min(values, key=values.get) == '−−−', name
            assert max(values, key=values.get) == '+++', name


@pytest.mark.parametrize('target', [1.0, 0.5, 0.25])
def test_minimum_of_rmse(tool, target):
    for beta, (loss, grad) in tool.rmse_curves(target).items():
        minimum = target / (1 + beta)
        assert lowest(tool, loss) == pytest.approx(minimum, abs=STEP)
        assert loss.min().item() == pytest.approx(
            beta * target**2 / (1 + beta), abs=STEP**2 * (1 + beta)
        )
        assert at(tool, loss, target) == pytest.approx(beta * target**2)
        assert at(tool, grad, target) == pytest.approx(2 * beta * target)


@pytest.mark.parametrize('target', [1.0, 0.5, 0.25])
def test_minimum_of_amse(tool, target):
    for beta, (loss, grad) in tool.amse_curves(target).items():
        assert lowest(tool, loss) == pytest.approx(target)
        assert loss.min().item() == pytest.approx(0, abs=1e-12)
        # An error of 0.25 above, and below.
        above, below = (at(tool, loss, target + e) for e in (0.25, -0.25))
        assert above == pytest.approx((1 + beta) / 16)
        assert below == pytest.approx(1 / 16)
        assert at(tool, grad, target + 0.25) == pytest.approx((1 + beta) / 2)


@pytest.mark.parametrize(
    ('form', 'gap'),
    [
        ('quadratic', lambda g, e: e**2),
        ('difference_of_squares', lambda g, e: 2 * g * e + e**2),
        ('linear', lambda g, e: e),
        ('prediction_weighted', lambda g, e: 2 * e**3),
        ('error_weighted', lambda g, e: 4 * g * e**2),
    ],
)
def test_asymmetry_of_the_forms(tool, form, gap):
    """How much more an error above the target costs than one below."""
    for target in tool.TARGETS:
        penalty = tool.amse_penalties(target)[form]
        assert at(tool, penalty, target) == pytest.approx(0, abs=1e-12)
        for error in (0.1, 0.25):
            above, below = (
                at(tool, penalty, target + e) for e in (error, -error)
            )
            assert above - below == pytest.approx(gap(target, error))


def test_all_forms_are_drawn(tool):
    assert tuple(tool.amse_penalties(0.5)) == F.AMSE_FORMS


def test_weights_of_fmse(tool):
    target, weights = tool.fmse_weights()
    for gamma, weight in weights.items():
        assert weight[0].item() == pytest.approx(1e-3**gamma)
        assert weight[target == 0.5].item() == pytest.approx(0.501**gamma)
        assert weight[-1].item() == pytest.approx(1.001**gamma)


@pytest.mark.parametrize('target', [1.0, 0.5, 0.0])
def test_curves_of_fmse(tool, target):
    for gamma, (loss, grad) in tool.fmse_curves(target).items():
        weight = (target + 1e-3) ** gamma
        assert lowest(tool, loss) == pytest.approx(target, abs=1e-12)
        # An error of 0.5.
        assert at(tool, loss, target - 0.5) == pytest.approx(weight / 4)
        assert at(tool, grad, target - 0.5) == pytest.approx(-weight)


@pytest.mark.parametrize('anchor', [0.1, 0.5, 0.9])
def test_anchor_loss_crosses_bce_at_the_anchor(tool, anchor):
    q, curves = tool.probabilities(), tool.anchor_curves(anchor)
    bce = curves.pop('BCE')[0]
    torch.testing.assert_close(bce, -(1 - q).log())
    focal = curves.pop('focal loss, γ=2')[0]
    torch.testing.assert_close(focal, q**2 * bce)
    assert list(curves) == ['Anchor Loss, γ=1'] + [
        f'Anchor Loss, γ={gamma}' for gamma in (2, 5)
    ]
    for loss, _ in curves.values():
        away = (q - anchor).abs() > 1e-9
        assert ((loss < bce) == (q < anchor))[away].all()


def test_gradient_of_anchor_loss(tool):
    """By hand at q = 0.75 and q* = 0.5, gamma 2, derived by the logit."""
    equation = tool.with_anchor(anchor=0.5, gamma=2.0)
    logit = torch.tensor([math.log(3)], dtype=torch.double)
    loss, grad = tool.curve(equation, logit, 0.0)
    bce = math.log(4)
    assert loss.item() == pytest.approx(1.25**2 * bce)
    # 1.25^2 q + 2 * 1.25 q (1 - q) bce
    assert grad.item() == pytest.approx(
        1.5625 * 0.75 + 2.5 * 0.75 * 0.25 * bce
    )


def test_gradients_are_smooth(tool):
    """The grid leaves out a logit of 0, where autograd's would jump."""
    losses = {**tool.ON_LOGITS, 'BCE': tool.bce}
    q = tool.probabilities()
    for equation in losses.values():
        loss, grad = tool.curve(equation, q.logit(), 0.0)
        # dL/dq = dL/dS / (q (1 - q)), against differences.
        slope = (loss[2:] - loss[:-2]) / (q[2:] - q[:-2])
        wanted = (grad / (q * (1 - q)))[1:-1]
        torch.testing.assert_close(slope, wanted, rtol=0.02, atol=2e-3)


def test_heatmap_weights(tool):
    target = tool.gaussian()
    assert target.shape == (19, 19)
    assert target.max() == target[9, 9] == 1
    assert target[9, 11].item() == pytest.approx(math.exp(-0.5))
    # Three sigma are 6 pixels.
    assert target[9, 15].item() == pytest.approx(math.exp(-4.5))
    assert target[9, 16] == 0
    maps = tool.weight_maps()
    values = {
        name: (image[9, 9].item(), image[9, 11].item(), image[0, 0].item())
        for name, image in maps.items()
    }
    x = math.exp(-0.5)
    assert values['linear'] == pytest.approx((2, 1 + x, 1))
    assert values['double'] == pytest.approx((3, 1 + 2 * x, 1))
    assert values['square'] == pytest.approx((2, 1 + x**2, 1))
    assert values['exp'] == pytest.approx((1 + math.e, 1 + math.exp(x), 2))


def test_losses_side_by_side(tool):
    """At target 1 and output 0.5, and as probabilities at target 0."""
    values = {
        name: tool.curve(f, torch.tensor([0.5]), 1.0)[0].item()
        for name, f in tool.ON_HEATMAPS.items()
    }
    assert list(values.values()) == pytest.approx(
        # MSE, AMSE, RMSE, FMSE, heatmap weighting
        [0.25, 0.25, 0.25 + 0.5 * 0.25, 1.001 * 0.25, 0.5]
    )
    values = {
        name: tool.curve(f, torch.tensor([0.0]), 0.0)[0].item()
        for name, f in tool.ON_LOGITS.items()
    }
    half = math.log(2)
    # BCE, Anchor Loss, focal loss
    assert list(values.values()) == pytest.approx([half, half, half / 4])


@pytest.mark.parametrize('equation', [F.amse, F.rmse])
def test_beta_is_not_taken_for_the_default(tool, equation):
    """The legend says what is drawn and what is usual."""
    default = inspect.signature(equation).parameters['beta'].default
    name = f'{equation.__name__.upper()}, β={tool.BETA} (default {default})'
    assert name in tool.ON_HEATMAPS
    assert default != tool.BETA


def test_same_bytes_each_time(tool, tmp_path):
    files = [tmp_path / name for name in ('a.png', 'b.png')]
    for file in files:
        tool.save('amse_fig3', file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.slow
def test_figures(run_tool, tool, tmp_path):
    """A picture of each, not too large and not empty."""
    out = tmp_path / 'new' / 'folder'
    printed = run_tool('analysis_tools/plot_losses.py', '--out', out).stdout
    assert {path.stem for path in out.iterdir()} == set(tool.FIGURES)
    for path in out.iterdir():
        assert f'Wrote {path}' in printed
        assert path.stat().st_size < 150e3
        picture = cv2.imread(str(path))
        assert picture.shape[1] == 960
        assert picture.std() > 10


def test_documented_figures(tool):
    """The folder in docs/ has what the tool draws."""
    drawn = {path.stem for path in (ROOT / 'docs' / 'figures').glob('*.png')}
    assert set(tool.FIGURES) <= drawn
    for name in tool.FIGURES:
        assert f'\n{name} ' in tool.__doc__


@pytest.mark.slow
def test_bad_folder(run_tool, tmp_path):
    file = tmp_path / 'file'
    file.write_text('no folder')
    for out in (file, file / 'below'):
        result = run_tool(
            'analysis_tools/plot_losses.py', '--out', out, check=False
        )
        assert result.returncode == 1
        assert result.stdout.startswith(f'--out {out} cannot be written: ')
        assert result.stdout.count('\n') == 1
