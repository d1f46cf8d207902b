r"""Draw what each loss charges: the papers' figures, computed.

amse_fig2            eight heatmaps of one squared error, by every loss on
                     heatmaps
amse_fig3            RMSE at targets 1, 0.5 and 0.25
amse_fig4            AMSE at the same targets, and what its five forms add
fmse_gamma           FMSE's weight and loss for several gamma
anchor_fig2          Anchor Loss at anchors 0.1, 0.5 and 0.9, and its gradient
heatmap_weighting    the weights of heatmap weighting on a Gaussian
losses               all losses of one pixel at targets 1, 0.5, 0.25 and 0
losses_gradient      their gradients

All values and gradients are those of the losses that one trains with. With
--losses, the last two show these losses, and the others are not drawn:

    python tools/analysis_tools/plot_losses.py --losses amse \
        "mine=dict(type='my_module.MyLoss',alpha=2)"
"""

import argparse
import itertools
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from mmpose.utils import register_all_modules
from PIL import Image
from torch import Tensor, nn

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
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.losses import (
    AnchorLoss,
    AsymmetricMSELoss,
    FocusedMSELoss,
    HeatmapFocalLoss,
    HeatmapWeightingMSELoss,
    RegularizedMSELoss,
)
from mmpose_lossplus.losses.functional import AMSE_FORMS, WEIGHT_FNS
from mmpose_lossplus.visualization import check_pixel_loss, penalty

WIDTH = 8  # inches
# Of the loss that the others are compared with, also where they lie on it.
BASELINE = dict(color=BLACK, ls='--', zorder=3)
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)

TARGETS = (1.0, 0.5, 0.25)
BETAS = (0.01, 0.1, 0.5)  # the default, the paper's largest, one to be seen
BETA = BETAS[-1]
GAMMAS = (1.0, 2.0, 5.0)
ANCHORS = dict(hard=0.1, moderate=0.5, easy=0.9)
TOY_TARGET = (0.5, 1.0, 0.5)
TOY_BETA = 0.1  # of what is printed with three digits

Curve = Tuple[Tensor, Tensor]
OUTPUTS = torch.linspace(-0.5, 1.5, 801, dtype=torch.double)
PROBABILITIES = torch.linspace(0.005, 0.995, 991, dtype=torch.double)

MSE, BCE = KeypointMSELoss(), AnchorLoss(gamma=0.0)
LOSSES = {
    f'AMSE, β={BETA} (default {BETAS[0]})': AsymmetricMSELoss(beta=BETA),
    f'RMSE, β={BETA} (default {BETAS[0]})': RegularizedMSELoss(beta=BETA),
    'FMSE, γ=1': FocusedMSELoss(),
    'heatmap weighting, x': HeatmapWeightingMSELoss(),
    'Anchor Loss, γ=2, q*=0.5': AnchorLoss(),
    'focal loss, γ=2': HeatmapFocalLoss(),
}
# Anchor Loss and focal loss have no place on the toy of three pixels: they
# take probabilities, of which 1.5 is none.
TOY_LOSSES = {
    'MSE': MSE,
    f'RMSE, β={TOY_BETA}': RegularizedMSELoss(beta=TOY_BETA),
    **{
        f'AMSE {form.replace("_", " ")}': AsymmetricMSELoss(
            beta=TOY_BETA, form=form
        )
        for form in AMSE_FORMS
    },
    'FMSE, γ=1': FocusedMSELoss(),
    'heatmap weighting, x': HeatmapWeightingMSELoss(),
}


def curve(
    loss: nn.Module, output: Tensor, target: float, anchor: float = 0.5
) -> Curve:
    """Loss of a pixel and its derivative by the output.

    Args:
        loss (nn.Module): The loss.
        output (Tensor): What it is given for the pixel, (N,).
        target (float): The pixel's target.
        anchor (float): Anchor probability of Anchor Loss: there is a second
            pixel, the keypoint's, whose probability is this and the slack of
            0.05. Defaults to 0.5.

    Returns:
        tuple[Tensor]: Loss and derivative, both (N,).
    """
    peak = torch.tensor(anchor + 0.05, dtype=torch.double).logit()
    maps = torch.stack([output, peak.expand_as(output)], dim=-1)
    targets = torch.tensor([target, 1.0]).expand_as(maps)
    found = penalty(loss, maps[:, None, None], targets[:, None, None])
    return found.loss[:, 0, 0, 0], found.grad[:, 0, 0, 0]


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


def patterns() -> Sequence[Pattern]:
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
                {k: float(f(*maps)) for k, f in TOY_LOSSES.items()},
            )
        )
    return sorted(found, key=lambda pattern: not pattern.right)


