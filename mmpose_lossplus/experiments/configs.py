"""Configs: how they are read, and the files that they name."""

import argparse
import hashlib
import importlib.util
import json
import os.path as osp
import re
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

from mmengine.config import Config, DictAction
from mmengine.fileio import get_file_backend
from mmengine.registry import Registry
from mmengine.utils import is_abs

PACKAGE = Path(__file__).resolve().parents[1]
# Where configs and tools are: the checkout, or what the wheel has of it.
ROOT = PACKAGE.parent
if not (ROOT / 'setup.py').exists():
    ROOT = PACKAGE / '.mim'
TOOLS = ROOT / 'tools'
# Keys under which configs name files, and what is in those.
DATA_FILES = dict(
    ann_file='annotation',
    bbox_file='box',
    headbox_file='box',
    release_file='release',
    checkpoint='checkpoint',  # of init_cfg
)
# How the path of a missing file ends -> what to do, the first that fits.
CONVERTERS = f'python {TOOLS}/dataset_converters'
ADVICE = {
    'data/demo/*/*': f'get it with "{CONVERTERS}/prepare_demo_data.py"',
    'COCO_test-dev2017_detections_AP_H_609_person.json': 'it is among the '
    "person boxes of HRNet's code, "
    'https://github.com/leoxiaobin/deep-high-resolution-net.pytorch',
    'COCO_val2017_detections_AP_H_56_person.json': 'download it as '
    'docs/en/dataset_zoo of MMPose says, or set bbox_file=None in the dataset '
    'to use ground-truth boxes',
    'data/pretrained/efficientnet_lite?.pth': 'get it with "python '
    f'{TOOLS}/model_converters/efficientnet_lite.py", or set '
    'model.backbone.init_cfg=None to begin with random weights',
    'image_info_test-dev2017.json': 'it is in '
    'http://images.cocodataset.org/annotations/image_info_test2017.zip',
    'person_keypoints_*2017.json': 'get it with "mim download mmpose '
    '--dataset coco2017"',
    'instances_*2017.json': 'get it with "mim download mmdet --dataset '
    'coco2017"',
    'mpii_*_det.json': f'make it with "{CONVERTERS}/mpii_from_detections.py"',
    'mpii_human_pose_v1_u12_1.mat': 'it is among the annotations at '
    'http://human-pose.mpi-inf.mpg.de',
    'mpii_test.json': f'make it with "{CONVERTERS}/mpii_test_to_json.py"',
    'mpii_train.json': 'get it with "mim download mmpose --dataset mpii"',
    'mpii_val.json': 'get it with "mim download mmpose --dataset mpii"',
    'mpii_gt_val.mat': 'get it with "mim download mmpose --dataset mpii"',
    'lsp_*.json': f'make it with "{CONVERTERS}/lsp_to_coco.py"',
}
DRAW_PEOPLE = ROOT / 'projects' / 'drawn_people' / 'draw_people.py'
if DRAW_PEOPLE.exists():  # the wheel has no projects
    drawn = {'data/people/*/*': f'draw it with "python {DRAW_PEOPLE}"'}
    ADVICE = {**drawn, **ADVICE}
# They do not change what comes out.
WITHOUT_EFFECT = ('work_dir', 'resume', 'launcher')


def import_script(path: Path) -> Any:
    """Import a script, which is in no package, without running it."""
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def config_hash(cfg: Config) -> str:
    """Begin of the SHA-256 of all that a config says, in hexadecimal."""
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


def from_file(path: str) -> Config:
    """Read a config.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it needs MMPretrain, and there is none.
    """
    try:
        return Config.fromfile(path)
    except ModuleNotFoundError as error:
        if 'mmpretrain' not in str(error):
            raise
        raise ValueError(
            f'The config {path} needs MMPretrain: run pip install '
            '"mmpose_lossplus[classification]".'
        ) from None


def read_config(path: str, options: Dict[str, Any]) -> Config:
    """Read a config with the options of the user.

    Raises:
        OSError: If it cannot be read.
        ValueError: If the options do not fit it, or see :func:`from_file`.
    """
    cfg = from_file(path)
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


def walk(value: Any, key: str = '') -> Iterator[Tuple[str, Any]]:
    """Dotted key and value of each part of a config, from the top down."""
    yield key, value
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, child in items:
            yield from walk(child, f'{key}.{name}' if key else str(name))


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
        for key, value in walk(cfg.to_dict())
        if isinstance(value, str) and osp.join(value, '').startswith(old)
    }
    return {**moved, **options, 'data_root': new}


def data_files(cfg: dict) -> Iterator[Tuple[str, str, dict]]:
    """Kind and path of each file of data or weights, and what names it."""
    for _, part in walk(cfg):
        for key in DATA_FILES if isinstance(part, dict) else ():
            path = part.get(key)
            if key == 'checkpoint' and '://' in str(path):
                continue  # MMEngine knows such as torchvision://resnet50
            if isinstance(path, str) and path:
                if key == 'ann_file' and not is_abs(path):
                    path = osp.join(part.get('data_root') or '', path)
                yield DATA_FILES[key], path, part


def missing_data(cfg: Config, parts: Iterable[str]) -> Optional[str]:
    """See whether all files of data and weights are where the config says.

    Args:
        cfg (Config): The config.
        parts (iterable[str]): Its keys that count, of loaders, evaluators and
            the model.

    Returns:
        str: What is missing and where to get it, ``None`` if all is there.
    """
    for kind, path, part in data_files({key: cfg.get(key) for key in parts}):
        backend = get_file_backend(path, backend_args=part.get('backend_args'))
        # One for HTTP can only get.
        if hasattr(backend, 'exists') and not backend.exists(path):
            return missing_file(kind, path)
    return None


def missing_file(kind: str, path: str) -> str:
    """What to say of a missing file."""
    parts = PurePosixPath(path.replace('\\', '/'))
    fitting = (text for end, text in ADVICE.items() if parts.match(end))
    advice = next(fitting, 'correct the path in the config')
    return f'The {kind} file {path} does not exist: {advice}.'
