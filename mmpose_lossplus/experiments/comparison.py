"""Trainings that differ in the loss and the seed: configs, runs, numbers."""

import argparse
import contextlib
import itertools
import json
import math
import os
import re
import subprocess
import time
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpose.registry import EVALUATORS, HOOKS
from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

from ..evaluation import diagnostic_metrics
from ..hooks import LossScheduleHook
from . import trainings
from .checkpoints import checkpoint_to_resume, rewind
from .configs import (
    TOOLS,
    batch_in_name,
    component_class,
    parse_options,
    read_config,
)
from .extras import pd
from .files import read_json, write_json, write_text
from .losses import (
    drop_schedules,
    final_layer_part,
    learning_rate,
    set_loss,
)
from .progress import can_move, silence
from .scores import has_evaluator, own_metrics
from .statistics import Logged, read_logs

# Epochs in MMEngine's schedulers, and in its, MMDet's and MMPose's hooks.
SCHEDULER_EPOCHS = ('begin', 'end', 'T_max', 'total_iters', 'step_size')
HOOK_EPOCHS = ('begin_epoch', 'num_last_epochs', 'switch_epoch')
ITERATION = re.compile(r'Epoch\((\w+)\) \[(\d+)\]\[ ?(\d+)/(\d+)\]')


def shared_config(
    path: str, options: List[str], epochs: Optional[int] = None
) -> Config:
    """A config with ``key=value`` options and what all trainings share.

    It still has its own loss; all its types are strings.

    Raises:
        OSError: If the config cannot be read.
        ValueError: If it is not one that can be compared.
    """
    given = parse_options(options)
    # Classes become names, which the configs to be written can hold.
    cfg = Config(read_config(path, given).to_dict())
    for key in ('model', 'train_cfg', 'val_dataloader', 'val_evaluator'):
        if not cfg.get(key):
            raise ValueError(f'The config {path} has no {key}.')
    if 'head' not in cfg.model:
        raise ValueError(
            f'The config {path} has a {cfg.model.type}, which can only test: '
            'give the config that it is trained with.'
        )
    by_epoch = cfg.train_cfg.get('by_epoch', True)
    if not by_epoch or not cfg.train_cfg.get('max_epochs'):
        raise ValueError(
            f'The config {path} must train by epochs, got train_cfg '
            f'{dict(cfg.train_cfg)}.'
        )
    batch = batch_in_name(path)
    key = 'auto_scale_lr.base_batch_size'
    if batch and 'auto_scale_lr' in cfg and key not in given:
        cfg.merge_from_dict({key: math.prod(batch)})
    if epochs:
        stretch_schedule(cfg, epochs)
    for key in ('val_begin', 'dynamic_intervals'):
        cfg.train_cfg.pop(key, None)
    hooks = cfg.get('default_hooks') or {}
    checkpoint = hooks.get('checkpoint') or dict(type='CheckpointHook')
    # Of the last two, one is complete, with its validation.
    checkpoint.update(interval=1, by_epoch=True, max_keep_ckpts=2)
    cfg.default_hooks = dict(hooks, checkpoint=checkpoint)
    # Whose log is read.
    looks = cfg.get('visualizer') or dict(type='PoseLocalVisualizer')
    cfg.visualizer = dict(looks, vis_backends=[dict(type='LocalVisBackend')])
    cfg.merge_from_dict({'model.test_cfg.output_heatmaps': True})
    custom = cfg.get('custom_imports') or {}
    imports = [*custom.get('imports', []), 'mmpose_lossplus']
    cfg.custom_imports = dict(
        imports=list(dict.fromkeys(imports)), allow_failed_imports=False
    )
    return cfg