def gaussian(sigma: float = 2.0, radius: int = 9) -> Tensor:
    """A target with its peak in the middle, (19, 19), as MSRAHeatmap's.

    It is zero beyond three sigma.
    """
    x = torch.arange(-radius, radius + 1, dtype=torch.double)
    line = (-(x**2) / (2 * sigma**2)).exp() * (x.abs() <= 3 * sigma)
    return line[:, None] * line


def weights(loss: nn.Module, target: Tensor) -> Tensor:
    """Weight of the squared error by target, both (H, W)."""
    return penalty(loss, target[None, None] + 1, target[None, None]).loss[0, 0]


def draw_patterns() -> Figure:
    """amse/fig2."""
    found = patterns()
    names = 'abcdefgh'
    figure, panels = plt.subplot_mosaic(
        [list(names), ['table'] * 8],
        figsize=(WIDTH, 4.8),
        height_ratios=(1.0, 1.7),
    )
    for name, pattern in zip(names, found):
        panel = panels[name]
        panel.bar(range(3), pattern.prediction, color=SKY, label='prediction')
        panel.stairs(
            TOY_TARGET,
            np.arange(4) - 0.5,
            baseline=None,
            color=BLACK,
            lw=1.2,
            label='target',
        )
        panel.set(ylim=(0, 1.6), xticks=[], xlim=(-0.6, 2.6))
        panel.set_title(f'{name}  {" ".join(pattern.signs)}')
        panel.set_xlabel(
            'right' if pattern.right else 'wrong',
            color=GREEN if pattern.right else VERMILION,
            weight='bold',
        )
        panel.tick_params(labelleft=name == 'a')
    _legend(figure, panels['a'])

    table = panels['table']
    values = np.array([list(p.losses.values()) for p in found]).T
    # How dear among the eight, where there is a difference.
    least = values.min(axis=1, keepdims=True)
    range_ = np.ptp(values, axis=1, keepdims=True)
    shades = LinearSegmentedColormap.from_list('', ['white', ORANGE])
    table.imshow(
        (values - least) / np.where(range_ > 1e-9, range_, 1),
        cmap=shades,
        aspect='auto',
    )
    for (row, column), value in np.ndenumerate(values):
        table.text(column, row, f'{value:.3f}', ha='center', va='center')
    table.set_yticks(range(len(TOY_LOSSES)), TOY_LOSSES)
    table.set_xticks([])
    table.grid(False)
    table.spines[:].set_visible(False)
    table.tick_params(length=0)
    table.axvline(sum(p.right for p in found) - 0.5, color=BLACK, lw=1)
    table.set_xlabel(
        'Right or wrong: the highest pixel. Table: mean loss of the three '
        f'pixels,\nAMSE and RMSE with β={TOY_BETA}; darker is dearer in its '
        'row.'
    )
    return figure


def _family(
    panel: Axes,
    target: float,
    losses: Dict[str, nn.Module],
) -> None:
    """Losses of a pixel with their minima, beside MSE."""
    for label, loss in {'MSE': MSE, **losses}.items():
        style = BASELINE if loss is MSE else {}
        values, _ = curve(loss, OUTPUTS, target)
        (line,) = panel.plot(OUTPUTS, values, label=label, **style)
        at = values.argmin()
        dot = dict(color=line.get_color(), ms=5, zorder=4)
        panel.plot(OUTPUTS[at], values[at], 'o', **dot)
    _mark(panel, target)
    panel.set(xlabel='output', ylim=(-0.03, 1))
    panel.set_xticks([-0.5, 0, 0.5, 1, 1.5])


def _mark(panel: Axes, x: float) -> None:
    """Mark the target, or the anchor."""
    panel.axvline(x, color='0.6', lw=1, ls=':')


def _legend(figure: Figure, *panels: Axes, columns: int = 5) -> None:
    """Write below a figure what the lines of some panels are."""
    parts = [panel.get_legend_handles_labels() for panel in panels]
    handles, labels = (sum(lists, []) for lists in zip(*parts))
    figure.legend(handles, labels, loc='outside lower center', ncols=columns)


def draw_rmse() -> Figure:
    """amse/fig3."""
    figure, panels = plt.subplots(1, 3, sharey=True, figsize=(WIDTH, 3.1))
    losses = {f'RMSE, β={b}': RegularizedMSELoss(beta=b) for b in BETAS}
    for panel, target in zip(panels, TARGETS):
        _family(panel, target, losses)
        panel.set_title(f'target {target:g}')
    panels[0].set_ylabel('loss of a pixel')
    _legend(figure, panels[0])
    return figure


