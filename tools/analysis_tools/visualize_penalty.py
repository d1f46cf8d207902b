"""Draw what losses charge a model's predictions, pixel by pixel.

A row for each keypoint of each sample: picture, target, prediction, and for
each loss the loss of a pixel, its factor over squared error (over binary
cross entropy for a loss that takes logits) and its gradient. Each column has
colours of its own, the same in all rows. There is no flip test. All losses
see one prediction, as heatmaps (of logits the probabilities) or as logits (of
heatmaps clipped to [0.001, 0.999]).
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any, Iterator, Optional

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpose.datasets.transforms import GenerateTarget
from mmpose.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from mmpose_lossplus.experiments.configs import component_class, read_config
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.experiments.progress import silence
from mmpose_lossplus.experiments.weights import load_from_file, summary
from mmpose_lossplus.visualization import (
    draw_penalties,
    find_keypoints,
    penalty_rows,
)


def build_model(
    cfg: Config, config: str, checkpoint: Optional[str]
) -> nn.Module:
    """Build the model of a config, with weights or random ones."""
    # That of a test-time augmentation is inside.
    model_cfg = cfg.model.get('module', cfg.model)
    if 'backbone' in model_cfg:
        model_cfg.backbone.init_cfg = None
    model = MODELS.build(model_cfg)
    if checkpoint:
        load_from_file(model, checkpoint, config)
        return model
    print('NO CHECKPOINT: the weights are RANDOM.')
    with silence(logging.INFO):  # MMEngine tells of each parameter
        model.init_weights()
    return model


def find_generate_target(value: Any) -> Optional[dict]:
    """The first ``GenerateTarget`` in (a part of) a config."""
    if isinstance(value, dict):
        kind = component_class(value, TRANSFORMS)
        if isinstance(kind, type) and issubclass(kind, GenerateTarget):
            return value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(find_generate_target, value)), None)
    return None


def build_dataset(cfg: Config, split: str) -> Dataset:
    """Build a data set with targets.

    Pipelines that validate and test have none: they get the training's. Their
    people are those with labels, not those that a detector found.
    """
    loader = cfg.get(f'{split}_dataloader')
    generate = find_generate_target(cfg.get('train_dataloader'))
    if loader is None or generate is None:
        raise ValueError(
            f'it has no {split}_dataloader, or no GenerateTarget to train'
        )
    dataset = loader.dataset
    if find_generate_target(dataset) is None:
        if not dataset.get('pipeline'):
            raise ValueError(f'a {dataset.type} has no pipeline of its own')
        dataset.pipeline.insert(-1, generate)
        if dataset.get('bbox_file'):
            dataset.bbox_file = None
    built = DATASETS.build(dataset)
    if not len(built):
        raise ValueError('there are no labelled people')
    return built


def has_label(sample: dict) -> bool:
    labels = sample['data_samples'].gt_instance_labels
    return bool(labels.keypoint_weights.any())


def spaced_samples(dataset: Dataset, num: int) -> Iterator[dict]:
    """Samples spaced over a data set, those with labels if there are any."""
    for part in np.array_split(range(len(dataset)), min(num, len(dataset))):
        samples = map(dataset.__getitem__, part)
        yield next(filter(has_label, samples), None) or dataset[part[0]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='of a top-down heatmap model')
    parser.add_argument(
        'checkpoint', nargs='?', help='path or URL (default: random weights)'
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='test',
        help='whose samples; those of train are augmented (default: test)',
    )
    parser.add_argument(
        '--num', type=int, default=4, help='spaced samples (default: 4)'
    )
    parser.add_argument(
        '--indices', type=int, nargs='+', help='of samples, instead of --num'
    )
    parser.add_argument(
        '--losses',
        nargs='+',
        default=[],
        metavar='LOSS',
        help='several side by side, as tools/compare_losses.py names them: '
        '"mse anchor flat=dict(type=\'AnchorLoss\',gamma=1)" (default: that '
        'of the config)',
    )
    parser.add_argument(
        '--keypoints',
        nargs='+',
        default=[],
        metavar='K',
        help='names or numbers (default: of each sample the one that the '
        'first loss charges most)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs', 'penalty_maps'),
        help='folder of the picture (default: work_dirs/penalty_maps)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}
    )
    # The checkpoint may come after options too.
    args = parser.parse_intermixed_args()
    if args.num < 1:
        parser.error(f'--num must be positive, got {args.num}')
    return args


def draw(args: argparse.Namespace) -> np.ndarray:
    """The grid that was asked for."""
    try:
        cfg = read_config(args.config, args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmpose'))
        # Random weights and augmentation are the same each time.
        set_random_seed(0)
        model = build_model(cfg, args.config, args.checkpoint)
        dataset = build_dataset(cfg, args.split)
    except Exception as error:  # configs, pipelines and data raise anything
        sys.exit(f'{args.config} cannot be drawn: {summary(error)}.')
    # The config has imported what it names, such as the user's own losses.
    losses = parse_losses(args.losses)
    losses = {name: MODELS.build(loss) for name, loss in losses.items()}
    keypoints = find_keypoints(dataset.metainfo, args.keypoints)
    for index in args.indices or ():
        if not 0 <= index < len(dataset):
            raise ValueError(
                f'--indices must be from 0 to {len(dataset) - 1}, the '
                f'{args.split} set of {args.config}, got {index}.'
            )
    if args.indices:
        samples = [dataset[i] for i in args.indices]
    else:
        samples = list(spaced_samples(dataset, args.num))
    batch = pseudo_collate(samples)
    names = list(dataset.metainfo['keypoint_id2name'].values())
    rows = penalty_rows(model, batch, losses or None, keypoints, names)
    return draw_penalties(rows)


def main() -> None:
    args = parse_args()
    try:
        grid = Image.fromarray(draw(args))
    except ValueError as error:
        sys.exit(str(error))
    file = args.out / 'penalty_maps.png'
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        replace(file, lambda path: grid.save(path, format='png'))
    except OSError as error:
        sys.exit(f'--out {args.out} cannot be written: {error.strerror}.')
    print(f'Wrote {file}')


if __name__ == '__main__':
    main()
