"""What a comparison of losses comes to: tables, plots and a verdict."""

import functools
import textwrap
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
from rich.console import Console
from rich.text import Text

from .extras import pd
from .figures import STYLE, plt
from .files import replace, write_text
from .report import markdown_table, sheet
from .statistics import paired_differences, verdict

# docs/diagnostics.md says what they tell.
DIAGNOSTICS = (
    *('heatmap/MSE', 'error/mean', 'error/median', 'side_swaps/swapped'),
    *('double_counting/several peaks', 'double_counting/right peak wins'),
    *('consistency/MSE', 'consistency/objective'),
    *('consistency/MSE by map', 'consistency/objective by map'),
    'consistency/objective at equal MSE',
    *('share/MSE foreground', 'share/objective foreground'),
)
# Okabe and Ito's, beside black for the baseline and grey for all that is left.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9')
GREY = '#BBBBBB'
PEAKS = 'double_counting/right peak wins'


class Comparison:
    """Trainings of several losses, put side by side.

    Args:
        epochs (pd.DataFrame): A row for each validation, with ``loss``,
            ``seed``, ``epoch`` and all metrics.
        trainings (pd.DataFrame): By loss and seed, ``seconds per iteration``
            and ``logs``.
        score (str): Name of the score.
        baseline (str): Name of the loss to compare with.
        target (float, optional): Score to reach. Defaults to 90 % of the
            baseline's mean.
        constant (float): Score of a constant prediction. Defaults to 0.

    Attributes:
        last (pd.DataFrame): ``trainings``, then all metrics of the last epoch.
        scores (pd.DataFrame): The score then, by seed (rows) and loss.
        table (pd.DataFrame): By loss, ``mean``, ``std`` and what
            :func:`paired_differences` gives.
        verdict (str): Which loss, in one sentence.
    """

    def __init__(
        self,
        epochs: pd.DataFrame,
        trainings: pd.DataFrame,
        score: str,
        baseline: str,
        target: Optional[float] = None,
        constant: float = 0.0,
    ) -> None:
        self.epochs, self.score, self.baseline = epochs, score, baseline
        self.constant = constant
        groups = epochs.groupby(['loss', 'seed'], sort=False)
        last = groups.tail(1).set_index(['loss', 'seed'])
        self.scores = last[score].unstack('loss')[epochs['loss'].unique()]
        self.digits = 2 if self.scores.max(axis=None) > 1.5 else 4  # percent?
        if target is None:
            target = 0.9 * self.scores.mean().get(baseline, np.nan)
        self.target = target
        self.mark = f'epochs to {self.number(target)}'
        reached = epochs[epochs[score] >= target]
        first = reached.groupby(['loss', 'seed'])['epoch'].min()
        first = first.reindex(last.index).map('{:.0f}'.format)
        last.insert(1, self.mark, first.replace('nan', 'never'))
        last = last.rename(columns=dict(epoch='epochs'))
        self.last = trainings.drop(columns='logs').join(last)
        self.last['logs'] = trainings['logs']
        self.table = pd.DataFrame(
            dict(mean=self.scores.mean(), std=self.scores.std())
        ).join(paired_differences(self.scores, baseline))
        self.verdict = verdict(self.table, score, baseline, constant)

    def number(self, value: float, sign: str = '') -> str:
        """A score in digits, nothing for NaN."""
        return '' if np.isnan(value) else f'{value:{sign}.{self.digits}f}'

    def summary(self) -> pd.DataFrame:
        """A row for each loss, as it is printed."""
        rows = []
        for loss, row in self.table.iterrows():
            group = self.last.loc[loss]
            std, low, high = map(self.number, row[['std', 'low', 'high']])
            seconds = group['seconds per iteration'].mean()
            difference = self.number(row['difference'], '+')
            p = '' if np.isnan(row['p']) else f'{row["p"]:.3f}'
            rows.append(
                {
                    'loss': loss,
                    'seeds': ', '.join(map(str, group.index)),
                    self.score: self.number(row['mean']),
                    'std': std,
                    f'minus {self.baseline}': difference,
                    '95 %': f'{low} to {high}' if p else '',
                    'p (Holm)': p,
                    self.mark: ', '.join(group[self.mark]),
                    'ms per iteration': f'{1000 * seconds:.0f}',
                }
            )
        return pd.DataFrame(rows)

    def diagnostics(self) -> pd.DataFrame:
        """Mean ±std of the last epoch over seeds, a column for each loss."""
        names = [name for name in DIAGNOSTICS if name in self.last]
        groups = self.last[names].groupby('loss', sort=False)
        means = groups.mean().T.map('{:.3g}'.format)
        text = means + groups.std().T.map(' ±{:.2g}'.format)
        text = text.replace(' ?±?nan', '', regex=True)
        return text.rename_axis('', axis=0).reset_index()

    def method(self) -> List[str]:
        """How the numbers came about."""
        return [
            f'{self.score} is that of the last epoch, std the sample standard '
            'deviation over seeds.',
            f'minus {self.baseline} is the mean difference over common seeds, '
            "with Student's paired interval for this loss alone; p is that of "
            'the paired t-test, corrected for the number of losses. They are '
            'of other seeds, not of other test people.',
            f'{self.mark}, for each seed: by default 90 % of '
            f"{self.baseline}'s mean.",
            'ms per iteration: with the loading of data, and slower if '
            'trainings run side by side.',
            'A constant prediction, each keypoint at its median place in the '
            f'box, has a {self.score} of {self.number(self.constant)}.',
        ]


