"""Look for what is wrong with the data of a config, before a training.

Reads all annotation and box files and all pictures that the config names,
through its own data sets, and lists what would end a training or a test, or
silently give wrong numbers, each with what to do. Exits with 1 if there is an
error; a warning may be meant so.
"""

import argparse
import sys

from mmengine.config import DictAction
from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmpose_lossplus.experiments.configs import read_config
from mmpose_lossplus.experiments.data_checks import (
    LOADERS,
    check_data,
    dataset_configs,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config of MMPose')
    parser.add_argument(
        '--no-pictures',
        action='store_true',
        help='read annotation and box files only, as train.py and test.py do',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}
    )
    args = parser.parse_args()
    try:
        cfg = read_config(args.config, args.cfg_options)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    sets = [x for part in LOADERS for x in dataset_configs(cfg, part)]
    if not sets:
        sys.exit(f'{args.config} names no data set of MMPose with keypoints.')
    faults = check_data(cfg, thorough=not args.no_pictures)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # instead of 80
    files = dict.fromkeys(fault.file for fault, _ in faults)
    for file in files:
        console.print(Text(file, style='bold'), soft_wrap=True)
        table = Table(box=HORIZONTALS)
        for column in ('', 'number', 'problem, and the first', 'what to do'):
            table.add_column(column, overflow='fold')
        for fault, count in faults:
            if fault.file == file:
                problem = f'{fault.problem}\n{fault.entry}'
                row = (fault.severity, str(count), problem, fault.cure)
                table.add_row(*map(Text, row))
        console.print(table)
    errors = sum(fault.severity == 'error' for fault, _ in faults)
    looked = f'{len(sets)} data sets, labels and boxes'
    looked += ' and pictures' * (not args.no_pictures)
    if not faults:
        console.print(f'No fault was found ({looked}).')
        return
    console.print(
        f'Kinds of error: {errors}, of warning: {len(faults) - errors} '
        f'({looked}). An error ends a training or a test '
        'or makes its numbers wrong; a warning may be meant so.'
    )
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    main()
