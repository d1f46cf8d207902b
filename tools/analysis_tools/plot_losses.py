"""Draw what each loss charges: the papers' figures, computed.

amse_fig2            eight heatmaps of one squared error, by every loss on
                     heatmaps
amse_fig3            RMSE at targets 1, 0.5 and 0.25
amse_fig4            AMSE at the same targets, and what its five forms add
fmse_gamma           FMSE's weight and loss for several gamma
anchor_fig2          Anchor Loss at anchors 0.1, 0.5 and 0.9, and its gradient
heatmap_weighting    the weights of heatmap weighting on a Gaussian
losses               all losses of one pixel at targets 1, 0.5, 0.25 and 0
losses_gradient      their gradients

All values are those of mmpose_lossplus.losses.functional, all gradients
autograd's of these.
"""

import argparse
import io
import itertools
import sys
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple

import matplotlib

matplotlib.use('Agg')  # no window: the figures go to files
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import FigureBase
from PIL import Image
from torch import Tensor

# What the tools share lies in tools/.
from mmpose_lossplus.experiments.figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
)
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.losses import functional as F

# Okabe and Ito's colours, which colour-blind people can tell apart.
WIDTH = 8  # inches
# Of the loss that the others are compared with, also where they lie on it.
BASELINE = dict(color=BLACK, ls='--', zorder=3)

TARGETS = (1.0, 0.5, 0.25)
BETAS = (0.01, 0.1, 0.5)  # the default, the paper's largest, one to be seen
BETA = BETAS[-1]
FMSE_GAMMAS = (1.0, 2.0, 5.0)
ANCHORS = (0.1, 0.5, 0.9)
ANCHOR_GAMMAS = (1.0, 2.0, 5.0)
SLACK = 0.05
TOY_TARGET = (0.5, 1.0, 0.5)
TOY_BETA = 0.1  # of what is printed with three digits

Curve = Tuple[Tensor, Tensor]


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, which is heatmap weighting without a weight."""
    return F.heatmap_weighting_mse(output, target, None)


def with_anchor(
    equation: Callable[..., Tensor] = F.anchor_loss,
    anchor: float = 0.5,
    **parameters,
) -> Callable[[Tensor, Tensor], Tensor]:
    """An equation of a pixel whose map's peak sets the anchor.

    Args:
        equation (Callable): Takes logits and targets of maps. Defaults to
            Anchor Loss.
        anchor (float): Anchor probability, the peak's less the slack.
            Defaults to 0.5.
        **parameters: More arguments of the equation.

    Returns:
        Callable: Takes logits and targets, both (N, 1, 1, 1), and returns the
        loss of each, (N, 1, 1, 1).
    """

    def of_pixel(output: Tensor, target: Tensor) -> Tensor:
        peak = torch.full_like(output, anchor + SLACK).logit()
        outputs = torch.cat([output, peak], dim=-1)
        targets = torch.cat([target, torch.ones_like(target)], dim=-1)
        return equation(outputs, targets, slack=SLACK, **parameters)[..., :1]

    return of_pixel


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy, which is Anchor Loss with gamma 0."""
    return F.anchor_loss(output, target, gamma=0.0)


# By name; the upper take a heatmap, the lower logits.
ON_HEATMAPS = {
    'MSE': mse,
    f'AMSE, β={BETA} (default {BETAS[0]})': lambda s, g: F.amse(s, g, BETA),
    f'RMSE, β={BETA} (default {BETAS[0]})': lambda s, g: F.rmse(s, g, BETA),
    'FMSE, γ=1': F.fmse,
    'heatmap weighting, x': F.heatmap_weighting_mse,
}
ON_LOGITS = {
    'BCE': bce,
    'Anchor Loss, γ=2, q*=0.5': with_anchor(),
    'focal loss, γ=2': F.heatmap_focal_loss,
}
# Of a toy of three pixels. Anchor Loss and focal loss have no place here:
# they take probabilities, of which 1.5 is none.
TOY_LOSSES = {
    'MSE': mse,
    f'RMSE, β={TOY_BETA}': lambda s, g: F.rmse(s, g, TOY_BETA),
    **{
        f'AMSE {form.replace("_", " ")}': (
            lambda s, g, form=form: F.amse(s, g, TOY_BETA, form=form)
        )
        for form in F.AMSE_FORMS
    },
    'FMSE, γ=1': F.fmse,
    'heatmap weighting, x': F.heatmap_weighting_mse,
}


