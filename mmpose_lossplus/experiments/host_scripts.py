"""Run one of MMPose's installed scripts with mmpose_lossplus imported."""

import argparse
import errno
import locale
import logging
import os
import os.path as osp
import signal
import sys
import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any, List

import mmpose
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import MODELS, DefaultScope
from mmpose.registry import HOOKS
from torch import nn

from ..hooks import EpochSeedHook
from .configs import (
    TOOLS,
    component_class,
    from_file,
    import_script,
    missing_data,
    move_data,
)
from .data_checks import LOADERS, check_data
from .files import lock
from .weights import load_from_file, say_what_fits

# A disk that takes no more: full, above a quota or limit, read-only.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# What a training holds in its work folder as long as it lives.
LOCK = '.train.lock'
# Where launchers say which of its processes this one is.
RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def run(script: str, *parts: str) -> None:
    """Check what is on the command line, then run.

    ``--cfg-options data_root=DIR`` moves every path of the config that lies
    in its own ``data_root`` (see :func:`move_data`). The last line that the
    script prints is :func:`last_line`. A training survives a full disk and a
    kill signal (see :func:`make_safe`), and has its work folder for itself. A
    test refuses a checkpoint of another model, of which MMEngine warns, and a
    training one that has nothing of its model.

    Args:
        script (str): ``train.py`` or ``test.py`` of MMPose's tools folder.
        *parts (str): Keys of what it builds: loaders, evaluators, and a model
            whose weights must be there.
    """
    training = script == 'train.py'
    host = load_host(script)
    args = host.parse_args()
    if not osp.isfile(args.config):
        sys.exit(f'The config {args.config} does not exist.')
    # Options of the script change the config too: --dump makes a list of
    # test_evaluator, --no-validate takes validation away.
    without = argparse.Namespace(**{**vars(args), 'cfg_options': None})
    try:
        cfg = from_file(args.config)
    except ValueError as error:
        sys.exit(str(error))
    cfg = host.merge_args(cfg, without)
    args.cfg_options = move_data(cfg, args.cfg_options or {})
    cfg.merge_from_dict(args.cfg_options)
    missing = missing_data(cfg, parts)
    if missing:
        sys.exit(missing)
    check_work_dir(cfg.work_dir)
    first = os.environ.get(RANKS.get(args.launcher, ''), '0') == '0'
    if first:
        check_labels(cfg, args.config, [x for x in parts if x in LOADERS])
    if training:
        said = make_safe(cfg)
        if cfg.get('load_from') and not cfg.get('resume'):
            load_from = cfg.load_from, args.config
            said.append(say_what_fits(build_model(cfg), *load_from))
        for sentence in said:
            if first:
                print(f'tools/train.py: {sentence}', flush=True)
    elif not args.allow_misfit:
        load_from_file(build_model(cfg), args.checkpoint, args.config)
    host.parse_args = lambda: args
    host.merge_args = lambda *_: cfg
    # Else processes that load data outlive it, with all that they hold.
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(f'{script} was terminated.')
    )
    # On a full disk the log fails first: with a traceback for each line.
    logging.raiseExceptions = False
    alone = training and first
    try:
        with lock(Path(cfg.work_dir, LOCK)) if alone else nullcontext():
            host.main()
    except UnpicklingError as error:  # of load_from, or what it resumes from
        sys.exit(str(error))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        advice = ', then go on with --resume' if training else ''
        sys.exit(
            f'{script} stopped because {error.filename or cfg.work_dir} could '
            f'not be written ({error.strerror}): make room{advice}.'
        )
    if first:
        print(last_line(script), flush=True)


def load_host(script: str) -> Any:
    """Import a script of MMPose, with options of ours in its parser."""
    tools = Path(mmpose.__file__).parent / '.mim' / 'tools'
    host = import_script(tools / script)
    ours = argparse.ArgumentParser(add_help=False)
    if script == 'test.py':
        ours.add_argument(
            '--allow-misfit',
            action='store_true',
            help='test a checkpoint whose weights are not those of the model; '
            'what does not fit stays random',
        )
    host.argparse = SimpleNamespace(
        ArgumentParser=partial(argparse.ArgumentParser, parents=[ours])
    )
    return host


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config, of MMPose or MMDet."""
    scope = cfg.get('default_scope', 'mmpose')
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(cfg.model)


def check_labels(cfg: Config, config: str, parts: List[str]) -> None:
    """Say what is odd in labels and boxes; end the script if it is wrong."""
    errors = []
    for fault, count in check_data(cfg, parts):
        text = f'{fault.file}: {fault.problem} ({count}, {fault.entry})'
        if fault.severity == 'error':
            errors.append(f'{text}: {fault.cure}')
        else:
            print(f'Warning: {text}: {fault.cure}.', flush=True)
    if errors:
        sys.exit(
            f'{errors[0]}; "python {TOOLS}/misc/check_data.py {config}" lists '
            f'all {len(errors)} kinds of error.'
        )


def check_work_dir(work_dir: str) -> None:
    """End the script unless the folder is there, or can be, for writing."""
    encoding = locale.getpreferredencoding(False)
    try:
        str(work_dir).encode(encoding)  # as MMEngine writes last_checkpoint
    except UnicodeError:
        sys.exit(
            f'The work_dir {work_dir} has letters that are not of {encoding}, '
            'the encoding here: set the environment variable PYTHONUTF8=1.'
        )
    try:
        os.makedirs(work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir) as file:
            file.write(b'room')
    except OSError as error:
        sys.exit(
            f'The work_dir {work_dir} cannot be written ({error.strerror}): '
            'choose another with --work-dir.'
        )


def make_safe(cfg: Config) -> list:
    """Make a training one that can be cut off at any time.

    A base config cannot do it: two bases must not both have hooks. One that
    names these hooks is left alone, and trains the same in MMPose's script.

    Args:
        cfg (Config): The config, changed in place.

    Returns:
        list[str]: What was changed, one sentence each.
    """
    changes = []
    hooks = cfg.get('default_hooks') or {}
    # MMEngine adds this one where the config says nothing.
    checkpoint = hooks.get('checkpoint', dict(type=CheckpointHook, interval=1))
    if component_class(checkpoint or {}, HOOKS) is CheckpointHook:
        safe = dict(checkpoint, type='mmpose.SafeCheckpointHook')
        cfg.default_hooks = dict(hooks, checkpoint=safe)
        changes.append(
            'checkpoints are written as a whole or not at all '
            '(SafeCheckpointHook)'
        )
    custom = list(cfg.get('custom_hooks') or ())
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and EpochSeedHook not in [
        component_class(hook, HOOKS) for hook in custom
    ]:
        cfg.custom_hooks = [*custom, dict(type='mmpose.EpochSeedHook')]
        changes.append(
            f'each epoch has random numbers of its own, by seed {seed} '
            '(EpochSeedHook)'
        )
    return changes


def last_line(script: str) -> str:
    """What a script prints when it has ended well, and only then."""
    return f'{script} has finished.'
