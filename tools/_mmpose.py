"""Run one of MMPose's installed scripts with mmpose_lossplus imported."""

import importlib.util
import os.path as osp
import sys
from typing import Iterator, Tuple

import mmpose
from mmengine.config import Config

import mmpose_lossplus  # noqa: F401  registers the components

TOOLS = osp.dirname(osp.abspath(__file__))
ADVICE = {
    'demo': 'python {}'.format(
        osp.join(TOOLS, 'dataset_converters', 'prepare_demo_data.py')
    ),
    'coco': 'mim download mmpose --dataset coco2017',
    'mpii': 'mim download mmpose --dataset mpii',
}


def run(script: str, *loaders: str) -> None:
    """Check the data files of the config on the command line, then run.

    Args:
        script (str): Path of the script in MMPose's tools folder.
        *loaders (str): Keys of the data loaders that the script builds.
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
    cfg = host.merge_args(Config.fromfile(args.config), args)
    for loader in loaders:
        for name, path in _data_files(cfg.get(loader) or {}):
            if not osp.exists(path):
                sys.exit(_missing(name, path))
    host.main()


def _data_files(cfg: dict) -> Iterator[Tuple[str, str]]:
    """Name and path of each annotation or box file, as the dataset sees it."""
    for name, value in cfg.items():
        if name == 'ann_file' and value:
            yield 'annotation', osp.join(cfg.get('data_root') or '', value)
        elif name in ('bbox_file', 'headbox_file') and value:
            yield 'box', value
        elif isinstance(value, dict):
            yield from _data_files(value)
        elif name == 'datasets':
            for dataset in value:
                yield from _data_files(dataset)


def _missing(name: str, path: str) -> str:
    message = f'The {name} file {path} does not exist'
    if name == 'box' and 'coco' in path:
        return (
            f'{message}: download it as docs/en/dataset_zoo of MMPose says, '
            'or set bbox_file=None in the dataset to use ground-truth boxes.'
        )
    for data, command in ADVICE.items():
        if data in path:
            return f'{message}: get it with "{command}".'
    return f'{message}: correct the path in the config.'