def outputs() -> Tensor:
    """Values of a heatmap's pixel, (801,), from -0.5 to 1.5."""
    return torch.linspace(-0.5, 1.5, 801, dtype=torch.double)


def probabilities() -> Tensor:
    """Probabilities of a pixel, (991,), from 0.005 to 0.995."""
    return torch.linspace(0.005, 0.995, 991, dtype=torch.double)


def curve(
    equation: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: float
) -> Curve:
    """Loss of a pixel and its derivative.

    Args:
        equation (Callable): Of maps, as those of ``functional``.
        output (Tensor): What it is given for the pixel, (N,).
        target (float): The pixel's target.

    Returns:
        tuple[Tensor]: Loss and derivative by the output, both (N,).
    """
    maps = output.reshape(-1, 1, 1, 1)
    loss, grad = F.by_autograd(equation, maps, torch.full_like(maps, target))
    return loss.flatten(), grad.flatten()


class Pattern(NamedTuple):
    """One of the toy's heatmaps.

    Attributes:
        signs (str): Of the errors of 0.5 of the three pixels.
        prediction (Tensor): The heatmap, (3,).
        right (bool): Whether its highest pixel is the target's.
        losses (dict): Mean of each loss over the three pixels.
    """

    signs: str
    prediction: Tensor
    right: bool
    losses: Dict[str, float]


def patterns() -> List[Pattern]:
    """The eight heatmaps of amse/fig2, those with the right peak first."""
    target = torch.tensor(TOY_TARGET, dtype=torch.double)
    found = []
    for signs in itertools.product((1, -1), repeat=3):
        prediction = target + 0.5 * torch.tensor(signs)
        maps = [x.reshape(1, 1, 1, 3) for x in (prediction, target)]
        found.append(
            Pattern(
                ''.join('+' if sign > 0 else '−' for sign in signs),
                prediction,
                bool(prediction.argmax() == target.argmax()),
                {k: float(f(*maps).mean()) for k, f in TOY_LOSSES.items()},
            )
        )
    return sorted(found, key=lambda pattern: not pattern.right)


def rmse_curves(target: float) -> Dict[float, Curve]:
    """RMSE and its derivative over :func:`outputs`, by beta."""
    return {
        beta: curve(lambda s, g, b=beta: F.rmse(s, g, b), outputs(), target)
        for beta in (0.0, *BETAS)
    }


def amse_curves(target: float) -> Dict[float, Curve]:
    """AMSE and its derivative over :func:`outputs`, by beta."""
    return {
        beta: curve(lambda s, g, b=beta: F.amse(s, g, b), outputs(), target)
        for beta in (0.0, *BETAS)
    }


def amse_penalties(target: float) -> Dict[str, Tensor]:
    """What each form adds to the squared error at beta 1, by form."""
    squared, _ = curve(mse, outputs(), target)
    return {
        form: curve(
            lambda s, g, form=form: F.amse(s, g, 1.0, form=form),
            outputs(),
            target,
        )[0]
        - squared
        for form in F.AMSE_FORMS
    }


def fmse_weights() -> Tuple[Tensor, Dict[float, Tensor]]:
    """Targets (N,) and FMSE's weight of each, by gamma."""
    target = torch.linspace(0, 1, 501, dtype=torch.double)
    # The loss of an error of 1.
    return target, {
        gamma: F.fmse(target + 1, target, gamma)
        for gamma in (0.0, *FMSE_GAMMAS)
    }


def fmse_curves(target: float) -> Dict[float, Curve]:
    """FMSE and its derivative over :func:`outputs`, by gamma."""
    return {
        gamma: curve(lambda s, g, y=gamma: F.fmse(s, g, y), outputs(), target)
        for gamma in (0.0, *FMSE_GAMMAS)
    }


def anchor_curves(anchor: float) -> Dict[str, Curve]:
    """Losses of background over :func:`probabilities`, derived by the logit.

    Args:
        anchor (float): Anchor probability q*.

    Returns:
        dict: BCE, focal loss with gamma 2, and Anchor Loss by its gamma.
    """
    logits = probabilities().logit()
    equations = {'BCE': bce, 'focal loss, γ=2': F.heatmap_focal_loss}
    for gamma in ANCHOR_GAMMAS:
        equations[f'Anchor Loss, γ={gamma:g}'] = with_anchor(
            anchor=anchor, gamma=gamma
        )
    return {name: curve(f, logits, 0.0) for name, f in equations.items()}


