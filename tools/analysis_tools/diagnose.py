"""What a model's heatmaps are like, from a dump of tools/test.py.

Make the dump with

    python tools/test.py CONFIG CHECKPOINT --dump DUMP.pkl --cfg-options
        model.test_cfg.output_heatmaps=True test_dataloader.batch_size=1

On a CPU, MMEngine dumps the heatmaps of the whole batch with each person of
it, so that batches of more than one make the file that many times larger.
"""

import argparse
import inspect
import json
import math
import pickle
import sys
from pathlib import Path
from typing import Dict, List, Optional, Union

import mmengine
from mmengine.config import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress
from mmpose.registry import DATASETS
from rich.console import Console
from rich.table import Table

from mmpose_lossplus import diagnostic_metrics

# Python finds no module one folder up unless it is told.
from mmpose_lossplus.experiments.files import write_text
from mmpose_lossplus.experiments.losses import parse_losses


def load_dump(path: str) -> List[dict]:
    """Load what ``tools/test.py --dump`` wrote.

    Args:
        path (str): The file.

    Returns:
        list[dict]: A data sample for each person.

    Raises:
        ValueError: If it is something else.
    """
    try:
        samples = mmengine.load(path)
    except (OSError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f'The dump {path} cannot be read: {error}.') from None
    if (
        not isinstance(samples, list)
        or not samples
        or not all(
            isinstance(s, dict) and 'pred_instances' in s for s in samples
        )
    ):
        raise ValueError(
            f'{path} is no dump of predictions: make it with tools/test.py '
            '--dump.'
        )
    return samples


def diagnose(
    samples: List[dict],
    cfg: Config,
    norm_item: str,
    losses: Optional[Dict[str, dict]] = None,
) -> Dict[str, Dict[str, float]]:
    """Compute all diagnostics.

    Args:
        samples (list[dict]): A data sample for each person.
        cfg (Config): The config that they were predicted with.
        norm_item (str): What distances are divided by, 'bbox' or 'head'.
        losses (dict[str, dict], optional): Configs of losses to look at, which
            are named in place of 'objective', instead of the config's own.

    Returns:
        dict[str, dict[str, float]]: By what it is, the first line of the
        metric's docstring, its numbers with prefix.

    Raises:
        ValueError: If the dump does not fit the config or has no heatmaps, or
            a loss takes logits and the heatmaps are no probabilities.
    """
    init_default_scope('mmpose')
    evaluators = {}
    for name, loss in (losses or dict(objective=None)).items():
        metrics = diagnostic_metrics(cfg, norm_item, loss)
        if evaluators:  # one has measured what is of no loss
            metrics = [metric for metric in metrics if 'loss' in metric]
        evaluators[name] = Evaluator(metrics)
    # The names of the keypoints need no data.
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
    predicted = samples[0]['pred_instances']['keypoints'].shape[1]
    if predicted != dataset.metainfo['num_keypoints']:
        raise ValueError(
            f'The dump has {predicted} keypoints a person, but the data set '
            f'of the config {dataset.metainfo["num_keypoints"]}: it was made '
            'with another config.'
        )
    table = {}
    for name, evaluator in evaluators.items():
        evaluator.dataset_meta = dataset.metainfo
        numbers = evaluator.offline_evaluate(
            track_iter_progress(samples, file=sys.stderr)
        )
        print(file=sys.stderr)
        for metric in evaluator.metrics:
            title = inspect.getdoc(metric).splitlines()[0].rstrip('.')
            for key, value in numbers.items():
                if key.startswith(f'{metric.prefix}/'):
                    key = key.replace('/objective', f'/{name}')
                    table.setdefault(title, {})[key] = value
    return table


def print_table(table: Dict[str, Dict[str, float]]) -> None:
    """Print the diagnostics."""
    printed = Table('', '', show_header=False)
    printed.columns[1].justify = 'right'
    for title, numbers in table.items():
        printed.add_row(f'[bold]{title}')
        for name, value in numbers.items():
            printed.add_row(name, f'{value:.4g}')
        printed.add_section()
    Console().print(printed)


def finite(value: float) -> Union[float, None]:
    """A number for JSON, which has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('dump', help='what tools/test.py --dump wrote')
    parser.add_argument('config', help='the config that it was made with')
    parser.add_argument('--out', help='JSON file to write the numbers to')
    parser.add_argument(
        '--losses',
        nargs='+',
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
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='overrides of the config, as for tools/test.py',
    )
    args = parser.parse_args()
    for path in (args.dump, args.config):
        if not Path(path).is_file():
            sys.exit(f'The file {path} does not exist.')
    if args.out and not Path(args.out).absolute().parent.is_dir():
        sys.exit(f'The folder of --out {args.out} does not exist.')

    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    try:
        losses = parse_losses(args.losses or [])
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
        numbers = {
            name: finite(value)
            for part in table.values()
            for name, value in part.items()
        }
        write_text(Path(args.out), json.dumps(numbers, indent=2))
        print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
