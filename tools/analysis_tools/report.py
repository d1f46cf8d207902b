"""Compare what tools/reproduce.py measured with what a table publishes."""

import argparse
import sys
from pathlib import Path

from mmpose_lossplus.experiments import report
from mmpose_lossplus.experiments.tables import load_tables


def main() -> None:
    sys.stdout.reconfigure(errors='replace')  # titles have Greek letters
    tables = load_tables()
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('table', choices=tables, metavar='TABLE', help='such as amse/table2')
    add(
        '--work-dir',
        type=Path,
        default=Path('work_dirs', 'reproduce'),
        help='of tools/reproduce.py. Defaults to work_dirs/reproduce.',
    )
    add('--out', type=Path, help='folder. Defaults to that of the table.')
    args = parser.parse_args()
    report.write(tables[args.table], args.work_dir, args.out)


if __name__ == '__main__':
    main()
