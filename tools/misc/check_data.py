"""Look for what is wrong with the data of a config, before a training.

Reads all annotation and box files and all pictures that the config names,
through its own data sets, and lists what would end a training or a test, or
silently give wrong numbers, each with what to do. Exits with 1 if there is an
error; a warning may be meant so.
"""

import argparse
import sys

from mmengine.config import DictAction
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmpose_lossplus.experiments.configs import read_config
from mmpose_lossplus.experiments.data_checks import check_data


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
    console = Console(highlight=False)
    faults = check_data(cfg, thorough=not args.no_pictures)
    if not faults:
        console.print('No fault was found.')
        return
    for file in dict.fromkeys(fault.file for fault, _ in faults):
        console.print(Text(file, style='bold'), soft_wrap=True)
        table = Table(box=SIMPLE_HEAD)
        for column in ('', 'number', 'problem', 'first', 'what to do'):
            table.add_column(column, overflow='fold')
        for fault, count in faults:
            if fault.file == file:
                cells = (fault.severity, f'{count}', fault.problem)
                row = (*cells, fault.entry, fault.cure)
                table.add_row(*map(Text, row))
        console.print(table)
    errors = sum(fault.severity == 'error' for fault, _ in faults)
    print(f'{errors} kinds of error, {len(faults) - errors} of warning.')
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    main()
