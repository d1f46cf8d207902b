"""Train a model with several losses, and say which to use.

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

After a crash, the same command goes on from there and ends with the same
numbers, as far as the operations are deterministic, as on a CPU with the same
number of threads. More losses and seeds can be added later: the report is of
all trainings in the folder.

A loss is one of

    mse amse rmse fmse hmw anchor bce focal ohkm

with its defaults (bce is Anchor Loss with gamma=0, ohkm has half of the
keypoints), or has a name of its own, as in
"hmw_exp=dict(type='HeatmapWeightingMSELoss', weight_fn='exp')". One that takes
logits gets a SigmoidConv2d as final layer.
"""

import argparse
import dataclasses
import inspect
import json
import logging
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import METRICS, MODELS
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from mmpose_lossplus import diagnostic_metrics
from mmpose_lossplus.experiments.checkpoints import (
    checkpoint_to_resume,
    rewind,
)
from mmpose_lossplus.experiments.comparison import (
    Comparison,
    Result,
    print_report,
    read_result,
    write_report,
)
from mmpose_lossplus.experiments.configs import (
    batch_in_name,
    data_files,
    missing_file,
    parse_options,
    read_config,
)
from mmpose_lossplus.experiments.files import write_json, write_text
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.experiments.people import (
    keep_people,
    key_of_file,
    score_on_others,
)
from mmpose_lossplus.experiments.statistics import OtherPeople
from mmpose_lossplus.experiments.trainings import (
    Step,
    StepError,
    add_launch_options,
    check,
    check_launch_options,
    commit,
    hold,
    start,
    stop,
    train_command,
    versions,
)

TOOLS = Path(__file__).resolve().parent
# That of the demo's config of Anchor Loss.
PRIOR = 0.01
# The codecs with a heatmap, and nothing else, for each keypoint.
CODECS = ('MSRAHeatmap', 'UDPHeatmap', 'MegviiHeatmap')
SCORES = dict(
    CocoMetric='coco/AP',
    LspPCKAccuracy='lsp/PCK',
    MpiiPCKAccuracy='PCK',
    PCKAccuracy='PCK',
)
ITERATION = re.compile(r'Epoch\((\w+)\) \[(\d+)\]\[ ?(\d+)/(\d+)\]')


@dataclass
class Run:
    """A training with one loss and one seed."""

    loss: str
    seed: int
    step: Step
    problem: str = ''
    result: Optional[Result] = None

    def __str__(self) -> str:
        return f'{self.loss} seed {self.seed}'

    @property
    def max_epochs(self) -> int:
        return self.step.cfg.train_cfg.max_epochs

    def done(self) -> float:
        """Part of the training that is done, from 0 to 1."""
        if self.result or self.problem:
            return 1.0
        if self.step.log.exists():
            found = ITERATION.match(self.step.progress())
            if found:
                epoch, iteration, length = map(int, found.groups()[1:])
                if found[1] == 'train':
                    epoch -= 1 - iteration / length
                return epoch / self.max_epochs
        return 0.0


def main() -> None:
    args = parse_args()
    init_default_scope('mmpose')
    try:
        losses = parse_losses(args.losses)
        if 'configs' in losses:
            raise ValueError('--losses needs another name for configs.')
        shared, score = shared_config(args)
        settings = merge_settings(losses, shared, args)
        cfgs = loss_configs({**settings['losses'], **losses}, shared)
        check_data(shared)
        write_settings(settings, cfgs, args)
        runs = [
            run
            for run in make_runs(cfgs, all_seeds(cfgs, args), args)
            if (run.loss in losses and run.seed in args.seeds)
            or run.step.ended_well
        ]
    except (OSError, ValueError) as error:
        sys.exit(str(error))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit('Terminated.'))
    console = Console(highlight=False, markup=False)
    try:
        train_all(runs, score, console, args)
    except KeyboardInterrupt:
        sys.exit('Interrupted: the same command goes on from here.')
    comparison = compare(runs, score, args)
    if comparison is not None:
        print_report(comparison, console)
        for path in report(comparison, runs, args):
            console.print(f'Wrote {path}', soft_wrap=True)
    failed = [run for run in runs if run.problem]
    if failed:
        texts = '; '.join(f'{run}: {run.problem}' for run in failed)
        sys.exit(f'Not all trainings ended well: {texts}')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='of a top-down heatmap model')
    parser.add_argument(
        '--losses',
        nargs='+',
        default=['mse', 'amse', 'rmse', 'fmse', 'hmw', 'anchor'],
        metavar='LOSS',
        help='see above; they are compared with mse, or without it with the '
        'first. Defaults to mse amse rmse fmse hmw anchor.',
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        default=[0, 1, 2],
        help='Defaults to 0 1 2.',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='Defaults to work_dirs/compare/<config>.',
    )
    parser.add_argument(
        '--epochs',
        type=int,
        metavar='N',
        help='other than in the config; its schedule is stretched to them, '
        'and how often it validates',
    )
    parser.add_argument(
        '--score',
        help='such as coco/AP, of which more is better. Defaults to the '
        "config's save_best, or AP or PCK as it evaluates.",
    )
    parser.add_argument(
        '--target-score',
        type=float,
        metavar='X',
        help="count the epochs to this score. Defaults to 90 % of mse's.",
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        metavar='N',
        help='trainings at a time, which share the cores and take turns on '
        'the GPUs. Defaults to 1.',
    )
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


