"""What a model's heatmaps are like, from a dump of tools/test.py.

Make the dump with

    python tools/test.py CONFIG CHECKPOINT --dump DUMP.pkl --cfg-options
        model.test_cfg.output_heatmaps=True test_dataloader.batch_size=1

On a CPU, MMEngine dumps the heatmaps of the whole batch with each person of
it, so that batches of more than one make the file that many times larger.
"""

import argparse
import inspect
import math
import sys
from pathlib import Path
from typing import Dict, List

import mmengine
from mmengine.config import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS
from rich.console import Console
from rich.table import Table

from mmpose_lossplus import diagnostic_metrics
from mmpose_lossplus.experiments.configs import read_config
from mmpose_lossplus.experiments.files import write_json
from mmpose_lossplus.experiments.losses import parse_losses
from mmpose_lossplus.experiments.progress import track
from mmpose_lossplus.experiments.weights import summary

Numbers = Dict[str, Dict[str, float]]


def load_dump(path: str) -> List[dict]:
    """Data samples of people, as ``tools/test.py --dump`` wrote them."""
    try:
        samples = mmengine.load(path)
        samples[0]['pred_instances']
    except Exception as error:  # a pickle can be and raise anything
        raise ValueError(
            f'{path} is no dump of tools/test.py --dump: {summary(error)}.'
        ) from None
    return samples


def diagnose(
    samples: List[dict], cfg: Config, norm_item: str, losses: Dict[str, dict]
) -> Numbers:
    """Compute all diagnostics.

    Args:
        samples (list[dict]): A data sample for each person.
        cfg (Config): The config that they were predicted with.
        norm_item (str): What distances are divided by, 'bbox' or 'head'.
        losses (dict[str, dict]): Losses to look at, named in place of
            'objective'. If there are none, it is the config's own.

    Returns:
        dict[str, dict[str, float]]: By what it is, the first line of the
        metric's docstring, its numbers with prefix.

    Raises:
        ValueError: If the dump does not fit the config or has no heatmaps, or
            a loss takes logits and the heatmaps are no probabilities.
    """
    init_default_scope('mmpose')
    metrics = {
        name: diagnostic_metrics(cfg, norm_item, loss)
        for name, loss in (losses or dict(objective=None)).items()
    }
    # The names of the keypoints need no data.
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
    found = samples[0]['pred_instances']['keypoints'].shape[1]
    expected = dataset.metainfo['num_keypoints']
    if found != expected:
        raise ValueError(
            f'The dump has {found} keypoints a person, but the data set of '
            f'the config {expected}: it was made with another config.'
        )
    table = {}
    for name, configs in metrics.items():
        if table:  # what is of no loss has been measured
            configs = [config for config in configs if 'loss' in config]
        evaluator = Evaluator(configs)
        evaluator.dataset_meta = dataset.metainfo
        numbers = evaluator.offline_evaluate(track(samples, name))
        for metric in evaluator.metrics:
            title = inspect.getdoc(metric).splitlines()[0].rstrip('.')
            for key, value in numbers.items():
                if key.startswith(f'{metric.prefix}/'):
                    key = key.replace('/objective', f'/{name}')
                    table.setdefault(title, {})[key] = value
    return table


def print_table(table: Numbers) -> None:
    """Print the diagnostics."""
    printed = Table('', '', show_header=False)
    printed.columns[1].justify = 'right'
    for title, numbers in table.items():
        printed.add_row(f'[bold]{title}')
        for name, value in numbers.items():
            printed.add_row(name, f'{value:.4g}')
        printed.add_section()
    Console().print(printed)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('dump', help='what tools/test.py --dump wrote')
    parser.add_argument('config', help='the config that it was made with')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    parser.add_argument(
        '--losses',
        nargs='+',
        default=[],
        metavar='LOSS',
        help='what each of these says of the heatmaps, instead of the loss '
        'of the config; named as for tools/compare_losses.py',
    )
    parser.add_argument(
        '--norm-item',
        choices=('bbox', 'head'),
        default='bbox',
        help='what distances are divided by (default: bbox)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Measuring takes minutes.
    if args.out and not args.out.absolute().parent.is_dir():
        sys.exit(f'The folder of --out {args.out} does not exist.')
    try:
        cfg = read_config(args.config, args.cfg_options)
    except Exception as error:  # a config is code
        sys.exit(f'The config {args.config} cannot be read: {summary(error)}.')
    try:
        losses = parse_losses(args.losses)
        table = diagnose(load_dump(args.dump), cfg, args.norm_item, losses)
    except ValueError as error:
        sys.exit(str(error))
    print_table(table)
    if cfg.model.get('test_cfg', {}).get('flip_test'):
        print(
            'The maps are means over a picture and its mirror image '
            '(model.test_cfg.flip_test=True): losses of the picture alone '
            'need a dump with False.'
        )
    if args.out:
        # JSON has no NaN and no infinity.
        numbers = {
            name: value if math.isfinite(value) else None
            for part in table.values()
            for name, value in part.items()
        }
        write_json(args.out, numbers)
        print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
