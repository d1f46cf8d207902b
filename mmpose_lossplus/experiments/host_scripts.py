"""Run one of MMPose's installed scripts with mmpose_lossplus imported."""

import argparse
import errno
import importlib.util
import logging
import os
import os.path as osp
import signal
import sys
import tempfile

import mmpose
from mmengine.config import Config
from mmengine.dist import is_main_process

from .configs import data_files, missing_file, move_data

# A disk that takes no more: full, above a quota or limit, read-only.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def run(script: str, *parts: str) -> None:
    """Check the data files of the config on the command line, then run.

    ``--cfg-options data_root=DIR`` moves every path of the config that lies
    in its own ``data_root`` (see :func:`move_data`). The last line that the
    script prints is :func:`last_line`. What a training saves survives a full
    disk and a kill signal (see :func:`_make_safe`).

    Args:
        script (str): Path of the script in MMPose's tools folder.
        *parts (str): Keys of the loaders and evaluators that it builds.
    """
    mmpose_tools = osp.join(osp.dirname(mmpose.__file__), '.mim', 'tools')
    spec = importlib.util.spec_from_file_location(
        f'mmpose_{osp.splitext(script)[0]}', osp.join(mmpose_tools, script)
    )
    host = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(host)

    args = host.parse_args()
    if not osp.isfile(args.config):
        sys.exit(f'The config {args.config} does not exist.')
    # Options of the script change the config too: --dump makes a list of
    # test_evaluator, --no-validate takes validation away.
    without = argparse.Namespace(**{**vars(args), 'cfg_options': None})
    cfg = host.merge_args(Config.fromfile(args.config), without)
    args.cfg_options = move_data(cfg, args.cfg_options or {})
    cfg.merge_from_dict(args.cfg_options)
    for name, path in data_files({part: cfg.get(part) for part in parts}):
        if not osp.exists(path):
            sys.exit(missing_file(name, path))
    _check_work_dir(cfg.work_dir)
    if script == 'train.py':
        _make_safe(cfg)
    host.parse_args = lambda: args
    host.merge_args = lambda *_: cfg
    # Else processes that load data outlive it, with all that they hold.
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(f'{script} was terminated.')
    )
    # On a full disk the log fails first: with a traceback for each line.
    logging.raiseExceptions = False
    try:
        host.main()
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        advice = ', then go on with --resume' if script == 'train.py' else ''
        sys.exit(
            f'{script} stopped because {error.filename or cfg.work_dir} could '
            f'not be written ({error.strerror}): make room{advice}.'
        )
    if is_main_process():
        print(last_line(script), flush=True)


def _check_work_dir(work_dir: str) -> None:
    """End the script unless the folder is there, or can be, for writing."""
    try:
        os.makedirs(work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir) as file:
            file.write(b'room')
    except OSError as error:
        sys.exit(
            f'The work_dir {work_dir} cannot be written ({error.strerror}): '
            'choose another with --work-dir.'
        )


def _make_safe(cfg: Config) -> None:
    """Make a training one that can be cut off at any time.

    Checkpoints are written as a whole (``SafeCheckpointHook``). If the config
    sets a seed, a training that was cut off and resumed ends in the weights
    of one that was not (``EpochSeedHook``).
    """
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('type') == 'CheckpointHook':
        checkpoint.type = 'mmpose.SafeCheckpointHook'
    if (cfg.get('randomness') or {}).get('seed') is not None:
        seeds = dict(type='mmpose.EpochSeedHook')
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), seeds]


def last_line(script: str) -> str:
    """What a script prints when it has ended well, and only then."""
    return f'{script} has finished.'