def shared_config(args: argparse.Namespace) -> Tuple[Config, str]:
    """What all trainings have in common, and the name of the score.

    Raises:
        OSError: If the config cannot be read.
        ValueError: If it is not one that can be compared.
    """
    options = parse_options(args.cfg_options)
    cfg = read_config(args.config, options)
    for key in ('model', 'train_cfg', 'val_dataloader', 'val_evaluator'):
        if not cfg.get(key):
            raise ValueError(f'The config {args.config} has no {key}.')
    if 'head' not in cfg.model:
        raise ValueError(
            f'The config {args.config} has a {cfg.model.type}, which can '
            'only test: give the config that it is trained with.'
        )
    if not cfg.train_cfg.get('max_epochs') or not cfg.train_cfg.get(
        'by_epoch', True
    ):
        raise ValueError(
            f'The config {args.config} must train by epochs, got train_cfg '
            f'{dict(cfg.train_cfg)}.'
        )
    batch = batch_in_name(args.config)
    key = 'auto_scale_lr.base_batch_size'
    if batch and 'auto_scale_lr' in cfg and key not in options:
        cfg.merge_from_dict({key: math.prod(batch)})
    if args.epochs:
        stretch_schedule(cfg, args.epochs)
    for key in ('val_begin', 'dynamic_intervals'):
        cfg.train_cfg.pop(key, None)

    metrics = cfg.val_evaluator
    metrics = [metrics] if isinstance(metrics, dict) else list(metrics)
    hooks = cfg.get('default_hooks') or {}
    checkpoint = hooks.get('checkpoint') or dict(type='CheckpointHook')
    score = find_score(checkpoint, metrics, args)
    # Of the last two, one is complete, with its validation.
    checkpoint.update(interval=1, by_epoch=True, max_keep_ckpts=2)
    for key in ('save_best', 'rule'):
        checkpoint.pop(key, None)
    cfg.default_hooks = dict(hooks, checkpoint=checkpoint)

    cfg.val_evaluator = metrics
    cfg.model.setdefault('test_cfg', {})
    cfg.model.test_cfg.output_heatmaps = True
    custom = cfg.get('custom_imports') or {}
    imports = [*custom.get('imports', []), 'mmpose_lossplus']
    cfg.custom_imports = dict(
        imports=list(dict.fromkeys(imports)), allow_failed_imports=False
    )
    return cfg, score


def find_score(
    checkpoint: dict, metrics: List[dict], args: argparse.Namespace
) -> str:
    """Name of the score, of which more is better."""
    best = checkpoint.get('save_best')
    if not isinstance(best, str) or best == 'auto':
        best = None
    score = args.score or best
    if score and score == best and checkpoint.get('rule') == 'less':
        raise ValueError(
            f'The config {args.config} looks for the smallest {best}: '
            'give a --score of which more is better.'
        )
    if score:
        return score
    for metric in metrics:
        if metric['type'] in SCORES:
            return SCORES[metric['type']]
    raise ValueError(
        f'The config {args.config} evaluates by '
        f'{", ".join(m["type"] for m in metrics)}: give the name of a --score.'
    )


