r"""Draw what each loss charges: the papers' figures, computed.

amse_fig2            eight heatmaps of one squared error, by every loss on
                     heatmaps
amse_fig3            RMSE at targets 1, 0.5 and 0.25
amse_fig4            AMSE at the same targets, and what its five forms add
fmse_gamma           FMSE's weight and loss for several gamma
anchor_fig2          Anchor Loss at anchors 0.1, 0.5 and 0.9, and its gradient
anchor_figA1         gradient of its three designs for classification
heatmap_weighting    the weights of heatmap weighting on a Gaussian
losses               all losses of one pixel at targets 1, 0.5, 0.25 and 0
losses_gradient      their gradients

All values and gradients are those of the losses that one trains with. With
--losses, the last two show these losses, and the others are not drawn:

    python tools/analysis_tools/plot_losses.py --losses amse \
        "mine=dict(type='my_module.MyLoss',alpha=2)"
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from mmpose.codecs import MSRAHeatmap
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from mmpose.utils import register_all_modules
from PIL import Image
from torch import Tensor, nn

import mmpose_lossplus as lossplus
from mmpose_lossplus.experiments.figures import STYLE
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.losses.functional import (
    AMSE_FORMS,
    ANCHOR_DESIGNS,
    WEIGHT_FNS,
    classification_anchor_loss,
)
from mmpose_lossplus.visualization import check_pixel_loss, penalty

WIDTH = 8  # inches
# Of the loss that the others are compared with, also where they lie on it.
BASELINE = dict(color='black', ls='--', zorder=3)

TARGETS = (1.0, 0.5, 0.25)
BETAS = (0.01, 0.1, 0.5)  # the default, the paper's largest, one to be seen
BETA = BETAS[-1]
GAMMAS = (1.0, 2.0, 5.0)
ANCHORS = dict(hard=0.1, moderate=0.5, easy=0.9)
TOY_TARGET = (0.5, 1.0, 0.5)
TOY_BETA = 0.1  # of what is printed with three digits

# Of the axis, by whether the loss takes logits and is derived.
LIMITS = {
    (False, False): (-0.03, 1),
    (False, True): (-2, 2),
    (True, False): (-0.1, 4),
    (True, True): (-1, 2),
}

OUTPUTS = torch.linspace(-0.5, 1.5, 801, dtype=torch.double)
PROBABILITIES = torch.linspace(0.005, 0.995, 991, dtype=torch.double)

MSE, BCE = KeypointMSELoss(), lossplus.AnchorLoss(gamma=0.0)
AMSE_BY_FORM = {
    form.replace('_', ' '): partial(lossplus.AsymmetricMSELoss, form=form)
    for form in AMSE_FORMS
}
LOSSES = {
    f'AMSE, β={BETA} (default {BETAS[0]})': lossplus.AsymmetricMSELoss(BETA),
    f'RMSE, β={BETA} (default {BETAS[0]})': lossplus.RegularizedMSELoss(BETA),
    'FMSE, γ=1': lossplus.FocusedMSELoss(),
    'heatmap weighting, x': lossplus.HeatmapWeightingMSELoss(),
    'Anchor Loss, γ=2, q*=0.5': lossplus.AnchorLoss(),
    'focal loss, γ=2': lossplus.HeatmapFocalLoss(),
}
# Anchor Loss and focal loss have no place on the toy of three pixels: they
# take probabilities, of which 1.5 is none.
TOY_LOSSES = {
    'MSE': MSE,
    f'RMSE, β={TOY_BETA}': lossplus.RegularizedMSELoss(TOY_BETA),
    **{f'AMSE {form}': loss(TOY_BETA) for form, loss in AMSE_BY_FORM.items()},
    'FMSE, γ=1': lossplus.FocusedMSELoss(),
    'heatmap weighting, x': lossplus.HeatmapWeightingMSELoss(),
}


def curve(
    loss: nn.Module, output: Tensor, target: float, anchor: float = 0.5
) -> Tuple[np.ndarray, np.ndarray]:
    """Loss of a pixel and its derivative by the output.

    The map has a second pixel, the keypoint's, which sets the anchor
    probability of Anchor Loss: its own is this and the slack of 0.05. Output,
    loss and derivative are (N,).
    """
    peak = torch.tensor(anchor + 0.05, dtype=torch.double).logit()
    maps = torch.stack([output, peak.expand_as(output)], dim=-1)
    targets = torch.tensor([target, 1.0]).expand_as(maps)
    found = penalty(loss, maps[:, None, None], targets[:, None, None])
    return found.loss[:, 0, 0, 0], found.grad[:, 0, 0, 0]


def patterns() -> Tuple[Tensor, Tensor, Dict[str, np.ndarray]]:
    """The eight heatmaps of amse/fig2, those with the right peak first.

    Returns:
        tuple: The heatmaps, (8, 3), whether their highest pixel is the
        target's, (8,), and by name the mean of each loss, (8,).
    """
    target = torch.tensor(TOY_TARGET, dtype=torch.double)
    maps = target + 0.5 * torch.cartesian_prod(*[torch.tensor([1, -1])] * 3)
    right = maps.argmax(dim=1) == target.argmax()
    order = right.logical_not().sort(stable=True).indices
    maps, right = maps[order], right[order]
    batch = maps[:, None, None]
    target = target.expand_as(batch)
    losses = {
        name: penalty(loss, batch, target).loss.mean((1, 2, 3))
        for name, loss in TOY_LOSSES.items()
    }
    return maps, right, losses


def weights(loss: nn.Module, target: Tensor) -> Tensor:
    """Weight of the squared error by target, both (H, W)."""
    return penalty(loss, target[None, None] + 1, target[None, None]).loss[0, 0]


def draw_patterns() -> Figure:
    """amse/fig2."""
    maps, right, losses = patterns()
    names = 'abcdefgh'
    figure, panels = plt.subplot_mosaic(
        [list(names), ['table'] * 8],
        figsize=(WIDTH, 4.8),
        height_ratios=(1.0, 1.7),
    )
    edges = np.arange(4) - 0.5
    target = dict(edges=edges, baseline=None, color='black', lw=1.2)
    for name, heatmap, is_right in zip(names, maps, right):
        panel = panels[name]
        panel.bar(range(3), heatmap, color='C4', label='prediction')
        panel.stairs(TOY_TARGET, **target, label='target')
        panel.set(ylim=(0, 1.6), xticks=[], xlim=(-0.6, 2.6))
        signs = ['+' if s > g else '−' for s, g in zip(heatmap, TOY_TARGET)]
        panel.set_title(f'{name}  {" ".join(signs)}')
        verdict, colour = ('right', 'C2') if is_right else ('wrong', 'C3')
        panel.set_xlabel(verdict, color=colour, weight='bold')
        panel.tick_params(labelleft=name == 'a')
    _legend(figure, panels['a'])

    table = panels['table']
    values = np.stack(list(losses.values()))
    # How dear among the eight, where there is a difference.
    least = values.min(axis=1, keepdims=True)
    ranges = np.ptp(values, axis=1, keepdims=True)
    shades = (values - least) / np.where(ranges > 1e-9, ranges, 1)
    colours = LinearSegmentedColormap.from_list('', ['white', 'C1'])
    table.imshow(shades, cmap=colours, aspect='auto')
    for (row, column), value in np.ndenumerate(values):
        table.text(column, row, f'{value:.3f}', ha='center', va='center')
    table.set_yticks(range(len(losses)), losses)
    table.set(xticks=[], frame_on=False)
    table.grid(False)
    table.tick_params(length=0)
    table.axvline(right.sum() - 0.5, color='black', lw=1)
    table.set_xlabel(
        'Right or wrong: the highest pixel. Table: mean loss of the three '
        f'pixels,\nAMSE and RMSE with β={TOY_BETA}; darker is dearer in its '
        'row.'
    )
    return figure


def _curves(
    panel: Axes,
    losses: Dict[str, nn.Module],
    target: float,
    anchor: Optional[float] = None,
    derived: bool = False,
    minima: bool = False,
) -> None:
    """Losses of a pixel, or their derivatives, by output or probability."""
    for label, loss in losses.items():
        logits = getattr(loss, 'takes_logits', False)
        x = PROBABILITIES if logits else OUTPUTS
        output = x.logit() if logits else x
        y = curve(loss, output, target, anchor or 0.5)[int(derived)]
        style = BASELINE if loss in (MSE, BCE) else {}
        (line,) = panel.plot(x, y, label=label, **style)
        if minima:
            at, colour = y.argmin(), line.get_color()
            panel.plot(x[at], y[at], 'o', color=colour, ms=5, zorder=4)
    panel.axvline(anchor or target, color='0.6', lw=1, ls=':')
    panel.set_xlabel('probability' if logits else 'output')


def _legend(figure: Figure, *panels: Axes, columns: int = 5) -> None:
    """Write below a figure what the lines of some panels are."""
    parts = [panel.get_legend_handles_labels() for panel in panels]
    handles, labels = (sum(lists, []) for lists in zip(*parts))
    figure.legend(handles, labels, loc='outside lower center', ncols=columns)


def draw_rmse() -> Figure:
    """amse/fig3."""
    figure, panels = plt.subplots(1, 3, sharey=True, figsize=(WIDTH, 3.1))
    losses = {f'RMSE, β={b}': lossplus.RegularizedMSELoss(b) for b in BETAS}
    for panel, target in zip(panels, TARGETS):
        _curves(panel, {'MSE': MSE, **losses}, target, minima=True)
        panel.set(title=f'target {target:g}', ylim=(-0.03, 1))
    panels[0].set_ylabel('loss of a pixel')
    _legend(figure, panels[0])
    return figure


def draw_amse() -> Figure:
    """amse/fig4."""
    figure, panels = plt.subplots(2, 3, sharey='row', figsize=(WIDTH, 5.6))
    losses = {f'AMSE, β={b}': lossplus.AsymmetricMSELoss(b) for b in BETAS}
    styles = ('-', '--', '-.', ':', (0, (6, 2, 1, 2, 1, 2)))
    for (upper, lower), target in zip(panels.T, TARGETS):
        _curves(upper, {'MSE': MSE, **losses}, target, minima=True)
        upper.set(title=f'target {target:g}', ylim=(-0.03, 1))
        squared, _ = curve(MSE, OUTPUTS, target)
        for (form, loss), ls in zip(AMSE_BY_FORM.items(), styles):
            added = curve(loss(1.0), OUTPUTS, target)[0] - squared
            lower.plot(OUTPUTS, added, ls=ls, label=form)
        lower.axvline(target, color='0.6', lw=1, ls=':')
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
    losses = {f'FMSE, γ={g:g}': lossplus.FocusedMSELoss(g) for g in GAMMAS}
    x = torch.linspace(0, 1, 501, dtype=torch.double)
    first.semilogy(x, torch.ones_like(x), label='MSE', **BASELINE)
    for label, loss in losses.items():
        first.semilogy(x, weights(loss, x[None])[0], label=label)
    first.set(xlabel='target', ylabel='weight of a pixel', ylim=(1e-6, 4))
    first.set_title('weight')
    first.legend(loc='lower right')
    for panel, target in zip(others, (1.0, 0.5, 0.0)):
        _curves(panel, {'MSE': MSE, **losses}, target, minima=True)
        panel.set(title=f'loss at target {target:g}', ylabel='loss of a pixel')
        panel.set(xticks=[-0.5, 0, 0.5, 1, 1.5], ylim=(-0.03, 1))
    return figure


def draw_anchor() -> Figure:
    """Anchor Loss of background, and its gradient."""
    figure, panels = plt.subplots(2, 3, sharey='row', figsize=(WIDTH, 5.4))
    losses = {f'Anchor Loss, γ={g:g}': lossplus.AnchorLoss(g) for g in GAMMAS}
    focal = {'focal loss, γ=2': lossplus.HeatmapFocalLoss()}
    losses = {'BCE': BCE, **losses, **focal}
    for column, (name, anchor) in zip(panels.T, ANCHORS.items()):
        for derived, panel in enumerate(column):
            _curves(panel, losses, 0.0, anchor, bool(derived))
            panel.lines[len(losses) - 1].set_linestyle('-.')
            panel.set(xlabel='probability q of background', ylim=(-0.1, 4))
        # Where Anchor Loss is BCE.
        crossing = -np.log(1 - anchor)
        column[0].plot(anchor, crossing, 'o', color='black', zorder=4)
        column[0].set_title(f'anchor q* = {anchor:g} ({name})')
    panels[0, 0].set_ylabel('loss of a pixel')
    panels[1, 0].set_ylabel('gradient by the logit')
    _legend(figure, panels[0, 0])
    return figure


def class_gradient(
    design: str, gamma: float, other: float, of_target: bool
) -> Tensor:
    """Gradient by the logit of one of two classes, at all its scores.

    Args:
        design (str): As of Anchor Loss for classification.
        gamma (float): Its exponent.
        other (float): Score of the other class, which sets the anchor.
        of_target (bool): Whether it is that of the true class.

    Returns:
        Tensor: At :data:`PROBABILITIES`, (N,).
    """
    own = PROBABILITIES.logit().requires_grad_()
    fixed = torch.full_like(own, other).logit()
    scores = torch.stack([own, fixed], dim=-1)
    label = torch.tensor([of_target, not of_target]).double()
    labels = label.expand_as(scores)
    loss = classification_anchor_loss(scores, labels, gamma, design=design)
    return torch.autograd.grad(loss.sum(), own)[0]


def draw_designs() -> Figure:
    """Anchor Loss for classification: the gradients of its designs."""
    figure, panels = plt.subplots(2, 3, sharey='row', figsize=(WIDTH, 5.4))
    gamma, styles = GAMMAS[1], dict(zip(ANCHOR_DESIGNS, ('-', '-', '--')))
    for column, (name, anchor) in zip(panels.T, ANCHORS.items()):
        for panel, of_target in zip(column, (False, True)):
            # The slack is taken from the true class and added to the rival.
            other = anchor + 0.05 * (-1 if of_target else 1)
            bce = class_gradient('both', 0.0, other, of_target)
            panel.plot(PROBABILITIES, bce, label='BCE', **BASELINE)
            for design, style in styles.items():
                grad = class_gradient(design, gamma, other, of_target)
                label = f'Anchor Loss, γ={gamma:g}, {design}'
                panel.plot(PROBABILITIES, grad, style, label=label)
            panel.axvline(anchor, color='0.6', lw=1, ls=':')
            panel.set_xlabel(
                f'score of {("a rival", "the true class")[of_target]}'
            )
        column[0].set_title(f'anchor q* = {anchor:g} ({name})')
        column[1].set_title(f'anchor q* = {anchor:g}')
    panels[0, 0].set_ylabel('gradient by the logit of a rival')
    panels[1, 0].set_ylabel('... of the true class')
    _legend(figure, panels[0, 0])
    return figure


def draw_weights() -> Figure:
    """Heatmap weighting's weights."""
    codec = MSRAHeatmap(input_size=(19, 19), heatmap_size=(19, 19), sigma=2)
    encoded = codec.encode(np.full((1, 1, 2), 9.0))
    target = torch.from_numpy(encoded['heatmaps'][0])
    formulas = dict(linear='x', double='2x', square='x²', exp='eˣ')
    maps = {}
    for name in WEIGHT_FNS:
        loss = lossplus.HeatmapWeightingMSELoss(name)
        maps[f'F(x) = {formulas[name]}'] = weights(loss, target)
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
        panel.set(title=title, xticks=[], yticks=[], frame_on=False)
        panel.grid(False)
    bar.grid(False)
    figure.colorbar(drawn, cax=bar, label='G, or weight F(G) + 1')
    middle = len(target) // 2
    x = range(-middle, middle + 1)
    lines.plot(x, np.ones(len(x)), label='MSE', **BASELINE)
    for label, image in maps.items():
        lines.plot(x, image[middle], label=label, marker='.')
    lines.set(ylim=(0, None), xticks=x[::3], ylabel='weight F(G) + 1')
    lines.set_xlabel('distance from the peak (pixels)')
    lines.legend(loc='upper right')
    return figure


