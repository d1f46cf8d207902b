"""Train and test the rows of a paper's table, and report what comes out.

``reproduce.py list`` prints the tables and their rows. A training is shared
by all rows, of all tables, that test what it trains. What is done is never
done again: after a crash, the same command goes on from there. Everything is
in --work-dir:

    train/<config>/seed<S>/       a training: MMPose's work folder, train.log
    <table>/<row>/seed<S>/        a test: metrics.json, test.log and, once it
                                  is done, row.json
    <table>/report.md, report.csv

Tested is the best checkpoint if the config keeps the best of its validations,
as MMPose's do, and else the last. Of the papers, only the heatmap-weighting
one says that it takes the best.

Folders in use are locked, by a training too: if only this script was killed,
starting it again names the process that still trains. Several machines:
--launcher slurm.
"""

import argparse
import math
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from inspect import signature
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from mmengine.config import Config
from mmpose.registry import METRICS
from rich.console import Console

from mmpose_lossplus.experiments import configs, report, tables, trainings
from mmpose_lossplus.experiments.checkpoints import (
    checkpoint_to_resume,
    checkpoint_to_test,
    rewind,
)
from mmpose_lossplus.experiments.files import read_json, write_json
from mmpose_lossplus.experiments.progress import status
from mmpose_lossplus.experiments.trainings import Step, StepError

TOOLS = Path(__file__).resolve().parent
console = Console(highlight=False, soft_wrap=True, markup=False)


@dataclass(frozen=True)
class Job:
    """One row with one seed: its training, its test, what it leaves."""

    table: tables.Table
    row: tables.Row
    seed: int
    train: Step
    test: Step

    @property
    def begun(self) -> Path:
        return self.train.folder / 'train.json'

    @property
    def done(self) -> Path:
        return self.test.folder / 'row.json'

    def __str__(self) -> str:
        return f'{self.table.id} {self.row.id} seed {self.seed}'


def main() -> None:
    sys.stdout.reconfigure(errors='replace')  # titles have Greek letters
    args = parse_args()
    known = tables.load_tables()
    if args.table == 'list':
        for table in known.values():
            ids = [row.id for row in table.rows if not row.left_out]
            left_out = len(table.rows) - len(ids)
            note = f' (and {left_out} rows left out)' if left_out else ''
            print(f'{table.id}: {table.title}\n    {" ".join(ids)}{note}')
        return
    try:
        (table,) = choose('table', [args.table], known)
        rows = {row.id: row for row in table.rows}
        rows = choose('row', args.rows or rows, rows)
        jobs = list(make_jobs(table, rows, args))
        for job in jobs:
            check_hashes(job)
        if args.dry_run:
            print_commands(jobs, args)
            return
    except (OSError, ValueError, StepError) as error:
        sys.exit(str(error))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit('Terminated.'))
    try:
        problems = run_all(jobs, args)
    except KeyboardInterrupt:
        sys.exit('Interrupted: the same command goes on from here.')
    report.write(table, args.work_dir, problems=problems)
    if problems:
        sys.exit(f'Not all rows ended well: {", ".join(problems)}.')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('table', help='such as amse/table2, or list')
    add('--rows', nargs='+', metavar='ID', help='only these')
    text = 'Defaults to 0, or to as many from 0 on as the paper has runs.'
    add('--seeds', nargs='+', type=int, help=text)
    work_dir = Path('work_dirs', 'reproduce')
    add('--work-dir', type=Path, default=work_dir, help=f'Or {work_dir}.')
    text = 'print the commands that would run, and write nothing'
    add('--dry-run', action='store_true', help=text)
    trainings.add_launch_options(parser)
    args = parser.parse_args()
    trainings.check_launch_options(args)
    return args


def choose(kind: str, ids: List[str], known: Dict[str, Any]) -> List[Any]:
    """What belongs to some ids."""
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise ValueError(
            f'There is no {kind} {unknown[0]}; there are: {", ".join(known)}.'
        )
    return [known[name] for name in dict.fromkeys(ids)]


