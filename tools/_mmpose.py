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
from typing import Any, Dict, Iterator, Tuple

import mmpose
from mmengine.config import Config
from mmengine.dist import is_main_process

import mmpose_lossplus  # noqa: F401  registers the components

TOOLS = osp.dirname(osp.abspath(__file__))
# Part of a missing file's path -> what to do, the first that fits.
ADVICE = {
    'demo': f'get it with "python {TOOLS}/dataset_converters/'
    'prepare_demo_data.py"',
    'people': f'draw it with "python {TOOLS}/dataset_converters/'
    'generate_people.py"',
    'COCO_test-dev2017_detections': "it is among the person boxes of HRNet's "
    'code, https://github.com/leoxiaobin/deep-high-resolution-net.pytorch',
    'person_detection_results': 'download it as docs/en/dataset_zoo of MMPose '
    'says, or set bbox_file=None in the dataset to use ground-truth boxes',
    'image_info_test-dev2017': 'it is in '
    'http://images.cocodataset.org/annotations/image_info_test2017.zip',
    'coco': 'get it with "mim download mmpose --dataset coco2017"',
    '_det.json': f'make it with "python {TOOLS}/dataset_converters/'
    'mpii_from_detections.py"',
    'mpii_human_pose': 'it is among the annotations at '
    'http://human-pose.mpi-inf.mpg.de',
    'mpii_test.json': f'make it with "python {TOOLS}/dataset_converters/'
    'mpii_test_to_json.py"',
    'mpii': 'get it with "mim download mmpose --dataset mpii"',
    'lsp': f'make it with "python {TOOLS}/dataset_converters/lsp_to_coco.py"',
}
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
    for name, path in _data_files({part: cfg.get(part) for part in parts}):
        if not osp.exists(path):
            sys.exit(_missing(name, path))
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


def move_data(cfg: Config, options: Dict[str, Any]) -> Dict[str, Any]:
    """Spell out what ``data_root`` means among ``--cfg-options``.

    MMPose's configs put ``data_root`` before other paths while they are read,
    so that overriding the variable afterwards changes nothing else.

    Args:
        cfg (Config): The config without the options.
        options (dict): Dotted keys and values as parsed from the command line.

    Returns:
        dict: The options, preceded by one for each path in the ``data_root``
        of the config if they name another one. What they say themselves of
        such a path holds.
    """
    old, new = cfg.get('data_root'), options.get('data_root')
    if not old or not new:
        return options
    old, new = osp.join(old, ''), osp.join(str(new), '')
    moved = {
        key: new + value[len(old) :]
        for key, value in _strings(cfg.to_dict())
        if osp.join(value, '').startswith(old)
    }
    return {**moved, **options, 'data_root': new}


def _strings(value: Any, key: str = '') -> Iterator[Tuple[str, str]]:
    """Dotted key and value of each string in a config."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, child in items:
            yield from _strings(child, f'{key}.{name}' if key else str(name))


def _data_files(cfg: dict) -> Iterator[Tuple[str, str]]:
    """Name and path of each annotation or box file, as the dataset sees it."""
    for name, value in cfg.items():
        if name == 'ann_file' and value:
            yield 'annotation', osp.join(cfg.get('data_root') or '', value)
        elif name in ('bbox_file', 'headbox_file') and value:
            yield 'box', value
        elif name == 'release_file':
            yield 'release', value
        elif isinstance(value, dict):
            yield from _data_files(value)
        elif name in ('datasets', 'test_evaluator', 'val_evaluator'):
            for item in value or ():
                yield from _data_files(item)


def _missing(name: str, path: str) -> str:
    fitting = (text for part, text in ADVICE.items() if part in path)
    advice = next(fitting, 'correct the path in the config')
    return f'The {name} file {path} does not exist: {advice}.'
