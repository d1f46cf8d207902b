"""Scripts of tools/ in processes of their own, each in a locked folder."""

import argparse
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import IO, Dict, List, Optional

from mmengine.config import Config

from ..version import __version__
from .configs import ROOT, config_hash
from .host_scripts import last_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmpose', 'mmdet')
PROGRESS = re.compile(r'Epoch\(\w+\).*')
# What only repeats in the lines of MMEngine's log.
NOISE = re.compile(r'(base_lr|lr|time|data_time|memory|grad_norm): \S+ *')


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
    hash: str = field(init=False)
    lock: Optional[IO[str]] = field(init=False, default=None)
    begin: int = field(init=False, default=0)  # of its newest run in the log
    error: Optional[StepError] = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.hash = config_hash(self.cfg)

    @property
    def log(self) -> Path:
        return self.folder / f'{self.script.stem}.log'

    @property
    def ended_well(self) -> bool:
        if not self.log.exists():
            return False
        lines = self.log.read_text(errors='replace').splitlines()
        return last_line(self.script.name) in lines

    def progress(self) -> str:
        """What its log says of the newest iteration, nothing at first."""
        with self.log.open('rb') as log:
            # Much longer than a line of MMEngine's log.
            log.seek(max(self.begin, self.log.stat().st_size - 5000))
            text = log.read().decode(errors='replace')
        found = PROGRESS.findall(text)
        return ' '.join(NOISE.sub('', found[-1]).split()) if found else ''


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Options of how scripts are started, and with which settings."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default='none',
        help='pytorch: all GPUs on this machine. Defaults to none, one GPU.',
    )
    parser.add_argument(
        '--gpus',
        type=int,
        metavar='N',
        help='of a launcher. Defaults to that in the name of the config; with '
        'another, the learning rate is scaled',
    )
    parser.add_argument(
        '--srun-args', default='', help='such as "-p gpu --gres=gpu:4"'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='for all trainings and tests; data_root=DIR moves all the data',
    )


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


def hold(folder: Path) -> IO[str]:
    """Lock a folder, or end the script if another process has it.

    The lock is the open file's: a process that inherits the file holds it
    until it ends, even if this one ends before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / '.lock').open('a+')
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            sys.exit(
                f'{folder} is in use by {lock.read()}: wait until it ends, '
                'or end it, and start again.'
            )
    sign(lock, os.getpid())
    return lock


def sign(lock: IO[str], pid: int) -> None:
    """Say in the lock file which process is at work."""
    lock.seek(0)
    lock.truncate()
    lock.write(f'process {pid} on {platform.node()}')
    lock.flush()


def start(
    step: Step, command: List[str], env: Optional[Dict[str, str]] = None
) -> subprocess.Popen:
    """Run a script of a locked folder; its output goes to the log."""
    # Into the file, not through a pipe: it must not depend on this process.
    with step.log.open('ab') as out:
        step.begin = out.tell()
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=[] if fcntl is None else [step.lock.fileno()],
            env=env,
        )
    sign(step.lock, process.pid)
    return process


def stop(step: Step, process: subprocess.Popen) -> None:
    """End a script that has not ended."""
    if process.poll() is None:
        process.terminate()
        process.wait()
    sign(step.lock, os.getpid())


def check(step: Step, process: subprocess.Popen) -> None:
    """See how a script has ended.

    Raises:
        StepError: If it has not ended well.
    """
    if process.returncode or not step.ended_well:
        with step.log.open('rb') as log:
            log.seek(step.begin)
            lines = log.read().decode(errors='replace').split('\n')
        # A launcher goes on with many lines that do not say why.
        launcher = 'torch.distributed.elastic'
        lines = takewhile(lambda line: launcher not in line, lines)
        words = [line.strip() for line in lines if re.search(r'\w', line)]
        step.error = StepError(
            f'{words[-1] if words else "No output"} ({step.script.name} ended '
            f'with exit code {process.returncode}, see {step.log})'
        )
        raise step.error


def commit() -> str:
    """Commit of this checkout, with +dirty if files differ from it."""

    def git(*args: str) -> str:
        return subprocess.check_output(
            ['git', '-C', ROOT, *args], stderr=subprocess.DEVNULL, text=True
        ).strip()

    try:
        if Path(git('rev-parse', '--show-toplevel')).resolve() != ROOT:
            return 'unknown'
        dirty = git('status', '--porcelain', '--untracked-files=no')
        return git('rev-parse', 'HEAD') + '+dirty' * bool(dirty)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def versions() -> Dict[str, str]:
    """Versions of what the results depend on."""
    found = dict(python=platform.python_version())
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'none'
    found['mmpose_lossplus'] = __version__
    return found