def stretch_schedule(cfg: Config, epochs: int) -> None:
    """Train other than the config's number of epochs, by its own curve.

    What schedulers and hooks say in epochs is multiplied, in place; a warm-up
    in iterations stays.
    """
    ratio = epochs / cfg.train_cfg.max_epochs

    def stretched(number: int) -> int:
        return max(1, round(number * ratio)) if number else number

    cfg.train_cfg.max_epochs = epochs
    interval = cfg.train_cfg.get('val_interval', 1)
    cfg.train_cfg.val_interval = stretched(interval)
    schedulers = cfg.get('param_scheduler') or ()
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    for scheduler in schedulers:
        if scheduler.get('by_epoch', True):
            for key in {*SCHEDULER_EPOCHS} & {*scheduler}:
                scheduler[key] = stretched(scheduler[key])
            if 'milestones' in scheduler:
                scheduler.milestones = [*map(stretched, scheduler.milestones)]
    for hook in cfg.get('custom_hooks') or ():
        for key in {*HOOK_EPOCHS} & {*hook}:
            hook[key] = stretched(hook[key])
        if 'epoch_attributes' in hook:
            items = hook['epoch_attributes'].items()
            hook['epoch_attributes'] = {stretched(k): v for k, v in items}
        is_schedule = component_class(hook, HOOKS) is LossScheduleHook
        if is_schedule and hook.get('by_epoch', True):
            for name, pairs in hook['schedule'].items():
                # Of two that fall on one epoch, the later holds.
                values = {stretched(epoch): value for epoch, value in pairs}
                hook['schedule'][name] = list(values.items())


def loss_configs(
    losses: Dict[str, dict], shared: Config
) -> Tuple[Dict[str, Config], List[str]]:
    """What is trained with each loss, and notes on what is not shared.

    Diagnostics are added to metrics; an evaluator of several data sets, for
    which they are not made, stays as it is.

    Raises:
        ValueError: If a loss does not fit the model.
    """
    cfgs, notes = {}, []
    for name, loss in losses.items():
        cfg = cfgs[name] = deepcopy(shared)
        notes += [
            f"{name}: without the config's schedule for {parameter}"
            for parameter in drop_schedules(cfg, loss)
        ]
        set_loss(cfg, loss)
        rate = learning_rate(name)
        if rate:
            cfg.merge_from_dict({'optim_wrapper.optimizer.lr': rate})
        if not has_evaluator(cfg):
            cfg.val_evaluator = [*own_metrics(cfg), *diagnostic_metrics(cfg)]
    return cfgs, notes


