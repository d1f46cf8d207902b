"""Train a model with several losses, and say which to take.

Model, data, schedule and seeds are the same; the score is that of the last
epoch, not of the best one, which would be chosen on the test people. All is
in --work-dir:

    configs/<loss>.py           what is trained, for other tools too
    configs/<loss>/seed<S>.py   the same with the seed and paths of a training
    <loss>/seed<S>/             a training: MMPose's work folder, train.log
    report.md, report.csv       of all trainings that have ended
    epochs.csv                  all their metrics, at each validation
    curves.png                  score over epochs
    differences.png             difference to MSE, with intervals
    constant.json               what a constant prediction scores

After a crash, the same command goes on from there and ends with the same
numbers, as far as the operations are deterministic, as on a CPU with the same
number of threads. More losses and seeds can be added later: the report is of
all trainings in the folder.

A loss is one of

    mse amse rmse fmse hmw anchor bce focal ohkm

with its defaults (bce is Anchor Loss with gamma=0, ohkm has half of the
keypoints), or has a name of its own, as in
"hmw_exp=dict(type='HeatmapWeightingMSELoss', weight_fn='exp')". One that takes
logits gets a SigmoidConv2d as final layer. A name that ends in @ and a number,
as in mse@3e-4, is trained with that learning rate.
"""

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import List, Optional, Tuple

from mmengine.registry import init_default_scope
from rich.console import Console

from mmpose_lossplus.experiments import comparison, comparison_report
from mmpose_lossplus.experiments.configs import batch_in_name, missing_data
from mmpose_lossplus.experiments.files import read_json, write_json, write_text
from mmpose_lossplus.experiments.host_scripts import (
    check_labels,
    check_work_dir,
)
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.experiments.scores import take_score
from mmpose_lossplus.experiments.trainings import (
    add_launch_options,
    check_launch_options,
)

# Endings of what else is in the work folder, and no loss may be called.
TAKEN = ('.csv', '.json', '.md', '.partial', '.png', '.py')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('config', help='of a top-down heatmap model')
    add(
        '--losses',
        nargs='+',
        default=['mse', 'amse', 'rmse', 'fmse', 'hmw', 'anchor'],
        metavar='LOSS',
        help='see above; they are compared with mse, or without it with the '
        'first. Defaults to mse amse rmse fmse hmw anchor.',
    )
    help = 'Defaults to 0 1 2.'
    add('--seeds', nargs='+', type=int, default=[0, 1, 2], help=help)
    help = 'Defaults to work_dirs/compare/<config>.'
    add('--work-dir', type=Path, help=help)
    help = 'other than in the config, whose schedule is stretched to them'
    add('--epochs', type=int, metavar='N', help=help)
    help = 'such as coco/AP, of which more is better. Defaults to the '
    help += "config's save_best, or AP or PCK as it evaluates."
    add('--score', help=help)
    help = "count the epochs to this score. Defaults to 90 %% of mse's."
    add('--target-score', type=float, metavar='X', help=help)
    help = 'trainings at a time, which share the cores and take turns on the '
    help += 'GPUs. Defaults to 1.'
    add('--jobs', type=int, default=1, metavar='N', help=help)
    add_launch_options(parser)
    args = parser.parse_args()

    if not Path(args.config).is_file():
        sys.exit(f'The config {args.config} does not exist.')
    if args.work_dir is None:
        args.work_dir = Path('work_dirs', 'compare', Path(args.config).stem)
    check_launch_options(args)
    for name in ('epochs', 'jobs'):
        value = getattr(args, name)
        if value is not None and value < 1:
            sys.exit(f'--{name} must be at least 1, got {value}.')
    if min(args.seeds) < 0:
        sys.exit(f'--seeds must not be negative, got {min(args.seeds)}.')
    if args.launcher == 'pytorch' and args.jobs > 1:
        sys.exit(
            f'--jobs must be 1 with --launcher pytorch, whose trainings take '
            f'all GPUs, got {args.jobs}.'
        )
    return args


def prepare(args: argparse.Namespace) -> tuple:
    """Check all that can be checked before a training, and write it down.

    Returns:
        tuple: The trainings, notes on them, the score and that of a constant
        prediction.
    """
    # First, as it may import the module of a loss.
    shared = comparison.shared_config(
        args.config, args.cfg_options, args.epochs
    )
    losses = parse_losses(args.losses)
    for name in losses:
        if name == 'configs' or Path(name).suffix in TAKEN:
            raise ValueError(f'--losses needs another name for {name}.')
    score = take_score(shared, args.score)
    gpus = args.gpus or (batch_in_name(args.config) or [1])[0]
    settings = dict(
        config=Path(args.config).name,
        gpus=1 if args.launcher == 'none' else gpus,
        settings=shared.to_dict(),
        losses=losses,
    )
    settings = comparison.add_settings(settings, args.work_dir)
    cfgs, notes = comparison.loss_configs(
        {**settings['losses'], **losses}, shared
    )
    parts = ('train_dataloader', 'val_dataloader', 'val_evaluator', 'model')
    missing = missing_data(shared, parts)
    if missing:
        raise ValueError(missing)
    check_labels(shared, args.config, parts[:2])
    check_work_dir(args.work_dir)
    kept = args.work_dir / 'constant.json'
    if kept.exists():
        scores = read_json(kept)
    else:
        try:
            scores = comparison.constant_scores(shared)
        except (AttributeError, LookupError, TypeError):
            scores = {}  # a metric may take more
    known = (*scores, *comparison_report.DIAGNOSTICS)
    if scores and score not in known:
        names = ', '.join(known)
        raise ValueError(f'There is no {score}: give a --score, of {names}.')
    folder = args.work_dir / 'configs'
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, scores)
    write_json(args.work_dir / 'settings.json', settings)
    for name, cfg in cfgs.items():
        if not (folder / f'{name}.py').exists():
            write_text(folder / f'{name}.py', cfg.pretty_text)
    runs = comparison.make_runs(
        cfgs, losses, args.seeds, args.work_dir, settings['gpus']
    )
    return runs, notes, score, scores.get(score, 0.0)


def main() -> None:
    args = parse_args()
    init_default_scope('mmpose')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('Terminated.'))
    console = Console(highlight=False, markup=False)
    command = shlex.join(['python', *sys.argv])

    def report() -> Tuple[Optional[comparison_report.Comparison], List[Path]]:
        """Of the trainings that have ended, in the order of the losses."""
        ended = [run for run in runs if run.logged]
        if not ended:
            return None, []
        epochs, trainings = comparison.collect(ended, args.work_dir)
        names = [run.loss for run in runs]
        baseline = 'mse' if 'mse' in names else names[0]
        compared = comparison_report.Comparison(
            epochs, trainings, score, baseline, args.target_score, constant
        )
        title = f'Losses compared on {Path(args.config).stem}'
        details = [*comparison.describe(runs, command), *notes]
        return compared, comparison_report.write_report(
            compared, args.work_dir, title, details
        )

    try:
        runs, notes, score, constant = prepare(args)
        comparison.train_all(runs, score, report, console, args)
    except KeyboardInterrupt:
        sys.exit('Interrupted: the same command goes on from here.')
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    compared, files = report()
    if compared is not None:
        comparison_report.print_report(compared, console)
    for path in files:
        console.print(f'Wrote {path}', soft_wrap=True)
    failed = [f'{run}: {run.problem}' for run in runs if run.problem]
    if failed:
        sys.exit(f'Not all trainings ended well: {"; ".join(failed)}')


if __name__ == '__main__':
    main()