def stretch_schedule(cfg: Config, epochs: int) -> None:
    """Train other than the config's number of epochs, by its own curve.

    What the schedule says in epochs is multiplied; a warm-up in iterations
    stays.

    Args:
        cfg (Config): The config, changed in place.
        epochs (int): The new number.
    """
    ratio = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    interval = cfg.train_cfg.get('val_interval', 1)
    cfg.train_cfg.val_interval = max(1, round(interval * ratio))
    schedulers = cfg.get('param_scheduler') or ()
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    for scheduler in schedulers:
        if not scheduler.get('by_epoch', True):
            continue
        for key in ('begin', 'end', 'T_max', 'total_iters', 'step_size'):
            if scheduler.get(key):
                scheduler[key] = max(1, round(scheduler[key] * ratio))
        if 'milestones' in scheduler:
            scheduler.milestones = [
                max(1, round(m * ratio)) for m in scheduler.milestones
            ]


def set_loss(cfg: Config, loss: dict) -> None:
    """Give the head of a config a loss, and the final layer that it needs.

    Of several losses, one for each stage, all are replaced. The factors that
    the config sets (``loss_weight``) stay unless the new loss has one. A loss
    that takes logits gets a ``SigmoidConv2d`` with a prior, another one loses
    it.

    Args:
        cfg (Config): Config of a top-down heatmap model, changed in place.
        loss (dict): Config of the loss.

    Raises:
        ValueError: If the head or its codec has no use for such a loss.
    """
    head = cfg.model.head
    codec = head.get('decoder') or {}
    if (
        codec.get('type') not in CODECS
        or codec.get('heatmap_type', 'gaussian') != 'gaussian'
    ):
        raise ValueError(
            'Heatmap losses need a codec with one heatmap for each keypoint, '
            f'{", ".join(CODECS)}, got {dict(codec)}.'
        )
    loss = dict(loss)
    if loss['type'] == 'KeypointOHKMMSELoss':
        # 8 of 17, as in the paper of the cascaded pyramid network.
        loss.setdefault('topk', max(1, head.out_channels // 2))

    def replaced(old: Optional[dict]) -> dict:
        weight = (old or {}).get('loss_weight')
        return loss if weight is None else {'loss_weight': weight, **loss}

    old = head.get('loss')
    if isinstance(old, (list, tuple)):
        head.loss = [replaced(x) for x in old]
    else:
        head.loss = replaced(old)
    takes_logits = getattr(MODELS.get(loss['type']), 'takes_logits', False)
    final_layer = head.get('final_layer', dict(kernel_size=1))
    sigmoid = (final_layer or {}).get('type') == 'SigmoidConv2d'
    if takes_logits and not sigmoid:
        cls = MODELS.get(head.type)
        accepted = any(
            'final_layer' in inspect.signature(base.__init__).parameters
            for base in cls.__mro__
        )
        if not accepted or final_layer is None:
            raise ValueError(
                f'{loss["type"]} takes logits, for which this {head.type} '
                'has no final layer to replace.'
            )
        final_layer = dict(final_layer, type='SigmoidConv2d')
        head.final_layer = dict(final_layer, prior_prob=PRIOR)
    elif sigmoid and not takes_logits:
        head.final_layer = {
            key: value
            for key, value in final_layer.items()
            if key not in ('type', 'prior_prob')
        }


def loss_configs(losses: Dict[str, dict], shared: Config) -> Dict[str, Config]:
    """What is trained with each loss, whatever the seed.

    Raises:
        ValueError: If a loss does not fit the model.
    """
    cfgs = {}
    for name, loss in losses.items():
        cfg = cfgs[name] = deepcopy(shared)
        set_loss(cfg, loss)
        # MMEngine allows each of them once: not the config's own too.
        metrics = diagnostic_metrics(cfg)
        types = {METRICS.get(metric['type']) for metric in metrics}
        own = [
            keep_people(metric)
            for metric in cfg.val_evaluator
            if METRICS.get(metric['type']) not in types
        ]
        cfg.val_evaluator = [*own, *metrics]
    return cfgs


def processes(args: argparse.Namespace) -> int:
    """Number of processes of a training."""
    if args.launcher == 'none':
        return 1
    return args.gpus or (batch_in_name(args.config) or [1])[0]


def all_seeds(losses: Iterable[str], args: argparse.Namespace) -> List[int]:
    """Seeds that are asked for, and those of earlier trainings."""
    found = [
        int(path.name[len('seed') :])
        for name in losses
        for path in (args.work_dir / name).glob('seed*')
        if path.name[len('seed') :].isdecimal()
    ]
    return sorted({*args.seeds, *found})


def make_runs(
    cfgs: Dict[str, Config], seeds: List[int], args: argparse.Namespace
) -> List[Run]:
    """All trainings, one loss after the other.

    Args:
        cfgs (dict[str, Config]): What is trained with each loss.
        seeds (list[int]): Each of them once.
        args (argparse.Namespace): The command line.

    Returns:
        list[Run]: The trainings.
    """
    gpus = processes(args)
    runs = []
    for name, plain in cfgs.items():
        for seed in seeds:
            folder = args.work_dir / name / f'seed{seed}'
            config = args.work_dir / 'configs' / name / f'seed{seed}.py'
            cfg = deepcopy(plain)
            # Not by --cfg-options, which would take paths apart.
            cfg.merge_from_dict({'randomness.seed': seed})
            for i, metric in enumerate(cfg.val_evaluator):
                key = key_of_file(metric)
                if key:
                    metric[key] = str(folder / f'people{i}')
            step = Step(TOOLS / 'train.py', folder, str(config), cfg, [], gpus)
            runs += [Run(name, seed, step)]
    return runs


def check_data(cfg: Config) -> None:
    """End the script if there is no data, as each training would."""
    parts = ('train_dataloader', 'val_dataloader', 'val_evaluator')
    for name, path in data_files({p: cfg.get(p) for p in parts}):
        if not Path(path).exists():
            sys.exit(missing_file(name, path))


def merge_settings(
    losses: Dict[str, dict], shared: Config, args: argparse.Namespace
) -> Dict[str, Any]:
    """What is trained, with the losses that the folder has already.

    Returns:
        dict[str, Any]: For ``settings.json``, earlier losses first.

    Raises:
        ValueError: If there are trainings of other settings.
    """
    path = args.work_dir / 'settings.json'
    new = json.loads(
        json.dumps(
            dict(
                config=Path(args.config).name,
                gpus=processes(args),
                settings=shared.to_dict(),
                losses=losses,
            ),
            default=str,
        )
    )
    if path.exists():
        old = json.loads(path.read_text())
        known = {**old['losses'], **new['losses']}
        before, now = (
            dict(flat(dict(x, losses={**known, **x['losses']})))
            for x in (old, new)
        )
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                raise ValueError(
                    f'{args.work_dir} holds trainings of other settings, '
                    f'{key} is {before.get(key)} there and not '
                    f'{now.get(key)}: give another --work-dir.'
                )
        new['losses'] = known
    return new


def write_settings(
    settings: Dict[str, Any], cfgs: Dict[str, Config], args: argparse.Namespace
) -> None:
    """Write down what is trained, and a config for each loss."""
    folder = args.work_dir / 'configs'
    folder.mkdir(parents=True, exist_ok=True)
    write_json(args.work_dir / 'settings.json', settings)
    for name, cfg in cfgs.items():
        if not (folder / f'{name}.py').exists():
            write_text(folder / f'{name}.py', cfg.pretty_text)


def flat(value: Any, key: str = '') -> Iterator[Tuple[str, Any]]:
    """Dotted key and value of each leaf."""
    items = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield key, value
    for name, child in items:
        yield from flat(child, f'{key}.{name}' if key else str(name))


def train_all(
    runs: List[Run], score: str, console: Console, args: argparse.Namespace
) -> None:
    """Train what is not trained; a failure does not stop the others.

    A report is written after each.
    """
    for run in runs:
        if run.step.ended_well:
            complete(run, score)
    todo = [run for run in runs if not (run.result or run.problem)]
    todo.sort(key=lambda run: args.seeds.index(run.seed))  # all losses first
    view = View(runs, score)
    if todo and not console.is_terminal:
        names = ', '.join(map(str, todo))
        logs = args.work_dir / '<loss>' / 'seed<S>' / 'train.log'
        line = f'{len(todo)} trainings to do, with logs in {logs}: {names}'
        console.print(line, soft_wrap=True)
    running: Dict[int, Tuple[Run, subprocess.Popen]] = {}
    with ExitStack() as stack:
        for run in todo:
            run.step.lock = stack.enter_context(hold(run.step.folder))
        if console.is_terminal:
            live = Live(get_renderable=view, console=console)
            stack.enter_context(live)
        try:
            while todo or running:
                for slot in set(range(args.jobs)) - set(running):
                    if todo:
                        run = todo.pop(0)
                        running[slot] = run, begin(run, slot, args)
                for slot, (run, process) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[slot]
                    stop(run.step, process)
                    try:
                        check(run.step, process)
                        complete(run, score)
                    except StepError as error:
                        run.problem = str(error)
                    comparison = compare(runs, score, args)
                    if comparison is not None:
                        report(comparison, runs, args)
                    if not console.is_terminal:
                        console.print(view.line(run), soft_wrap=True)
                time.sleep(0.2)
        finally:
            for run, process in running.values():
                stop(run.step, process)


def begin(run: Run, slot: int, args: argparse.Namespace) -> subprocess.Popen:
    """Train, from the start or from where it was cut off."""
    step = run.step
    checkpoint = checkpoint_to_resume(step.folder)
    rewind(step.folder, checkpoint)
    for path in step.folder.glob('resampled_*.json'):
        path.unlink()
    write_json(
        step.folder / 'train.json', dict(commit=commit(), versions=versions())
    )
    config = Path(step.config)
    config.parent.mkdir(parents=True, exist_ok=True)
    write_text(config, step.cfg.pretty_text)
    command = train_command(step, args, checkpoint is not None)
    return start(step, command, environment(slot, args.jobs))


def environment(slot: int, jobs: int) -> Dict[str, str]:
    """Environment variables by which several trainings share a machine."""
    env = dict(os.environ)
    if jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        env.setdefault('OMP_NUM_THREADS', str(threads))
        gpus = env.get('CUDA_VISIBLE_DEVICES', '').split(',')
        if gpus == ['']:
            gpus = [str(i) for i in range(torch.cuda.device_count())]
        if gpus:
            env['CUDA_VISIBLE_DEVICES'] = gpus[slot % len(gpus)]
    return env


def complete(run: Run, score: str) -> None:
    """Read what a training that has ended well left.

    Ends the script if there is no such score: another training would not have
    it either.
    """
    try:
        result = read_result(run.loss, run.seed, run.step.folder)
    except ValueError as error:
        run.problem = str(error)
        return
    value = result.final.get(score)
    if value is None:
        sys.exit(
            f'{run} has no score {score}: give another --score, of '
            f'{", ".join(result.final)}.'
        )
    if not math.isfinite(value):
        run.problem = f'the score is {value}'
        return
    others = other_people(run, score, value)
    run.result = dataclasses.replace(result, others=others)


def other_people(
    run: Run, score: str, expected: float
) -> Optional[OtherPeople]:
    """Scores on drawn people, kept because they can take minutes."""
    name = re.sub(r'\W+', '_', score)
    kept = run.step.folder / f'resampled_{name}.json'
    if kept.exists():
        content = json.loads(kept.read_text())
        return OtherPeople(np.array(content.pop('scores')), **content)
    # MMPose tells each time that it computes, and where its own files are.
    logging.disable(logging.WARNING)
    warnings.filterwarnings('ignore', message='The metainfo config file')
    try:
        for metric in run.step.cfg.val_evaluator:
            others = score_on_others(run.step.cfg, metric, score)
            if others is not None and np.isclose(others.scores[0], expected):
                content = dict(others._asdict(), scores=others.scores.tolist())
                write_json(kept, content)
                return others
    finally:
        logging.disable(logging.NOTSET)
    return None


def compare(
    runs: List[Run], score: str, args: argparse.Namespace
) -> Optional[Comparison]:
    """Compare the trainings that have ended, in the order of the losses."""
    names = list(dict.fromkeys(run.loss for run in runs))
    results = [run.result for run in runs if run.result is not None]
    if not results:
        return None
    baseline = 'mse' if 'mse' in names else names[0]
    return Comparison(results, score, baseline, args.target_score, names)


def report(
    comparison: Comparison, runs: List[Run], args: argparse.Namespace
) -> List[Path]:
    """Write the report, with how the trainings came about."""
    command = shlex.join(['python', 'tools/compare_losses.py', *sys.argv[1:]])
    notes = [json.loads(p.read_text()) for p in _notes(runs)]
    shared = runs[0].step.cfg
    heads = {run.loss: run.step.cfg.model.head for run in runs}
    layers = {
        loss: json.dumps(head.final_layer)
        if head.get('final_layer')
        else 'plain'
        for loss, head in heads.items()
    }
    test_set = ''
    for run in runs:
        if run.result and run.result.others:
            test_set = f', {run.result.others.number} {run.result.others.unit}'
    details = [
        f'Command: `{command}`',
        f'{shared.train_cfg.max_epochs} epochs, batches of '
        f'{shared.train_dataloader.batch_size} in {runs[0].step.gpus} '
        'processes; tested on '
        f'`{shared.val_dataloader.dataset.get("ann_file")}`{test_set}',
        *(f'{k}: `{json.dumps(head.loss)}`' for k, head in heads.items()),
    ]
    if len(set(layers.values())) > 1:
        listed = ', '.join(f'{k} `{layer}`' for k, layer in layers.items())
        details += [
            'Final layers differ, which alone changes the first epochs: '
            + listed
        ]
    for note in {json.dumps(x): x for x in notes}.values():
        words = ', '.join(f'{k} {v}' for k, v in note['versions'].items())
        details += [f'Versions: {words}, commit {note["commit"]}']
    left = [run for run in runs if run.result is None]
    if left:
        details += [
            f'**NOT all trainings have ended: {len(left)} of {len(runs)} are '
            'missing.**'
        ]
        details += [f'{run}: {run.problem}' for run in left if run.problem]
    title = f'Losses compared on {Path(args.config).stem}'
    return write_report(comparison, args.work_dir, title, details)


def _notes(runs: List[Run]) -> Iterator[Path]:
    for run in runs:
        path = run.step.folder / 'train.json'
        if run.result is not None and path.exists():
            yield path


class View:
    """What is shown while trainings run.

    Args:
        runs (list[Run]): All.
        score (str): Name of the score.
    """

    def __init__(self, runs: List[Run], score: str) -> None:
        self.runs = runs
        self.score = score
        self.begin = time.time()
        self.done_before = sum(run.done() for run in runs)

    def __call__(self) -> Group:
        """A table of losses and seeds, a bar and the time that remains."""
        seeds = sorted({run.seed for run in self.runs})
        table = Table(title=self.score)
        for column in ('loss', *(f'seed {seed}' for seed in seeds)):
            table.add_column(column, justify='right')
        cells: Dict[str, Dict[int, str]] = {}
        for run in self.runs:
            cells.setdefault(run.loss, {})[run.seed] = self.cell(run)
        for loss, row in cells.items():
            table.add_row(loss, *(row.get(seed, '') for seed in seeds))
        bar = ProgressBar(len(self.runs), self.done(), width=60)
        return Group(table, bar, self.remaining())

    def cell(self, run: Run) -> str:
        """State of a training."""
        if run.result:
            return f'{run.result.final[self.score]:.4g}'
        if run.problem:
            return 'FAILED'
        done = run.done()
        return f'{done:.0%}' if done else ''

    def done(self) -> float:
        """Number of trainings that are done, parts included."""
        return sum(run.done() for run in self.runs)

    def remaining(self) -> str:
        """How much is done, and for how long it goes on."""
        done = self.done()
        text = f'{done / len(self.runs):.0%} of {len(self.runs)} trainings'
        if done > self.done_before:
            pace = (time.time() - self.begin) / (done - self.done_before)
            left = timedelta(seconds=round(pace * (len(self.runs) - done)))
            text += f', {left} remain'
        return text

    def line(self, run: Run) -> str:
        """What is printed of a training that ended."""
        value = f'FAILED: {run.problem}'
        if run.result:
            value = f'{self.score} {self.cell(run)}'
        return f'{run}: {value} ({self.remaining()})'


if __name__ == '__main__':
    main()