def constant_scores(cfg: Config) -> Dict[str, float]:
    """Metrics of a prediction that is the same in each box.

    Each keypoint is at its median place in the boxes of the labels, which no
    model that has learned nothing of the pictures can be expected to beat.

    Raises:
        ValueError: If nobody is labelled.
    """
    loader = deepcopy(cfg.val_dataloader)
    for dataset in (loader.dataset, *loader.dataset.get('datasets', ())):
        dataset.pop('bbox_file', None)
    evaluator = cfg.val_evaluator
    if not has_evaluator(cfg):
        evaluator = dict(type='Evaluator', metrics=own_metrics(cfg))
    with silence(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of keypoints without a label
        loader = Runner.build_dataloader(loader)
        samples = [x for batch in loader for x in batch['data_samples']]
        if not samples:
            raise ValueError('There are no labelled people for validation.')
        truth = [sample.gt_instances for sample in samples]
        points = np.concatenate([t.keypoints for t in truth])
        boxes = np.concatenate([t.bboxes for t in truth])[:, None]
        corners, sizes = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
        visible = np.concatenate([t.keypoints_visible for t in truth])
        # A KeypointConverter appends weights to it.
        labelled = visible.reshape(*points.shape[:2], -1)[..., :1] > 0
        places = np.where(labelled, (points - corners) / sizes, np.nan)
        median = np.nan_to_num(np.nanmedian(places, axis=0), nan=0.5)
        evaluator = EVALUATORS.build(evaluator)
        evaluator.dataset_meta = loader.dataset.metainfo
        for sample, pose in zip(samples, corners + sizes * median):
            sample.pred_instances = InstanceData(
                keypoints=pose[None],
                keypoint_scores=np.ones((1, len(pose))),
                bboxes=sample.gt_instances.bboxes,
                bbox_scores=sample.gt_instances.bbox_scores,
            )
            batch = dict(inputs=[None], data_samples=[sample])
            evaluator.process([sample], batch)
        scores = evaluator.evaluate(len(samples))
    return {name: float(value) for name, value in scores.items()}


@dataclass
class Run:
    """A training with one loss and one seed, and what came of it."""

    loss: str
    seed: int
    step: trainings.Step
    logged: Optional[Logged] = None
    problem: str = ''

    def __str__(self) -> str:
        return f'{self.loss} seed {self.seed}'

    def complete(self, score: str) -> None:
        """Read what the training left, once it has ended well.

        Raises:
            ValueError: If there is no such score: another training would not
                have it either.
        """
        try:
            logged = read_logs(self.step.folder)
        except ValueError as error:
            self.problem = str(error)
            return
        if score not in logged.metrics:
            raise ValueError(
                f'{self} has no score {score}: give another --score, of '
                f'{", ".join(logged.metrics)}.'
            )
        value = logged.metrics[score].iloc[-1]
        if math.isfinite(value):
            self.logged = logged
        else:
            self.problem = f'the score is {value}'

    def done(self) -> float:
        """Part of the training that is done, from 0 to 1."""
        if self.logged or self.problem:
            return 1.0
        found = ITERATION.match(self.step.progress())
        if not found:
            return 0.0
        epoch, iteration, length = map(float, found.groups()[1:])
        if found[1] == 'train':
            epoch -= 1 - iteration / length
        return epoch / self.step.cfg.train_cfg.max_epochs

    def state(self, score: str) -> str:
        if self.problem:
            return 'FAILED'
        if self.logged:
            return f'{self.logged.metrics[score].iloc[-1]:.4g}'
        return f'{self.done():.0%}'


def make_runs(
    cfgs: Dict[str, Config],
    losses: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    gpus: int,
) -> List[Run]:
    """Trainings that are asked for, and others in the folder that are done."""
    names = (p.name[4:] for k in cfgs for p in (folder / k).glob('seed*'))
    found = {*seeds, *map(int, filter(str.isdecimal, names))}
    runs = []
    for loss, seed in itertools.product(cfgs, sorted(found)):
        cfg = deepcopy(cfgs[loss])
        cfg.merge_from_dict({'randomness.seed': seed})
        config = str(folder / 'configs' / loss / f'seed{seed}.py')
        work_dir, script = folder / loss / f'seed{seed}', TOOLS / 'train.py'
        step = trainings.Step(script, work_dir, config, cfg, [], gpus)
        if (loss in losses and seed in seeds) or step.ended_well:
            runs.append(Run(loss, seed, step))
    return runs


def add_settings(new: Dict[str, Any], folder: Path) -> Dict[str, Any]:
    """Join what is to be trained with what the folder has already.

    Raises:
        ValueError: If there are trainings of other settings.
    """
    new = json.loads(json.dumps(new, default=str))
    path = folder / 'settings.json'
    if not path.exists():
        return new
    old = read_json(path)
    losses = {**old['losses'], **new['losses']}
    for x in (old, new):
        x['losses'] = {**losses, **x['losses']}
    before, now = (
        pd.json_normalize(x).to_dict('records')[0] for x in (old, new)
    )
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise ValueError(
                f'{folder} holds trainings of other settings, {key} is '
                f'{before.get(key)} there and not {now.get(key)}: give '
                'another --work-dir.'
            )
    return dict(new, losses=losses)


def train_all(
    runs: List[Run],
    score: str,
    report: Callable[[], Any],
    console: Console,
    args: argparse.Namespace,
) -> None:
    """Train what is not trained, report after each; a failure stops no other.

    Raises:
        ValueError: If the trainings have no such score.
    """
    for run in runs:
        if run.step.ended_well:
            run.complete(score)
    todo = [run for run in runs if not (run.logged or run.problem)]
    todo.sort(key=lambda run: args.seeds.index(run.seed))  # all losses first
    moving = can_move(console)
    if todo and not moving:
        names = ', '.join(map(str, todo))
        logs = args.work_dir / '<loss>' / 'seed<S>' / 'train.log'
        line = f'{len(todo)} trainings to do, with logs in {logs}: {names}'
        console.print(line, soft_wrap=True)
    running: Dict[int, Tuple[Run, subprocess.Popen]] = {}
    with contextlib.ExitStack() as stack:
        for run in todo:
            stack.enter_context(trainings.hold(run.step.folder))
        if moving:
            stack.enter_context(live_table(runs, score, console))
        try:
            while todo or running:
                for slot in set(range(args.jobs)) - set(running):
                    if todo:
                        run = todo.pop(0)
                        running[slot] = run, begin(run.step, slot, args)
                for slot, (run, process) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[slot]
                    try:
                        trainings.check(run.step, process)
                        run.complete(score)
                    except trainings.StepError as error:
                        run.problem = str(error)
                    with contextlib.suppress(OSError):  # there is another
                        report()
                    if not moving:
                        done = sum(bool(x.logged) for x in runs)
                        line = f'{run}: {score} {run.state(score)}'
                        line += f' {run.problem}' * bool(run.problem)
                        line += f' ({done} of {len(runs)} trainings done)'
                        console.print(line, soft_wrap=True)
                time.sleep(0.2)
        finally:
            for _, process in running.values():
                trainings.stop(process)


def begin(
    step: trainings.Step, slot: int, args: argparse.Namespace
) -> subprocess.Popen:
    """Train, from the start or from where it was cut off."""
    checkpoint = checkpoint_to_resume(step.folder)
    rewind(step.folder, checkpoint)
    made = dict(commit=trainings.commit(), versions=trainings.versions())
    write_json(step.folder / 'train.json', made)
    config = Path(step.config)
    config.parent.mkdir(parents=True, exist_ok=True)
    write_text(config, step.cfg.pretty_text)
    command = trainings.train_command(step, args, checkpoint is not None)
    return trainings.start(step, command, environment(slot, args.jobs))


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


def live_table(runs: List[Run], score: str, console: Console) -> Live:
    """A table of losses and seeds, a bar and the time that remains."""
    bar = Progress()
    done = sum(run.done() for run in runs)
    task = bar.add_task('', total=len(runs), completed=done)

    def renderable() -> Group:
        seeds = sorted({run.seed for run in runs})
        table = Table('loss', *(f'seed {s}' for s in seeds), title=score)
        for loss in dict.fromkeys(run.loss for run in runs):
            row = {x.seed: x.state(score) for x in runs if x.loss == loss}
            table.add_row(loss, *(row.get(seed, '') for seed in seeds))
        bar.update(task, completed=sum(run.done() for run in runs))
        return Group(table, bar)

    return Live(get_renderable=renderable, console=console)


def collect(
    runs: List[Run], folder: Path
) -> Tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers of trainings that have ended well, for a ``Comparison``."""
    ended = {(x.loss, x.seed): x.logged for x in runs if x.logged}
    names = ['loss', 'seed']
    epochs = {key: logged.metrics for key, logged in ended.items()}
    epochs = pd.concat(epochs, names=[*names, 'epoch']).reset_index()
    rows = {
        key: {
            'seconds per iteration': logged.seconds,
            'logs': ' '.join(str(x.relative_to(folder)) for x in logged.logs),
        }
        for key, logged in ended.items()
    }
    table = pd.DataFrame.from_dict(rows, orient='index').rename_axis(names)
    return epochs, table


def describe(runs: List[Run], command: str) -> List[str]:
    """How the trainings came about, in Markdown."""
    cfg, gpus = runs[0].step.cfg, runs[0].step.gpus
    details = [
        f'Command: `{command}`',
        f'{cfg.train_cfg.max_epochs} epochs, batches of '
        f'{cfg.train_dataloader.get("batch_size")} in {gpus} processes; '
        f'tested on `{cfg.val_dataloader.dataset.get("ann_file")}`',
    ]
    for loss, run_cfg in {x.loss: x.step.cfg for x in runs}.items():
        layer = final_layer_part(run_cfg).get('final_layer', 'plain')
        made = json.dumps(run_cfg.model.head.loss)
        details += [f'{loss}: `{made}`, layer `{json.dumps(layer)}`']
    files = [run.step.folder / 'train.json' for run in runs if run.logged]
    notes = (p.read_text(encoding='utf-8') for p in files if p.exists())
    for note in map(json.loads, dict.fromkeys(notes)):
        words = ', '.join(f'{k} {v}' for k, v in note['versions'].items())
        details += [f'Versions: {words}, commit {note["commit"]}']
    left = [run for run in runs if not run.logged]
    if left:
        details += [
            f'**NOT all trainings have ended: {len(left)} of {len(runs)} are '
            'missing.**',
            *(f'{run}: {run.problem}' for run in left if run.problem),
        ]
    return details