def gaussian(sigma: float = 2.0, radius: int = 9) -> Tensor:
    """A target with its peak in the middle, (19, 19), as MSRAHeatmap's.

    It is zero beyond three sigma.
    """
    x = torch.arange(-radius, radius + 1, dtype=torch.double)
    line = (-(x**2) / (2 * sigma**2)).exp() * (x.abs() <= 3 * sigma)
    return line[:, None] * line


def weight_maps() -> Dict[str, Tensor]:
    """Heatmap weighting's weights of :func:`gaussian`, by weight function."""
    target = gaussian()
    # The loss of an error of 1.
    return {
        name: F.heatmap_weighting_mse(target + 1, target, name)
        for name in F.WEIGHT_FNS
    }


def draw_patterns() -> None:
    """amse/fig2."""
    found = patterns()
    figure = plt.figure(figsize=(WIDTH, 4.8))
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(1.0, 1.7))
    # The left column holds the names of the losses.
    panels = upper.subgridspec(1, 9, width_ratios=(1.75, *[1] * 8))
    for i, pattern in enumerate(found):
        panel = figure.add_subplot(panels[i + 1])
        panel.bar(range(3), pattern.prediction, color=SKY, width=0.8)
        panel.step(
            [-0.5, 0.5, 1.5, 2.5],
            [*TOY_TARGET, TOY_TARGET[-1]],
            where='post',
            color=BLACK,
            lw=1.2,
        )
        panel.set(ylim=(0, 1.6), xticks=[], xlim=(-0.6, 2.6))
        panel.set_title(f'{"abcdefgh"[i]}  {" ".join(pattern.signs)}')
        panel.set_xlabel(
            'right' if pattern.right else 'wrong',
            color=GREEN if pattern.right else VERMILION,
            weight='bold',
        )
        panel.grid(axis='x', alpha=0)
        if i:
            panel.set_yticklabels([])
    legend = figure.add_subplot(panels[0])
    legend.axis('off')
    legend.text(0, 0.62, 'target', color=BLACK, weight='bold')
    legend.plot([0, 0.5], [0.54, 0.54], color=BLACK, lw=1.2)
    legend.text(0, 0.32, 'prediction', color=BLUE, weight='bold')
    legend.text(0, -0.2, 'its peak is', clip_on=False)
    legend.set(xlim=(0, 1), ylim=(0, 1))

    table = figure.add_subplot(lower)
    names = list(TOY_LOSSES)
    values = torch.tensor([[p.losses[n] for n in names] for p in found]).T
    # How dear among the eight, where there is a difference.
    least, most = (f(1, keepdim=True) for f in (values.amin, values.amax))
    spread = (most - least).where(most - least > 1e-9, torch.ones(1))
    shades = LinearSegmentedColormap.from_list('', ['white', ORANGE])
    table.imshow((values - least) / spread, cmap=shades, aspect='auto')
    for row, column in itertools.product(range(len(names)), range(8)):
        table.text(
            column,
            row,
            f'{values[row, column]:.3f}',
            ha='center',
            va='center',
        )
    table.set_yticks(range(len(names)), names)
    table.set_xticks([])
    table.grid(False)
    table.spines[:].set_visible(False)
    table.tick_params(length=0)
    table.axvline(sum(p.right for p in found) - 0.5, color=BLACK, lw=1)
    table.set_xlabel(
        f'mean loss of the three pixels, AMSE and RMSE with β={TOY_BETA}; '
        'darker is dearer in its row'
    )


def _mark(panel: Axes, x: float) -> None:
    """Mark the target, or the anchor."""
    panel.axvline(x, color='0.6', lw=1, ls=':')


def _curves(panel: Axes, curves: Dict[float, Curve], symbol: str) -> None:
    """Losses of a pixel by a parameter, 0 is the baseline, with minima."""
    for value, (loss, _) in curves.items():
        style = {} if value else BASELINE
        label = f'{symbol}={value:g}' if value else 'MSE'
        (line,) = panel.plot(outputs(), loss, label=label, **style)
        lowest = loss.argmin()
        panel.plot(
            outputs()[lowest],
            loss[lowest],
            'o',
            color=line.get_color(),
            ms=5,
            zorder=4,
        )


def _panels(
    rows: int, columns: int, height: float, below: float
) -> Tuple[np.ndarray, FigureBase]:
    """Make a figure of panels.

    Args:
        rows (int): Of panels.
        columns (int): Of panels.
        height (float): Of the figure, in inches.
        below (float): Of the part below, for a legend, in inches.

    Returns:
        tuple: The panels (rows, columns), with shared axes, and the part
        below.
    """
    figure = plt.figure(figsize=(WIDTH, height))
    upper, lower = figure.subfigures(
        2, 1, height_ratios=(height - below, below)
    )
    panels = upper.subplots(
        rows, columns, sharex='row', sharey='row', squeeze=False
    )
    return panels, lower