def draw_losses(losses: Dict[str, nn.Module], derived: bool) -> Figure:
    """Losses side by side, or their gradients."""
    rows = [{'MSE': MSE}, {'BCE': BCE}]
    for name, loss in losses.items():
        rows[getattr(loss, 'takes_logits', False)][name] = loss
    rows = [row for row in rows if len(row) > 1]
    targets = (*TARGETS, 0.0)
    figure, panels = plt.subplots(
        *(len(rows), len(targets)),
        sharey='row',
        squeeze=False,
        figsize=(WIDTH, 0.6 + 2.4 * len(rows)),
    )
    first = 0  # of the colours
    for row, shown in zip(panels, rows):
        logits = 'BCE' in shown
        # Ever thinner, to show where one lies on another.
        widths = np.linspace(3.6, 1.2, max(len(shown) - 1, 4))
        for panel, target in zip(row, targets):
            _curves(panel, shown, target, derived=derived)
            for i, width in enumerate(widths[: len(shown) - 1]):
                panel.lines[i + 1].set(lw=width, color=f'C{first + i}')
            panel.set(xticks=[0, 0.5, 1], ylim=LIMITS[logits, derived])
        what = 'gradient' if derived else 'loss of a pixel'
        row[0].set_ylabel(what + ' by the logit' * (logits and derived))
        first += len(shown) - 1
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
    'anchor_figA1': draw_designs,
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder (default: docs/figures, with --losses work_dirs/figures)',
    )
    parser.add_argument(
        '--losses',
        nargs='+',
        metavar='LOSS',
        help='draw these side by side, named as for tools/compare_losses.py '
        'or "NAME=dict(type=\'module.Class\',...)", where Python finds the '
        'module, which may be your own',
    )
    args = parser.parse_args()
    figures, out = FIGURES, Path('docs', 'figures')
    if args.losses:
        out = Path('work_dirs', 'figures')
        register_all_modules()
        try:
            losses = parse_losses(args.losses)
            losses = {name: MODELS.build(x) for name, x in losses.items()}
            for loss in losses.values():
                check_pixel_loss(loss)
        except ValueError as error:
            sys.exit(str(error))
        figures = side_by_side(losses)
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
