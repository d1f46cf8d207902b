"""Run one of MMPose's installed scripts with mmpose_lossplus imported."""

import argparse
import os.path as osp
import runpy
import sys
from typing import Iterator, Tuple

import mmpose
from mmengine.config import Config, DictAction

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
    cfg = _parse_config()
    if cfg is not None:
        for loader in loaders:
            for name, path in _data_files(cfg.get(loader) or {}):
                if not osp.exists(path):
                    sys.exit(_missing(name, path))
    mmpose_tools = osp.join(osp.dirname(mmpose.__file__), '.mim', 'tools')
    runpy.run_path(osp.join(mmpose_tools, script), run_name='__main__')


def _parse_config() -> Config:
    """The config as the script will see it; None if it has to complain."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('config', nargs='?')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    args, others = parser.parse_known_args()
    if args.config is None or not {'-h', '--help'}.isdisjoint(others):
        return None
    if not osp.isfile(args.config):
        sys.exit(f'The config {args.config} does not exist.')
    cfg = Config.fromfile(args.config)
    if '--no-validate' in others:
        cfg.val_dataloader = None
    cfg.merge_from_dict(args.cfg_options or {})
    return cfg


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
