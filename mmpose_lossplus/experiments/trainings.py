"""Scripts of tools/ in processes of their own, each in a locked folder."""

import argparse
import platform
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from mmengine.config import Config

from .configs import ROOT
from .files import lock
from .host_scripts import LOCK, last_line

PACKAGES = (
    'torch',
    'mmengine',
    'mmcv',
    'mmpose',
    'mmdet',
    'mmpretrain',
    'mmpose_lossplus',
)
PROGRESS = re.compile(r'Epoch\(\w+\).*')
# What only repeats in the lines of MMEngine's log.
NOISE = re.compile(r'(base_lr|lr|time|data_time|memory|grad_norm): \S+ *')
# Begins the line of a log that says what is run, before what that prints.
COMMAND = '\n$ '


class StepError(Exception):
    """Why a training or a test cannot go on, in one sentence."""


@dataclass
class Step:
    """A training or a test.

    Args:
        script (Path): The script.
        folder (Path): Where all that it writes goes.
        config (str): Path of the config.
        cfg (Config): The config with the options of the user.
        options (List[str]): ``key=value`` for the script.
        gpus (int): Number of processes.
    """

    script: Path
    folder: Path
    config: str
    cfg: Config
    options: List[str]
    gpus: int

    @property
    def log(self) -> Path:
        return self.folder / f'{self.script.stem}.log'

    @property
    def ended_well(self) -> bool:
        return last_line(self.script.name) in self.output().splitlines()

    def output(self, tail: int = 0) -> str:
        """What its newest run has printed.

        Args:
            tail (int): Look only at so many bytes. Defaults to 0, all.
        """
        if not self.log.exists():
            return ''
        with self.log.open('rb') as log:
            log.seek(max(0, self.log.stat().st_size - tail) if tail else 0)
            text = log.read().decode('utf-8', errors='replace')
        return text.rpartition(COMMAND)[2]

    def progress(self) -> str:
        """What its log says of the newest iteration, nothing at first."""
        # Much longer than a line of MMEngine's log.
        found = PROGRESS.findall(self.output(tail=5000))
        return ' '.join(NOISE.sub('', found[-1]).split()) if found else ''


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Options of how scripts are started, and with which settings."""
    add = parser.add_argument
    add(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default='none',
        help='pytorch: all GPUs on this machine. Defaults to none, one GPU.',
    )
    gpus = 'of a launcher. Defaults to that in the name of the config; with '
    gpus += 'another, the learning rate is scaled'
    add('--gpus', type=int, metavar='N', help=gpus)
    add('--srun-args', default='', help='such as "-p gpu --gres=gpu:4"')
    options = 'for all trainings and tests; data_root=DIR moves all the data'
    key = 'KEY=VALUE'
    add('--cfg-options', nargs='+', default=[], metavar=key, help=options)


def check_launch_options(args: argparse.Namespace) -> None:
    """End the script if they cannot be; a dry run needs no srun."""
    for option in args.cfg_options:
        if '=' not in option:
            sys.exit(f'--cfg-options takes KEY=VALUE, got {option}.')
        if option.startswith('randomness.seed='):
            sys.exit(f'Give seeds as --seeds, got --cfg-options {option}.')
    if args.launcher == 'none' and args.gpus not in (None, 1):
        sys.exit(f'--gpus {args.gpus} needs --launcher pytorch or slurm.')
    if args.gpus is not None and args.gpus < 1:
        sys.exit(f'--gpus must be at least 1, got {args.gpus}.')
    slurm = args.launcher == 'slurm' and not getattr(args, 'dry_run', False)
    if slurm and shutil.which('srun') is None:
        sys.exit('--launcher slurm needs the command srun, found none.')


def launch_command(
    step: Step, args: argparse.Namespace, *more: str
) -> List[str]:
    """The command line of a step with the launcher before it."""
    command = [sys.executable, str(step.script), step.config, *more]
    command += ['--work-dir', str(step.folder), '--launcher', args.launcher]
    if step.options:
        command += ['--cfg-options', *step.options]
    if args.launcher == 'pytorch':
        run_module = ['-m', 'torch.distributed.run', '--standalone']
        run_module += ['--nproc_per_node', str(step.gpus)]
        command[1:1] = run_module
    elif args.launcher == 'slurm':
        srun = ['srun', '--ntasks', str(step.gpus), '--kill-on-bad-exit=1']
        command = [*srun, *shlex.split(args.srun_args), *command]
    return command


def train_command(
    step: Step, args: argparse.Namespace, resume: bool
) -> List[str]:
    """The command line of a training."""
    more = ['--auto-scale-lr'] if 'auto_scale_lr' in step.cfg else []
    # Without a checkpoint, --resume would only drop the config's load_from.
    return launch_command(step, args, *more, *['--resume'] * resume)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Have a folder for this process alone, or end it if another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / '.lock'):
        # A training may have outlived the process that started it.
        with lock(folder / LOCK):
            pass
        yield


def start(
    step: Step, command: List[str], env: Optional[Dict[str, str]] = None
) -> subprocess.Popen:
    """Run a script of a locked folder; its output goes to the log."""
    # Into the file, not through a pipe: it must not depend on this process.
    with step.log.open('ab') as out:
        out.write(f'{COMMAND}{shlex.join(command)}\n'.encode())
        out.flush()
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=env
        )


def stop(process: subprocess.Popen) -> None:
    """End a script that has not ended."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def check(step: Step, process: subprocess.Popen) -> None:
    """See how a script has ended.

    Raises:
        StepError: If it has not ended well.
    """
    if process.returncode or not step.ended_well:
        # Its first line is the command, and a launcher goes on with many
        # lines that do not say why.
        launcher = 'torch.distributed.elastic'
        lines = takewhile(
            lambda line: launcher not in line, step.output().split('\n')[1:]
        )
        words = [line.strip() for line in lines if re.search(r'\w', line)]
        raise StepError(
            f'{words[-1] if words else "No output"} ({step.script.name} ended '
            f'with exit code {process.returncode}, see {step.log})'
        )


def commit() -> str:
    """Commit of this checkout, with +dirty if files differ from it."""
    command = ['git', f'--git-dir={ROOT}/.git', f'--work-tree={ROOT}']
    command += ['describe', '--always', '--abbrev=40', '--exclude=*']
    command += ['--dirty=+dirty']
    try:
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def versions() -> Dict[str, str]:
    """Versions of what the results depend on."""
    found = dict(python=platform.python_version())
    for name in PACKAGES:
        try:
            found[name] = import_module(name).__version__
        except ImportError:
            found[name] = 'none'
    return found