def make_jobs(
    table: tables.Table, rows: List[tables.Row], args: argparse.Namespace
) -> Iterator[Job]:
    """The rows that can run, with each seed, in the order of the table.

    Raises:
        OSError: If a config cannot be read.
        ValueError: If a row does not name exactly one config, or the options
            do not fit it.
    """
    options = configs.parse_options(args.cfg_options)

    def read(name: str) -> Tuple[str, Config]:
        path = tables.config_file(name)
        return path, configs.read_config(path, options)

    for row in rows:
        if row.left_out:
            continue
        train = read(row.config)
        test = read(row.test or row.config)
        batch, scale = configs.batch_in_name(train[0]), []
        if batch:
            scale = [f'auto_scale_lr.base_batch_size={math.prod(batch)}']
        gpus = args.gpus or (batch[0] if batch else 1)
        if args.launcher == 'none':
            gpus = 1
        for seed in dict.fromkeys(args.seeds or range(table.seeds)):
            folder = args.work_dir / 'train' / Path(train[0]).stem
            folder = folder / f'seed{seed}'
            changes = [f'randomness.seed={seed}', *scale, *args.cfg_options]
            training = Step(TOOLS / 'train.py', folder, *train, changes, gpus)
            folder = args.work_dir / table.id / row.id / f'seed{seed}'
            changes = output_options(test[1].test_evaluator, folder)
            changes = [*args.cfg_options, *changes]
            testing = Step(TOOLS / 'test.py', folder, *test, changes, gpus)
            yield Job(table, row, seed, training, testing)


def output_options(evaluator: Any, folder: Path) -> List[str]:
    """What makes a metric that writes for a server write into a folder."""
    if isinstance(evaluator, dict):
        metrics = {'test_evaluator': evaluator}
    else:
        metrics = {f'test_evaluator.{i}': m for i, m in enumerate(evaluator)}
    options = []
    for key, metric in metrics.items():
        cls = configs.component_class(metric, METRICS)
        known = signature(cls).parameters if cls else ()
        if 'out_dir' in known:
            options.append(f'{key}.out_dir={folder}')
        elif 'outfile' in known:
            name = Path(metric.get('outfile', 'predictions')).name
            options.append(f'{key}.outfile={folder / name}')
    return options


def check_hashes(job: Job) -> None:
    """Refuse to mix results.

    Raises:
        StepError: If there are results of another config.
    """
    train = job.train
    kept = [job.done]
    if train.ended_well or checkpoint_to_resume(train.folder):
        kept.append(job.begun)
    for path in filter(Path.exists, kept):
        saved = read_json(path)
        steps = dict(config_hash=train, test_config_hash=job.test)
        for key, step in steps.items():
            today = configs.config_hash(step.cfg)
            if saved.get(key, today) != today:
                raise StepError(
                    f'{path.parent} holds results of config hash '
                    f'{saved[key]}, but {step.config} with these '
                    f'--cfg-options has {today}: give another --work-dir.'
                )


def print_commands(jobs: List[Job], args: argparse.Namespace) -> None:
    """Print what would run, for a shell; what is done as comments."""
    shown = set()
    for job in jobs:
        if job.done.exists():
            print(f'# {job}: done')
            continue
        train = job.train
        if train.ended_well:
            checkpoint = shlex.quote(str(checkpoint_to_test(train.folder)))
        else:
            if train.folder not in shown:
                resume = checkpoint_to_resume(train.folder) is not None
                print(shlex.join(trainings.train_command(train, args, resume)))
                shown.add(train.folder)
            # The shell is to find the name.
            folder = shlex.quote(str(train.folder))
            checkpoint = f'"$(cat {folder}/last_checkpoint)"'
            hooks = train.cfg.get('default_hooks') or {}
            if (hooks.get('checkpoint') or {}).get('save_best'):
                checkpoint = f'{folder}/best_*.pth'
        command = shlex.join(test_command(job.test, args, 'CHECKPOINT'))
        print(command.replace(' CHECKPOINT ', f' {checkpoint} '))


