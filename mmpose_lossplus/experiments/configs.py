"""Configs: how they are read, and the files that they name."""

import argparse
import hashlib
import json
import os.path as osp
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mmengine.config import Config, DictAction
from mmengine.registry import Registry

PACKAGE = Path(__file__).resolve().parents[1]
# Where configs and tools are: the checkout, or what the wheel has of it.
ROOT = PACKAGE.parent
if not (ROOT / 'setup.py').exists():
    ROOT = PACKAGE / '.mim'
TOOLS = ROOT / 'tools'
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
# They do not change what comes out.
WITHOUT_EFFECT = ('work_dir', 'resume', 'launcher')


def config_hash(cfg: Config) -> str:
    """Fingerprint of all that a config says.

    Args:
        cfg (Config): The config, with the options of the user.

    Returns:
        str: First 12 hexadecimal digits of the SHA-256 of its text.
    """
    content = cfg.to_dict()
    for key in WITHOUT_EFFECT:
        content.pop(key, None)
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def parse_options(options: List[str]) -> Dict[str, Any]:
    """Values of ``--cfg-options``, as MMPose's scripts read them.

    Raises:
        ValueError: If they cannot be read.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction)
    try:
        return parser.parse_args(['--cfg-options', *options]).cfg_options
    except AssertionError as error:  # of brackets
        raise ValueError(f'--cfg-options cannot be read: {error}') from None


def read_config(path: str, options: Dict[str, Any]) -> Config:
    """Read a config with the options of the user.

    Raises:
        OSError: If it cannot be read.
        ValueError: If the options do not fit it.
    """
    cfg = Config.fromfile(path)
    try:
        cfg.merge_from_dict(move_data(cfg, options))
    except (KeyError, TypeError) as error:
        raise ValueError(f'--cfg-options do not fit {path}: {error}') from None
    return cfg


def batch_in_name(config: str) -> Optional[Tuple[int, int]]:
    """Number of GPUs, and of samples on each, that a config's name says.

    The learning rate belongs to that batch. MMPose's own ``base_batch_size``
    is 512 in configs of 8xb32, too.

    Args:
        config (str): Path of the config.

    Returns:
        tuple[int, int]: ``None`` if the name does not say.
    """
    found = re.search(r'[-_](\d+)xb(\d+)', Path(config).stem)
    return (int(found[1]), int(found[2])) if found else None


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


def component_class(cfg: dict, registry: Registry) -> Optional[type]:
    """Class that a component's config asks for.

    Args:
        cfg (dict): The component, whose ``type`` is a class or its name.
        registry (Registry): Where names are looked up.

    Returns:
        type: ``None`` if there is no type, or nothing of that name.
    """
    kind = cfg.get('type')
    return registry.get(kind) if isinstance(kind, str) else kind


def data_files(cfg: dict) -> Iterator[Tuple[str, str]]:
    """Name and path of each annotation or box file, as the dataset sees it."""
    for name, value in cfg.items():
        if name == 'ann_file' and value:
            yield 'annotation', osp.join(cfg.get('data_root') or '', value)
        elif name in ('bbox_file', 'headbox_file') and value:
            yield 'box', value
        elif name == 'release_file':
            yield 'release', value
        elif isinstance(value, dict):
            yield from data_files(value)
        elif name in ('datasets', 'test_evaluator', 'val_evaluator'):
            for item in value or ():
                yield from data_files(item)


def missing_file(name: str, path: str) -> str:
    fitting = (text for part, text in ADVICE.items() if part in path)
    advice = next(fitting, 'correct the path in the config')
    return f'The {name} file {path} does not exist: {advice}.'