def draw_amse() -> Figure:
    """amse/fig4."""
    figure, panels = plt.subplots(2, 3, sharey='row', figsize=(WIDTH, 5.6))
    losses = {f'AMSE, β={b}': AsymmetricMSELoss(beta=b) for b in BETAS}
    styles = ('-', '--', '-.', ':', (0, (6, 2, 1, 2, 1, 2)))
    for (upper, lower), target in zip(panels.T, TARGETS):
        _family(upper, target, losses)
        squared, _ = curve(MSE, OUTPUTS, target)
        for form, ls, colour in zip(AMSE_FORMS, styles, COLOURS):
            loss, _ = curve(
                AsymmetricMSELoss(beta=1.0, form=form), OUTPUTS, target
            )
            label = form.replace('_', ' ')
            lower.plot(
                OUTPUTS, loss - squared, ls=ls, color=colour, label=label
            )
        _mark(lower, target)
        upper.set_title(f'target {target:g}')
        lower.set(xlabel='output', ylim=(-0.6, 1.6))
    panels[0, 0].set_ylabel('loss of a pixel')
    panels[1, 0].set_ylabel('added to MSE, over β')
    # The right upper part is empty.
    panels[0, 0].legend(loc='upper right', borderaxespad=0)
    _legend(figure, panels[1, 0])
    return figure


def draw_fmse() -> Figure:
    """FMSE's weight and loss."""
    figure, panels = plt.subplots(2, 2, figsize=(WIDTH, 5.2))
    first, *others = panels.flat
    losses = {f'FMSE, γ={g:g}': FocusedMSELoss(gamma=g) for g in GAMMAS}
    target = torch.linspace(0, 1, 501, dtype=torch.double)
    for label, loss in {'MSE': MSE, **losses}.items():
        style = BASELINE if loss is MSE else {}
        weight = weights(loss, target[None])[0]
        first.semilogy(target, weight, label=label, **style)
    first.set(xlabel='target', ylabel='weight of a pixel', ylim=(1e-6, 4))
    first.set_title('weight')
    first.legend(loc='lower right')
    for panel, target in zip(others, (1.0, 0.5, 0.0)):
        _family(panel, target, losses)
        panel.set(title=f'loss at target {target:g}', ylabel='loss of a pixel')
    return figure


def draw_anchor() -> Figure:
    """Anchor Loss of background, and its gradient."""
    figure, panels = plt.subplots(2, 3, sharey='row', figsize=(WIDTH, 5.4))
    losses = {'BCE': BCE, 'focal loss, γ=2': HeatmapFocalLoss()}
    losses.update(
        (f'Anchor Loss, γ={g:g}', AnchorLoss(gamma=g)) for g in GAMMAS
    )
    styles = [BASELINE, dict(color=PURPLE, ls='-.'), {}, {}, {}]
    for column, (name, anchor) in zip(panels.T, ANCHORS.items()):
        for (label, loss), style in zip(losses.items(), styles):
            curves = curve(loss, PROBABILITIES.logit(), 0.0, anchor)
            for panel, values in zip(column, curves):
                panel.plot(PROBABILITIES, values, label=label, **style)
        for panel in column:
            _mark(panel, anchor)
            panel.set(xlabel='probability q of background', ylim=(-0.1, 4))
        # Where Anchor Loss is BCE.
        column[0].plot(anchor, -np.log(1 - anchor), 'o', color=BLACK, zorder=4)
        column[0].set_title(f'anchor q* = {anchor:g} ({name})')
    panels[0, 0].set_ylabel('loss of a pixel')
    panels[1, 0].set_ylabel('gradient by the logit')
    _legend(figure, panels[0, 0])
    return figure


def draw_weights() -> Figure:
    """Heatmap weighting's weights."""
    target = gaussian()
    formulas = dict(linear='x', double='2x', square='x²', exp='eˣ')
    maps = {
        f'F(x) = {formulas[name]}': weights(
            HeatmapWeightingMSELoss(weight_fn=name), target
        )
        for name in WEIGHT_FNS
    }
    figure, panels = plt.subplot_mosaic(
        [['target G', *maps, 'bar'], ['lines'] * 6],
        figsize=(WIDTH, 4.4),
        height_ratios=(1, 1.3),
        width_ratios=(*[1] * 5, 0.06),
    )
    lines, bar = panels.pop('lines'), panels.pop('bar')
    highest = max(image.max() for image in maps.values())
    for image, (title, panel) in zip([target, *maps.values()], panels.items()):
        drawn = panel.imshow(image, cmap='viridis', vmin=0, vmax=highest)
        panel.set(title=title, xticks=[], yticks=[])
        panel.grid(False)
        panel.spines[:].set_visible(False)
    bar.grid(False)
    figure.colorbar(drawn, cax=bar, label='G, or weight F(G) + 1')
    middle = len(target) // 2
    x = range(-middle, middle + 1)
    lines.plot(x, np.ones(len(x)), label='MSE', **BASELINE)
    for label, image in maps.items():
        lines.plot(x, image[middle], label=label, marker='.')
    lines.set(
        xlabel='distance from the peak (pixels)',
        ylabel='weight F(G) + 1',
        ylim=(0, None),
        xticks=x[::3],
    )
    lines.legend(loc='upper right')
    return figure