def test_command(step: Step, args: argparse.Namespace, path: str) -> List[str]:
    """The command line of a test of a checkpoint."""
    out = str(step.folder / 'metrics.json')
    return trainings.launch_command(step, args, path, '--out', out)


def run_all(jobs: List[Job], args: argparse.Namespace) -> Dict[str, str]:
    """Run what is not done; a row that fails does not stop the others.

    Returns:
        dict: What went wrong, by the row's id.
    """
    problems, failed = {}, {}
    with ExitStack() as locks:
        todo = [job for job in jobs if not job.done.exists()]
        folders = [j.train.folder for j in todo if not j.train.ended_well]
        folders += [job.test.folder for job in todo]
        for folder in dict.fromkeys(folders):
            locks.enter_context(trainings.hold(folder))
        for job in jobs:
            if job not in todo:
                console.print(f'{job}: done')
                continue
            try:
                # Rows that share a training share its failure.
                if job.train.folder in failed:
                    raise failed[job.train.folder]
                if not job.train.ended_well:
                    train(job, args)
                test(job, args)
            except (OSError, StepError) as error:
                if not job.train.ended_well:
                    failed[job.train.folder] = error
                console.print(f'{job}: FAILED: {error}')
                text = f'seed {job.seed}: {error}'
                problems.setdefault(job.row.id, []).append(text)
    return {name: '; '.join(texts) for name, texts in problems.items()}


def train(job: Job, args: argparse.Namespace) -> None:
    """Train, from the start or from where it was cut off."""
    step = job.train
    checkpoint = checkpoint_to_resume(step.folder)
    if checkpoint is not None:
        gpus = read_json(job.begun)['gpus']
        if gpus != step.gpus:
            raise StepError(
                f'{step.folder} was begun on {gpus} GPUs, whose learning rate '
                f'its checkpoints keep, and cannot go on with {step.gpus}.'
            )
    rewind(step.folder, checkpoint)
    begun = dict(
        config=job.row.config,
        config_hash=configs.config_hash(step.cfg),
        cfg_options=args.cfg_options,
        seed=job.seed,
        gpus=step.gpus,
    )
    write_json(job.begun, begun)
    title = f'train {Path(step.config).stem} seed {job.seed}'
    title += f' from {checkpoint.name}' if checkpoint else ''
    resume = checkpoint is not None
    launch(step, title, trainings.train_command(step, args, resume))


def test(job: Job, args: argparse.Namespace) -> None:
    """Test, and write down all that the report needs."""
    step = job.test
    checkpoint = checkpoint_to_test(job.train.folder)
    launch(step, f'test {job}', test_command(step, args, str(checkpoint)))
    files = sorted(path.name for path in step.folder.iterdir())
    record = dict(
        table=job.table.id,
        row=job.row.id,
        seed=job.seed,
        config=job.row.config,
        config_hash=configs.config_hash(job.train.cfg),
        test_config=job.row.test or job.row.config,
        test_config_hash=configs.config_hash(step.cfg),
        cfg_options=args.cfg_options,
        gpus=step.gpus,
        checkpoint=checkpoint.name,
        metrics=read_json(step.folder / 'metrics.json'),
        result_files=[x for x in files if x.endswith(('.zip', '.mat'))],
        date=datetime.now().astimezone().isoformat(timespec='seconds'),
        commit=trainings.commit(),
        versions=trainings.versions(),
    )
    write_json(job.done, record)


def launch(step: Step, title: str, command: List[str]) -> None:
    """Run a script; its output goes to the log, its progress is shown.

    Raises:
        StepError: If it does not end well.
    """
    console.print(f'{title}: {step.log}')
    begin = time.time()
    process = trainings.start(step, command)
    try:
        with status(console) as show:
            while process.poll() is None:
                show(step.progress() or 'starting')
                time.sleep(0.2)
    finally:
        trainings.stop(process)
    trainings.check(step, process)
    took = timedelta(seconds=round(time.time() - begin))
    console.print(f'{title}: done in {took}')


if __name__ == '__main__':
    main()