def print_report(comparison: Comparison, console: Console) -> None:
    """Print the tables and the verdict."""
    tables = [comparison.summary()]
    diagnostics = comparison.diagnostics().set_index('')
    # As many losses side by side as leave each number on its line.
    number = max(1, (console.width - 20) // 17)
    for i in range(0, diagnostics.shape[1], number):
        tables.append(diagnostics.iloc[:, i : i + number].reset_index())
    for table in tables:
        console.print(sheet('', list(table), table.values.tolist()))
    for line in (*comparison.method(), ''):
        console.print(Text(line))
    console.print(Text(comparison.verdict, style='bold'))


def write_report(
    comparison: Comparison, out: Path, title: str, details: List[str]
) -> List[Path]:
    """Write tables and plots of a titled comparison, with details of how."""
    by_seed = comparison.scores.T.map(comparison.number).add_prefix('seed ')
    by_seed = by_seed.rename_axis(comparison.score).reset_index()
    logs = comparison.last['logs'].map('`{}`'.format).reset_index()
    parts = {
        '## Score': comparison.summary(),
        '## Each seed': by_seed,
        '## Diagnostics, mean ±std over seeds': comparison.diagnostics(),
        '## Logs, with all metrics of a training': logs,
    }
    text = [f'# {title}', '\n'.join(f'- {line}' for line in details)]
    for heading, table in parts.items():
        rows = table.astype(str).values.tolist()
        text += [heading, '\n'.join(markdown_table(list(table), rows))]
        if heading == '## Score':
            text += ['\n'.join(f'- {x}' for x in comparison.method())]
            text += ['![score over epochs](curves.png)']
            text += ['![differences](differences.png)']
            if PEAKS in comparison.last:
                text += ['![maps with several peaks](double_counting.png)']
    text += ['## Which loss?', comparison.verdict]
    files = {
        'report.md': '\n\n'.join(text) + '\n',
        'report.csv': comparison.last.to_csv(),
        'epochs.csv': comparison.epochs.to_csv(index=False),
    }
    for name, content in files.items():
        write_text(out / name, content)
    plots = {'curves.png': draw_curves, 'differences.png': draw_differences}
    if PEAKS in comparison.last:
        plots['double_counting.png'] = draw_double_counting
    for name, draw in plots.items():
        with plt.rc_context(STYLE):
            draw(comparison)
            replace(out / name, functools.partial(plt.savefig, format='png'))
            plt.close()
    return [out / name for name in (*files, *plots)]


def colours(comparison: Comparison) -> Dict[str, str]:
    """Colour of each loss.

    The baseline is black. Of more losses than there are colours, the few that
    differ most have one.
    """
    table = comparison.table.drop(index=comparison.baseline, errors='ignore')
    if len(table) > len(COLOURS):
        table = table.loc[table['difference'].abs().nlargest(4).index]
    chosen = {**dict(zip(table.index, COLOURS)), comparison.baseline: 'black'}
    return {loss: chosen.get(loss, GREY) for loss in comparison.table.index}


def draw_curves(comparison: Comparison) -> None:
    """Mean and range over seeds of the score at each epoch."""
    _, axes = plt.subplots(figsize=(8, 4))
    look = colours(comparison)
    others = [loss for loss in look if look[loss] == GREY]
    curves = comparison.epochs.pivot_table(
        comparison.score, 'epoch', ['loss', 'seed'], sort=False
    ).sort_index()
    for i, (loss, colour) in enumerate(look.items()):
        group = curves[loss].dropna()
        x, mean = group.index.to_numpy(), group.mean(axis=1)
        low, high = group.min(axis=1), group.max(axis=1)
        if len(curves) == 1:  # a curve has no length: dots side by side
            x = x + 0.03 * (i - len(look) / 2)
            axes.vlines(x, low, high, color=colour, lw=1.6)
        elif loss not in others:
            axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
        label = '_' if loss in others else loss  # which no legend shows
        style = dict(color=colour, label=label, zorder=2 + (label == loss))
        axes.plot(x, mean, 'o' if len(curves) == 1 else '-', lw=1.6, **style)
    if others:
        names = textwrap.fill(f'others: {", ".join(others)}', 26)
        axes.plot([], color=GREY, label=names)
    target = f'target {comparison.number(comparison.target)}'
    axes.axhline(comparison.target, color='grey', lw=0.8, ls=':', label=target)
    if len(curves) == 1:
        axes.set_xlim(curves.index[0] - 0.5, curves.index[0] + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set(
        xlabel='epoch',
        ylabel=comparison.score,
        title='Score on the test people: mean and range over seeds',
    )
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5))


