"""Plot the loss, the accuracy and the AP of a training over its epochs."""

import argparse
import json
import sys
from pathlib import Path
from typing import Dict, List

import matplotlib

matplotlib.use('Agg')  # no window: the plot goes to a file
import matplotlib.pyplot as plt

VAL_METRICS = ('coco/AP', 'PCK', 'PCKh')


def read_scalars(work_dir: Path) -> Dict[str, List[tuple]]:
    """Read the newest run's scalars.

    Args:
        work_dir (Path): Work folder of a training.

    Returns:
        dict: By name, (epoch, value) pairs; training is averaged by epoch.
    """
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    files = [f for f in files if '"loss"' in f.read_text()]
    if not files:
        sys.exit(f'{work_dir} has no */vis_data/scalars.json of a training.')
    curves, epochs = {}, {}
    for line in files[-1].read_text().splitlines():
        entry = json.loads(line)
        if 'loss' in entry:
            for name in ('loss', 'acc_pose'):
                if name in entry:
                    epochs.setdefault((name, entry['epoch']), []).append(
                        entry[name]
                    )
        for name in VAL_METRICS:
            if name in entry:
                curves.setdefault(name, []).append(
                    (entry['step'], entry[name])
                )
    for (name, epoch), values in epochs.items():
        mean = sum(values) / len(values)
        curves.setdefault(name, []).append((epoch, mean))
    return curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='of the training')
    parser.add_argument('out', type=Path, help='picture to write')
    args = parser.parse_args()

    curves = read_scalars(args.work_dir)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.2), constrained_layout=True
    )
    left.semilogy(*zip(*curves.pop('loss')), color='tab:blue')
    left.set(xlabel='epoch', title='Training loss')
    for name, points in sorted(curves.items()):
        if name == 'acc_pose':
            label, marker = 'training batches, PCK@0.05 of the map', None
        else:
            label, marker = f'held-out {name}', 'o'
        right.plot(*zip(*points), marker=marker, label=label)
    right.set(xlabel='epoch', ylim=(0, 1), title='Accuracy')
    right.legend(loc='upper left', frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[['top', 'right']].set_visible(False)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=120)
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
