"""Draw the loss of one pixel against its output, for each loss.

One panel a target (1, 0.5, 0), one curve a loss; the anchor probability of
Anchor Loss is 0.5.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use('Agg')  # no window: the plot goes to a file
import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from mmpose_lossplus.losses import functional as F  # noqa: E402

TARGETS = (1.0, 0.5, 0.0)
BETA = 0.5  # 50 times the default: at 0.01 the curves would coincide
SQUARED = {
    'MSE': lambda s, g: (s - g) ** 2,
    f'AMSE, β={BETA}': lambda s, g: F.amse(s, g, BETA),
    f'RMSE, β={BETA}': lambda s, g: F.rmse(s, g, BETA),
    'FMSE': F.fmse,
    'heatmap weighting': F.heatmap_weighting_mse,
}


def anchor_of_pixel(q: Tensor, target: float, gamma: float) -> Tensor:
    """Anchor Loss of a pixel in a map whose peak gives the anchor 0.5."""
    peak = torch.full_like(q, 0.55).logit()
    maps = torch.stack([q.logit(), peak], dim=-1)[:, None, None, :]
    targets = torch.tensor([target, 1.0], dtype=q.dtype).expand_as(maps)
    return F.anchor_loss(maps, targets, gamma)[:, 0, 0, 0]


def draw(figure_path: Path) -> None:
    figure, axes = plt.subplots(
        2, 3, figsize=(10, 5.6), sharex='row', constrained_layout=True
    )
    s = torch.linspace(-0.5, 1.5, 401, dtype=torch.double)
    q = torch.linspace(0.01, 0.99, 393, dtype=torch.double)
    for column, target in enumerate(TARGETS):
        top, bottom = axes[:, column]
        g = torch.full_like(s, target)
        for name, function in SQUARED.items():
            # Dashed, to show where another curve lies on it.
            style = dict(color='black', ls='--', zorder=3)
            style = style if name == 'MSE' else {}
            top.plot(s, function(s, g), label=name, **style)
        top.set(title=f'target {target:g}', xlabel='output', ylim=(0, 1.5))
        for gamma in (0.0, 1.0, 2.0):
            label = f'Anchor Loss, γ={gamma:g}' if gamma else 'BCE'
            style = {} if gamma else dict(color='black', ls='--', zorder=3)
            loss = anchor_of_pixel(q, target, gamma)
            bottom.plot(q, loss, label=label, **style)
        focal = F.heatmap_focal_loss(q.logit(), torch.full_like(q, target))
        bottom.plot(q, focal, label='focal, γ=2')
        bottom.set(xlabel='probability', ylim=(0, 5))
    for row in axes:
        row[0].set_ylabel('loss of a pixel')
        row[-1].legend(frameon=False, fontsize=8, loc='upper left')
    for panel in axes.flat:
        panel.grid(alpha=0.3)
        panel.spines[['top', 'right']].set_visible(False)
    figure_path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(figure_path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='picture to write')
    args = parser.parse_args()
    draw(args.out)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