def draw_differences(comparison: Comparison) -> None:
    """Difference of each loss to the baseline, with interval and seeds."""
    table = comparison.table.dropna(subset='difference')
    base = comparison.scores.get(comparison.baseline)
    _, axes = plt.subplots(figsize=(8, 1.4 + 0.42 * len(table)))
    axes.axvline(0, color='black', lw=1)
    for y, (loss, row) in enumerate(table.iterrows()):
        look = dict(color=colours(comparison)[loss])
        seeds = comparison.scores[loss] - base
        axes.plot(row[['low', 'high']], [y, y], lw=2.5, **look)
        axes.scatter(seeds, [y + 0.22] * len(seeds), s=14, **look)
        axes.scatter(row['difference'], y, s=45, zorder=3, **look)
    axes.set_yticks(range(len(table)), table.index)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.grid(axis='y', visible=False)
    axes.set(
        xlabel=f'{comparison.score} minus that of {comparison.baseline}',
        title='Mean difference with its 95 % interval; small dots are seeds',
    )


def draw_double_counting(comparison: Comparison) -> None:
    """Of maps with several peaks, how often the right one is the highest.

    As the Anchor Loss paper counts where it beats BCE.
    """
    shares = comparison.last[PEAKS].unstack('loss')[comparison.table.index]
    _, axes = plt.subplots(figsize=(8, 1.4 + 0.42 * shares.shape[1]))
    for y, (loss, seeds) in enumerate(shares.items()):
        look = dict(color=colours(comparison)[loss])
        axes.scatter(seeds, [y + 0.22] * len(seeds), s=14, **look)
        axes.scatter(seeds.mean(), y, s=45, zorder=3, **look)
    axes.set_yticks(range(shares.shape[1]), shares.columns)
    axes.set_ylim(shares.shape[1] - 0.4, -0.6)
    axes.grid(axis='y', visible=False)
    axes.set(
        xlabel='highest peak is right, % of the maps with several',
        title='Maps with several peaks: mean; small dots are seeds',
    )
