"""Compare what tools/reproduce.py measured with what a table publishes."""

import argparse
import sys
from pathlib import Path

from mmpose_lossplus.experiments import report
from mmpose_lossplus.experiments.tables import load_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('table', help='such as amse/table2')
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs', 'reproduce'),
        help='of tools/reproduce.py. Defaults to work_dirs/reproduce.',
    )
    parser.add_argument(
        '--out', type=Path, help='folder. Defaults to that of the table.'
    )
    args = parser.parse_args()
    tables = load_tables()
    if args.table not in tables:
        sys.exit(
            f'There is no table {args.table}; there are: {", ".join(tables)}.'
        )
    report.write(tables[args.table], args.work_dir, args.out)


if __name__ == '__main__':
    main()
