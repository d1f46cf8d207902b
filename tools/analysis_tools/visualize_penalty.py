"""Draw what losses charge a model's predictions, pixel by pixel.

A row for each keypoint of each sample: picture, target, prediction, and for
each loss the loss of a pixel, its factor over squared error (over binary
cross entropy for a loss that takes logits) and its gradient. Each column has
colours of its own, the same in all rows. There is no flip test. A loss that
takes logits sees those of a heatmap clipped to [0.001, 0.999] if the model
gives heatmaps; one that takes heatmaps sees the probabilities if the model
gives logits.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import cv2
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpose.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import Dataset

from mmpose_lossplus.experiments.configs import move_data

# What the tools share lies in tools/.
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.experiments.weights import load_from_file, summary
from mmpose_lossplus.visualization import (
    draw_penalties,
    find_keypoints,
    penalty_rows,
    pixel_loss,
)


def load_config(path: str, options: Dict[str, Any]) -> Config:
    """Read a config and put options over it."""
    if not Path(path).is_file():
        sys.exit(f'The config {path} does not exist.')
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(move_data(cfg, options))
    except Exception as error:  # a config is code and can raise anything
        sys.exit(f'The config {path} cannot be read: {summary(error)}.')
    if 'model' not in cfg:
        sys.exit(f'The config {path} has no model.')
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    return cfg


def load_model(
    cfg: Config, config: str, checkpoint: Optional[str]
) -> nn.Module:
    """Build the model of a config, with weights or random ones."""
    if checkpoint and not Path(checkpoint).is_file():
        sys.exit(f'The checkpoint {checkpoint} does not exist.')
    # That of a test-time augmentation is inside.
    model_cfg = cfg.model.get('module', cfg.model)
    try:
        if 'backbone' in model_cfg:
            model_cfg.backbone.init_cfg = None
        model = MODELS.build(model_cfg)
    except Exception as error:  # as above
        sys.exit(f'The model of {config} cannot be built: {summary(error)}.')
    if checkpoint is None:
        print('NO CHECKPOINT: the weights are RANDOM.')
        logging.disable(logging.INFO)  # MMEngine tells of each parameter
        model.init_weights()
        logging.disable(logging.NOTSET)
        return model
    load_from_file(model, checkpoint, config)
    return model


def find_transform(value: Any, name: str) -> Optional[dict]:
    """The first transform of a type in (a part of) a config."""
    if isinstance(value, dict):
        if str(value.get('type')).split('.')[-1] == name:
            return value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for child in value:
            found = find_transform(child, name)
            if found is not None:
                return found
    return None


def load_dataset(cfg: Config, config: str, split: str) -> Dataset:
    """Build a data set with targets.

    Pipelines that validate and test have none: they get the training's. Their
    people are those with labels, not those that a detector found.
    """
    loader = cfg.get(f'{split}_dataloader')
    generate = find_transform(cfg.get('train_dataloader'), 'GenerateTarget')
    if loader is None or generate is None:
        sys.exit(
            f'The config {config} has no {split}_dataloader, or no '
            'GenerateTarget in its train_dataloader.'
        )
    dataset = loader.dataset
    if find_transform(dataset, 'GenerateTarget') is None:
        if not dataset.get('pipeline'):
            sys.exit(
                f'The {split} set of {config} has no pipeline of its own, got '
                f'a {dataset.type}.'
            )
        dataset.pipeline.insert(-1, generate)
        if dataset.get('bbox_file'):
            dataset.bbox_file = None
    try:
        return DATASETS.build(dataset)
    except Exception as error:  # pipelines and files can raise anything
        sys.exit(
            f'The {split} set of {config} cannot be loaded: {summary(error)}.'
        )


def spread(dataset: Dataset, num: int) -> Iterator[dict]:
    """Samples spread over a data set, people with labels if there are any."""
    edges = np.linspace(0, len(dataset), min(num, len(dataset)) + 1)
    for begin, end in zip(edges.astype(int), edges.astype(int)[1:]):
        first = None
        for i in range(begin, end):
            sample = dataset[i]
            first = sample if first is None else first
            labels = sample['data_samples'].gt_instance_labels
            if labels.keypoint_weights.any():
                first = sample
                break
        yield first


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='of a top-down heatmap model')
    parser.add_argument(
        'checkpoint', nargs='?', help='its weights (default: random ones)'
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='test',
        help='whose samples; those of train are augmented (default: test)',
    )
    parser.add_argument(
        '--num',
        type=int,
        default=4,
        metavar='N',
        help='samples, spread over the set (default: 4)',
    )
    parser.add_argument(
        '--indices',
        type=int,
        nargs='+',
        metavar='I',
        help='numbers of samples in the set, instead of --num',
    )
    parser.add_argument(
        '--losses',
        nargs='+',
        metavar='LOSS',
        help='several side by side, as tools/compare_losses.py names them: '
        '"mse anchor flat=dict(type=\'AnchorLoss\',gamma=1)" (default: that '
        'of the config)',
    )
    parser.add_argument(
        '--keypoints',
        nargs='+',
        metavar='K',
        help='names or numbers (default: of each sample the one that the '
        'first loss charges most)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('penalty.png'),
        help='picture to write (default: penalty.png)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='changes of the config, such as data_root=DIR',
    )
    # The checkpoint may come after options too.
    return parser.parse_intermixed_args()


def check_out(path: Path) -> None:
    """End unless a picture can be written."""
    if path.suffix.lower() != '.png':
        sys.exit(f'--out must be a .png file, got {path}.')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f'--out {path} cannot be written: {error.strerror}.')
    if path.is_dir():
        sys.exit(f'--out {path} cannot be written: it is a folder.')


def main() -> None:
    args = parse_args()
    if args.num < 1:
        sys.exit(f'--num must be positive, got {args.num}.')
    check_out(args.out)
    losses = None
    if args.losses:
        try:
            losses = parse_losses(args.losses)
        except ValueError as error:
            sys.exit(str(error))
        losses = {name: MODELS.build(x) for name, x in losses.items()}
    cfg = load_config(args.config, args.cfg_options)
    # Random weights and augmentation are the same each time.
    set_random_seed(0)
    model = load_model(cfg, args.config, args.checkpoint)
    try:
        if losses is None:
            pixel_loss(model)
        dataset = load_dataset(cfg, args.config, args.split)
        keypoints = args.keypoints and find_keypoints(
            dataset.metainfo, args.keypoints
        )
        for index in args.indices or ():
            if not 0 <= index < len(dataset):
                sys.exit(
                    f'--indices must be from 0 to {len(dataset) - 1}, the '
                    f'{args.split} set of {args.config}, got {index}.'
                )
        if not len(dataset):
            sys.exit(
                f'The {args.split} set of {args.config} has no labelled '
                'people.'
            )
        samples: List[dict] = (
            [dataset[i] for i in args.indices]
            if args.indices
            else list(spread(dataset, args.num))
        )
        rows = penalty_rows(
            model,
            pseudo_collate(samples),
            losses,
            keypoints,
            list(dataset.metainfo['keypoint_id2name'].values()),
        )
    except ValueError as error:
        sys.exit(str(error))
    grid = draw_penalties(rows)
    _, png = cv2.imencode('.png', grid[..., ::-1])
    try:
        replace(args.out, lambda path: path.write_bytes(png.tobytes()))
    except OSError as error:
        sys.exit(f'--out {args.out} cannot be written: {error.strerror}.')
    print(f'Wrote {args.out}: {len(rows)} rows')


if __name__ == '__main__':
    main()