def draw_losses(losses: Dict[str, nn.Module], derived: bool) -> Figure:
    """Losses side by side, or their gradients."""
    on_logits = {
        name: loss
        for name, loss in losses.items()
        if getattr(loss, 'takes_logits', False)
    }
    on_heatmaps = {k: v for k, v in losses.items() if k not in on_logits}
    what = 'gradient' if derived else 'loss of a pixel'
    rows = []
    if on_heatmaps:
        limits = (-2, 2) if derived else (-0.03, 1)
        axes = dict(xlabel='output', ylim=limits)
        losses = {'MSE': MSE, **on_heatmaps}
        rows.append((losses, OUTPUTS, OUTPUTS, axes, what))
    if on_logits:
        limits = (-1, 2) if derived else (-0.1, 4)
        by = f'{what} by the logit' if derived else what
        axes = dict(xlabel='probability', ylim=limits)
        losses = {'BCE': BCE, **on_logits}
        logits = PROBABILITIES.logit()
        rows.append((losses, PROBABILITIES, logits, axes, by))
    targets = (*TARGETS, 0.0)
    figure, panels = plt.subplots(
        *(len(rows), len(targets)),
        sharey='row',
        squeeze=False,
        figsize=(WIDTH, 0.6 + 2.4 * len(rows)),
    )
    colours = itertools.cycle((*COLOURS[:4], SKY, PURPLE))
    for row, (losses, x, output, axes, ylabel) in zip(panels, rows):
        # Ever thinner, to show where one lies on another.
        widths = np.linspace(3.6, 1.2, max(len(losses) - 1, 4))
        styles = [dict(color=next(colours), lw=lw) for lw in widths]
        for panel, target in zip(row, targets):
            for (name, loss), style in zip(
                losses.items(), [BASELINE, *styles]
            ):
                y = curve(loss, output, target)[int(derived)]
                panel.plot(x, y, label=name, **style)
            _mark(panel, target)
            panel.set(**axes, xticks=[0, 0.5, 1])
        row[0].set_ylabel(ylabel)
    for panel, target in zip(panels[0], targets):
        panel.set_title(f'target {target:g}')
    _legend(figure, *panels[:, 0], columns=4)
    return figure


def side_by_side(losses: Dict[str, nn.Module]) -> Dict[str, Callable]:
    return {
        'losses': partial(draw_losses, losses, derived=False),
        'losses_gradient': partial(draw_losses, losses, derived=True),
    }


FIGURES = {
    'amse_fig2': draw_patterns,
    'amse_fig3': draw_rmse,
    'amse_fig4': draw_amse,
    'fmse_gamma': draw_fmse,
    'anchor_fig2': draw_anchor,
    'heatmap_weighting': draw_weights,
    **side_by_side(LOSSES),
}


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure and write it as PNG.

    With one version of matplotlib the bytes are always the same.
    """
    with plt.rc_context(STYLE):
        figure = draw()
        figure.canvas.draw()
        # A palette makes the file half as large, and it looks the same.
        image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba()))
        image = image.convert('RGB').quantize(256)
        replace(path, lambda p: image.save(p, format='png', optimize=True))
        plt.close(figure)


def build_losses(texts: Sequence[str]) -> Dict[str, nn.Module]:
    """Losses of ``--losses``, or end the script."""
    register_all_modules()
    try:
        configs = parse_losses(texts)
        losses = {name: MODELS.build(x) for name, x in configs.items()}
        for loss in losses.values():
            check_pixel_loss(loss)
    except ValueError as error:
        sys.exit(str(error))
    return losses


def main(args: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of the figures (default: docs/figures, with --losses '
        'work_dirs/figures)',
    )
    parser.add_argument(
        '--losses',
        nargs='+',
        metavar='LOSS',
        help='draw these side by side, named as for tools/compare_losses.py '
        'or "NAME=dict(type=\'module.Class\',...)", where Python finds the '
        'module, which may be your own',
    )
    args = parser.parse_args(args)
    figures, out = FIGURES, Path('docs', 'figures')
    if args.losses:
        figures = side_by_side(build_losses(args.losses))
        out = Path('work_dirs', 'figures')
    out = args.out or out
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, draw in figures.items():
            save(draw, out / f'{name}.png')
            print(f'Wrote {out / name}.png')
    except OSError as error:
        sys.exit(f'--out {out} cannot be written: {error.strerror}.')


if __name__ == '__main__':
    main()