def _finish(panels: np.ndarray, xlabel: str, ylabel: str, **limits) -> None:
    """Label a row of panels."""
    for panel in panels:
        panel.set(xlabel=xlabel, **limits)
    panels[0].set_ylabel(ylabel)


def _legend(below: FigureBase, panels: List[Axes], columns: int) -> None:
    """Write what the lines of some panels are."""
    parts = [panel.get_legend_handles_labels() for panel in panels]
    handles, labels = (sum(lists, []) for lists in zip(*parts))
    below.legend(handles, labels, loc='center', ncol=columns)


def draw_rmse() -> None:
    """amse/fig3."""
    (panels,), below = _panels(1, 3, 3.1, 0.3)
    for panel, target in zip(panels, TARGETS):
        _curves(panel, rmse_curves(target), 'RMSE, β')
        _mark(panel, target)
        panel.set_title(f'target {target:g}')
    _finish(panels, 'output', 'loss of a pixel', ylim=(-0.03, 1))
    _legend(below, [panels[0]], 5)


def draw_amse() -> None:
    """amse/fig4."""
    panels, below = _panels(2, 3, 5.6, 0.3)
    styles = ('-', '--', '-.', ':', (0, (6, 2, 1, 2, 1, 2)))
    colours = (BLUE, ORANGE, GREEN, VERMILION, PURPLE)
    for column, target in enumerate(TARGETS):
        upper, lower = panels[:, column]
        _curves(upper, amse_curves(target), 'AMSE, β')
        upper.set_title(f'target {target:g}')
        penalties = amse_penalties(target)
        for (form, loss), ls, colour in zip(
            penalties.items(), styles, colours
        ):
            label = form.replace('_', ' ')
            lower.plot(outputs(), loss, ls=ls, color=colour, label=label)
        for panel in (upper, lower):
            _mark(panel, target)
    _finish(panels[0], 'output', 'loss of a pixel', ylim=(-0.03, 1))
    _finish(panels[1], 'output', 'added to MSE, over β', ylim=(-0.6, 1.6))
    # The right upper part is empty.
    panels[0, 0].legend(loc='upper right', borderaxespad=0)
    _legend(below, [panels[1, 0]], 5)


def draw_fmse() -> None:
    """FMSE's weight and loss."""
    _, panels = plt.subplots(2, 2, figsize=(WIDTH, 5.2))
    first, *others = panels.flat
    target, weights = fmse_weights()
    for gamma, weight in weights.items():
        style = {} if gamma else BASELINE
        label = f'FMSE, γ={gamma:g}' if gamma else 'MSE'
        first.semilogy(target, weight, label=label, **style)
    first.set(xlabel='target', ylabel='weight of a pixel', ylim=(1e-6, 4))
    first.set_title('weight')
    first.legend(loc='lower right')
    for panel, target in zip(others, (1.0, 0.5, 0.0)):
        _curves(panel, fmse_curves(target), 'FMSE, γ')
        _mark(panel, target)
        panel.set(title=f'loss at target {target:g}', ylim=(-0.03, 1))
        panel.set(xlabel='output', ylabel='loss of a pixel')
        panel.set_xticks([-0.5, 0, 0.5, 1, 1.5])


def draw_anchor() -> None:
    """Anchor Loss of background, and its gradient."""
    panels, below = _panels(2, 3, 5.4, 0.3)
    styles = {'BCE': BASELINE, 'focal loss, γ=2': dict(color=PURPLE, ls='-.')}
    names = ('hard', 'moderate', 'easy')
    for column, (anchor, name) in enumerate(zip(ANCHORS, names)):
        curves = anchor_curves(anchor)
        for row, panel in enumerate(panels[:, column]):
            for label, curve_of_loss in curves.items():
                panel.plot(
                    probabilities(),
                    curve_of_loss[row],
                    label=label,
                    **styles.get(label, {}),
                )
            _mark(panel, anchor)
        panel = panels[0, column]
        at_anchor = torch.tensor([anchor], dtype=torch.double).logit()
        crossing, _ = curve(bce, at_anchor, 0.0)
        panel.plot(anchor, crossing, 'o', color=BLACK, zorder=4)
        panel.set_title(f'anchor q* = {anchor:g} ({name})')
    x = 'probability q of background'
    _finish(panels[0], x, 'loss of a pixel', ylim=(-0.1, 4))
    _finish(panels[1], x, 'gradient by the logit', ylim=(-0.1, 4))
    _legend(below, [panels[0, 0]], 5)


