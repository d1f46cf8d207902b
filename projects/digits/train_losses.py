"""Train on digits with each loss of the Anchor Loss paper's table 1.

    python projects/digits/make_digits.py
    python projects/digits/train_losses.py

The losses, and the warm-up, are those of the table's configs. What comes out
is printed and written to ``report.md`` and ``report.csv`` in --work-dir:
accuracy and the gap between the true class and its strongest rival on the test
part, after the last epoch.
"""

import argparse
from copy import deepcopy
from pathlib import Path
from typing import Dict, List

import pandas as pd
from mmengine.config import Config
from mmengine.runner import Runner

from mmpose_lossplus.experiments.configs import parse_options, read_config
from mmpose_lossplus.experiments.files import write_text
from mmpose_lossplus.experiments.report import markdown_table
from mmpose_lossplus.experiments.statistics import paired_differences
from mmpose_lossplus.experiments.tables import config_file, load_tables
from mmpose_lossplus.experiments.trainings import commit, versions

CONFIG = Path(__file__).with_name('resnet8_1xb64-30e_digits.py')
# Of the metrics, the titles and digits of the report.
COLUMNS = {
    'accuracy/top1': ('top-1', 2),
    'separation/gap': ('gap', 2),
    'separation/gap of wrong': ('gap of wrong', 1),
    'separation/logit gap': ('logit gap', 2),
}
BASELINE = 'CE'


def loss_configs() -> Dict[str, Config]:
    """The configs of table 1 for CIFAR-10, by the names of their rows."""
    rows = load_tables()['anchor/table1'].rows
    return {
        row.labels[0]: Config.fromfile(config_file(row.config))
        for row in rows
        if row.labels[1] == 'CIFAR-10'
    }


def train(cfg: Config, source: Config, seed: int, work_dir: Path) -> dict:
    """Metrics after a training with the loss of another config."""
    cfg = deepcopy(cfg)
    cfg.model.head.loss = source.model.head.loss
    cfg.custom_hooks = source.get('custom_hooks', [])
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = '_'.join(work_dir.parts)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.test()


def report(results: pd.DataFrame) -> List[str]:
    """Lines of a table: mean ± standard deviation over seeds."""
    scores = results.pivot(
        index='seed', columns='loss', values='accuracy/top1'
    )
    scores = scores[results['loss'].unique()]
    differences = paired_differences(scores, BASELINE)
    rows = []
    for loss, group in results.groupby('loss', sort=False):
        row = [loss]
        for metric, (_, digits) in COLUMNS.items():
            cell = f'{group[metric].mean():.{digits}f}'
            if len(group) > 1:
                cell += f' ± {group[metric].std():.{digits}f}'
            row.append(cell)
        found = differences.reindex([loss]).iloc[0]
        row.append('')
        if found.notna().all():
            row[-1] = '{:+.2f} [{:+.2f}, {:+.2f}]'.format(*found[:3])
        rows.append(row)
    titles = [title for title, _ in COLUMNS.values()]
    header = ['loss', *titles, f'top-1 minus {BASELINE} [95 %]']
    return markdown_table(header, rows, range(1, len(header)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--seeds', nargs='+', type=int, default=[0, 1, 2])
    work_dir = Path('work_dirs', 'digits')
    add('--work-dir', type=Path, default=work_dir, help=f'Or {work_dir}.')
    add('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    args = parser.parse_args()
    cfg = read_config(str(CONFIG), parse_options(args.cfg_options))
    cfg.log_level = 'ERROR'
    results = []
    for loss, source in loss_configs().items():
        for seed in args.seeds:
            folder = args.work_dir / loss.replace(' ', '') / f'seed{seed}'
            metrics = train(cfg, source, seed, folder)
            results.append(dict(loss=loss, seed=seed, **metrics))
            print(f'{loss}, seed {seed}: {metrics["accuracy/top1"]:.2f}')
    results = pd.DataFrame(results)
    made = ', '.join(f'{k} {v}' for k, v in versions().items())
    lines = [*report(results), '', f'Commit {commit()}, {made}.', '']
    print('\n'.join(lines))
    write_text(args.work_dir / 'report.md', '\n'.join(lines))
    write_text(args.work_dir / 'report.csv', results.to_csv(index=False))


if __name__ == '__main__':
    main()