def draw_weights() -> None:
    """Heatmap weighting's weights."""
    maps = {'target G': gaussian(), **weight_maps()}
    labels = ['target G', 'F(x) = x', 'F(x) = 2x', 'F(x) = x²', 'F(x) = eˣ']
    figure = plt.figure(figsize=(WIDTH, 4.4))
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(1, 1.25))
    panels = upper.subgridspec(1, 5).subplots()
    highest = max(float(x.max()) for x in maps.values())
    for panel, image, label in zip(panels, maps.values(), labels):
        drawn = panel.imshow(image, cmap='viridis', vmin=0, vmax=highest)
        panel.set(title=label, xticks=[], yticks=[])
        panel.grid(False)
        panel.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=panels, label='G, or weight F(G) + 1')
    panel = figure.add_subplot(lower)
    middle = len(gaussian()) // 2
    x = torch.arange(-middle, middle + 1)
    panel.plot(x, torch.ones(len(x)), label='MSE', **BASELINE)
    for (_, image), label in zip(weight_maps().items(), labels[1:]):
        panel.plot(x, image[middle], label=label, marker='.')
    panel.set(
        xlabel='distance from the peak (pixels)',
        ylabel='weight F(G) + 1',
        ylim=(0, None),
        xticks=range(-middle, middle + 1, 3),
    )
    panel.legend(loc='upper right')


def draw_losses(derived: bool) -> None:
    """All losses side by side, or their gradients."""
    panels, below = _panels(2, 4, 5.4, 0.45)
    rows = (
        (ON_HEATMAPS, outputs(), outputs()),
        (ON_LOGITS, probabilities(), probabilities().logit()),
    )
    colours = ((BLUE, ORANGE, GREEN, VERMILION), (SKY, PURPLE))
    for column, target in enumerate((*TARGETS, 0.0)):
        for panel, (losses, x, output), shown in zip(
            panels[:, column], rows, colours
        ):
            (baseline, f), *others = losses.items()
            y = curve(f, output, target)[int(derived)]
            panel.plot(x, y, label=baseline, **BASELINE)
            # Ever thinner, to show where one lies on another.
            widths = (3.6, 2.8, 2.0, 1.2)
            for (name, f), colour, lw in zip(others, shown, widths):
                y = curve(f, output, target)[int(derived)]
                panel.plot(x, y, label=name, color=colour, lw=lw)
            _mark(panel, target)
        panels[0, column].set_title(f'target {target:g}')
    limits = ((-2, 2), (-1, 2)) if derived else ((-0.03, 1), (-0.1, 4))
    what = 'gradient' if derived else 'loss of a pixel'
    ylabels = (what, f'{what} by the logit' if derived else what)
    xlabels = ('output', 'probability')
    for row, limit, xlabel, ylabel in zip(panels, limits, xlabels, ylabels):
        _finish(row, xlabel, ylabel, ylim=limit, xticks=[0, 0.5, 1])
    _legend(below, list(panels[:, 0]), 4)


FIGURES = {
    'amse_fig2': draw_patterns,
    'amse_fig3': draw_rmse,
    'amse_fig4': draw_amse,
    'fmse_gamma': draw_fmse,
    'anchor_fig2': draw_anchor,
    'heatmap_weighting': draw_weights,
    'losses': lambda: draw_losses(False),
    'losses_gradient': lambda: draw_losses(True),
}


def save(name: str, path: Path) -> None:
    """Draw a figure of :data:`FIGURES` and write it as PNG.

    With one version of matplotlib the bytes are always the same.
    """
    file = io.BytesIO()
    with plt.rc_context(STYLE):
        FIGURES[name]()
        plt.savefig(file, format='png')
        plt.close()
    # Half as large, and looks the same.
    image = Image.open(file).convert('RGB').quantize(256)
    replace(path, lambda p: image.save(p, format='png', optimize=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('docs', 'figures'),
        help='folder of the figures (default: docs/figures)',
    )
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for name in FIGURES:
            save(name, args.out / f'{name}.png')
            print(f'Wrote {args.out / name}.png')
    except OSError as error:
        sys.exit(f'--out {args.out} cannot be written: {error.strerror}.')


if __name__ == '__main__':
    main()
