"""What tools/compare_losses.py says of its trainings: tables and plots."""

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import matplotlib

matplotlib.use('Agg')  # no window: the plots go to files
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.text import Text  # noqa: E402

from .figures import STYLE  # noqa: E402
from .files import replace, write_text  # noqa: E402
from .report import markdown_table, sheet  # noqa: E402
from .statistics import (  # noqa: E402
    LEVEL,
    Difference,
    OtherPeople,
    epochs_to_reach,
    mean_and_spread,
    paired_difference,
)

DIAGNOSTICS = {
    'heatmap/MSE': 'validation MSE',
    'error/mean': 'mean error, of the box',
    'error/median': 'median error, of the box',
    'side_swaps/swapped': 'swapped sides, %',
    'double_counting/several peaks': 'maps with several peaks, %',
    'double_counting/right peak wins': 'of these the right one wins, %',
    'consistency/MSE': 'rank correlation of MSE and error',
    'consistency/objective': 'rank correlation of the loss and error',
    'consistency/MSE by map': 'of MSE and error, by map',
    'consistency/objective by map': 'of the loss and error, by map',
    'consistency/objective at equal MSE': 'the same at equal MSE',
    'share/MSE foreground': 'MSE on foreground, %',
    'share/objective foreground': 'the loss on foreground, %',
}
TITLE, NAME = 24, 12  # characters, for what a number is and for a loss
# Okabe and Ito's colours, two of Tol's and grey; then again, dashed.
COLOURS = ('#000000', '#0072B2', '#56B4E9', '#009E73', '#E69F00')
COLOURS += ('#D55E00', '#CC79A7', '#882255', '#999999')


@dataclass(frozen=True)
class Result:
    """A training that has ended.

    Attributes:
        loss (str): Name of the loss.
        seed (int): The seed.
        logs (list[Path]): Where its numbers are from.
        metrics (dict[int, dict[str, float]]): All metrics by epoch.
        seconds (float): Median time of an iteration.
        others (OtherPeople, optional): Scores on drawn test people; ``None``
            if there are none.
    """

    loss: str
    seed: int
    logs: List[Path]
    metrics: Dict[int, Dict[str, float]]
    seconds: float
    others: Optional[OtherPeople] = None

    @property
    def epochs(self) -> int:
        return max(self.metrics)

    @property
    def final(self) -> Dict[str, float]:
        return self.metrics[self.epochs]

    def curve(self, score: str) -> Dict[int, float]:
        return {epoch: m[score] for epoch, m in sorted(self.metrics.items())}


def read_result(loss: str, seed: int, folder: Path) -> Result:
    """Read what the logs of a training say.

    A training that was cut off has a folder of logs for each of its runs. Of
    what two of them say of one epoch or iteration, the later one holds: the
    weights of the earlier one were lost.

    Args:
        loss (str): Name of the loss.
        seed (int): The seed.
        folder (Path): Work folder.

    Returns:
        Result: Without scores on drawn people.

    Raises:
        ValueError: If there are no validations in them.
    """
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    metrics, seconds = {}, {}
    for log in logs:
        for line in log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut off while writing
                continue
            step = entry.pop('step')
            if 'epoch' in entry:
                seconds[step] = entry.get('time', math.nan)
            else:
                metrics[step] = {
                    key: value
                    for key, value in entry.items()
                    if key not in ('data_time', 'time')
                }
    if not metrics:
        raise ValueError(f'{folder} has no log of a validation.')
    middle = float(np.median(list(seconds.values()) or [math.nan]))
    return Result(loss, seed, logs, metrics, middle)


class Summary(NamedTuple):
    """All that is said of one loss.

    Attributes:
        results (list[Result]): By seed.
        scores (dict[int, float]): Final score by seed.
        reached (dict[int, int | None]): Epoch by seed.
        difference (Difference, optional): To the baseline, if it is another.
        with_people (bool): Whether its interval is over people too.
    """

    results: List[Result]
    scores: Dict[int, float]
    reached: Dict[int, Optional[int]]
    difference: Optional[Difference]
    with_people: bool


class Comparison:
    """Results of several losses, put side by side.

    Args:
        results (list[Result]): Of all trainings that have ended.
        score (str): Name of the score.
        baseline (str): Name of the loss to compare with.
        target (float, optional): Score to reach. ``None`` for 90 % of the
            baseline's mean. Defaults to ``None``.
        asked (sequence[str]): All losses to compare, of which some may have
            no result. Defaults to none.
    """

    def __init__(
        self,
        results: List[Result],
        score: str,
        baseline: str,
        target: Optional[float] = None,
        asked: Sequence[str] = (),
    ) -> None:
        self.score = score
        self.baseline = baseline
        self.asked = asked
        drawn = [r.others for r in results if r.others is not None]
        self.unit = drawn[0].unit if drawn else 'people'
        by_loss: Dict[str, Dict[int, Result]] = {}
        for result in results:
            by_loss.setdefault(result.loss, {})[result.seed] = result
        base = by_loss.get(baseline, {})
        self.given = target is not None
        if target is None:
            finals = [r.final[score] for r in base.values()]
            target = 0.9 * mean_and_spread(finals)[0]
        self.target = target
        self.losses: Dict[str, Summary] = {}
        for loss, group in by_loss.items():
            ours = self._scores(group)
            difference, with_people = None, False
            if loss != baseline and base:
                seeds = sorted({*group} & {*base})
                pairs = [(group[s].others, base[s].others) for s in seeds]
                with_people = bool(pairs) and all(
                    x is not None and y is not None for x, y in pairs
                )
                resampled = None
                if with_people:
                    resampled = np.array(
                        [(x.scores - y.scores)[1:] for x, y in pairs]
                    )
                difference = paired_difference(
                    ours, self._scores(base), resampled
                )
            self.losses[loss] = Summary(
                [group[seed] for seed in sorted(group)],
                ours,
                {
                    seed: epochs_to_reach(group[seed].curve(score), target)
                    for seed in sorted(group)
                },
                difference,
                with_people,
            )
        scores = [x for s in self.losses.values() for x in s.scores.values()]
        self.best = max(
            (x for x in scores if not math.isnan(x)), default=math.nan
        )
        self.digits = 2 if self.best > 1.5 else 4  # percent or a share

    def _scores(self, group: Dict[int, Result]) -> Dict[int, float]:
        return {s: group[s].final[self.score] for s in sorted(group)}

    def number(self, value: float, sign: str = '') -> str:
        """A score in digits."""
        return f'{value:{sign}.{self.digits}f}'

    def mark(self) -> str:
        """Such as ``epochs to 0.5000``, nothing without a target."""
        if math.isnan(self.target):
            return ''
        return f'epochs to {self.number(self.target)}'

    def interval(self, difference: Difference) -> str:
        """Such as ``+0.01 [-0.01, 0.03]``."""
        mean, low, high = (self.number(value, '+') for value in difference[:3])
        return (
            mean if math.isnan(difference.low) else f'{mean} [{low}, {high}]'
        )

    def header(self) -> List[str]:
        """Of :meth:`rows`."""
        return [
            'loss',
            'seeds',
            f'{self.score}, mean ±std',
            f'difference to {self.baseline} [95 %]',
            *([self.mark()] if self.mark() else []),
            'ms per iteration',
        ]

    def rows(self) -> List[List[str]]:
        """A line for each loss."""
        rows = []
        for loss, summary in self.losses.items():
            mean, spread = mean_and_spread(list(summary.scores.values()))
            text = self.number(mean)
            if not math.isnan(spread):
                text += f' ±{self.number(spread)}'
            seconds, _ = mean_and_spread([r.seconds for r in summary.results])
            rows.append(
                [
                    loss,
                    ', '.join(map(str, summary.scores)),
                    text,
                    self.interval(summary.difference)
                    if summary.difference
                    else '',
                    *([_epochs(summary.reached)] if self.mark() else []),
                    f'{1000 * seconds:.0f}',
                ]
            )
        return rows

    def diagnostics(
        self, spreads: bool = True
    ) -> Tuple[List[str], List[List[str]]]:
        """Header and lines of a table with a column for each loss."""
        names = list(self.losses)
        rows = []
        for key, title in DIAGNOSTICS.items():
            cells = []
            for summary in self.losses.values():
                values = [r.final.get(key, math.nan) for r in summary.results]
                mean, spread = mean_and_spread(values)
                text = '' if math.isnan(mean) else f'{mean:.3g}'
                if text and spreads and not math.isnan(spread):
                    text += f' ±{spread:.2g}'
                cells.append(text)
            if any(cells):
                rows.append([title, *cells])
        return ['', *names], rows

    def method(self) -> List[str]:
        """How the numbers came about, a sentence or more each."""
        epochs = {r.epochs for s in self.losses.values() for r in s.results}
        lines = [
            f'{self.score} is that of the last epoch '
            f'({", ".join(map(str, sorted(epochs)))}); std is the sample '
            'standard deviation over seeds.'
        ]
        why = (
            'the score that was asked for'
            if self.given
            else f"90 % of {self.baseline}'s mean, a mark that does not move "
            'when other losses are added'
        )
        if self.mark():
            lines += [
                f'{self.mark().capitalize()}: the first at whose validation '
                f'the score is at least that, which is {why}.'
            ]
        lines += [
            'ms per iteration: median of what is logged, mean over seeds; '
            'with the loading of data, and slower if trainings run side by '
            'side.'
        ]
        compared = {k: s for k, s in self.losses.items() if s.difference}
        if not compared:
            return lines
        lines += [f'Differences are paired by seed.{self._common(compared)}']
        groups: Dict[Tuple[int, bool], List[str]] = {}
        for loss, summary in compared.items():
            key = len(summary.difference.by_seed), summary.with_people
            groups.setdefault(key, []).append(loss)
        for key, names in groups.items():
            whose = f'{", ".join(names)}: ' if len(groups) > 1 else ''
            lines += [whose + self._interval_of(*key)]
        if any(with_people for _, with_people in groups):
            lines += [
                f'Each of the test {self.unit} is drawn as if independent: '
                'with neighbouring frames, or the same people in several '
                'pictures, the interval is too narrow.'
            ]
        n = sum(not math.isnan(s.difference.low) for s in compared.values())
        if n > 1:
            lines += [
                f'{n} intervals are looked at, each for itself: '
                f'{n * (1 - LEVEL):.2g} of them are expected to miss by '
                'chance.'
            ]
        return lines

    def _common(self, compared: Dict[str, Summary]) -> str:
        """Which seeds differences are over, if they are not all."""
        seeds = {seed for s in self.losses.values() for seed in s.scores}
        fewer = [
            f'{", ".join(map(str, summary.difference.by_seed))} of {loss}'
            for loss, summary in compared.items()
            if {*summary.difference.by_seed} != seeds
        ]
        if not fewer:
            return ''
        return (
            f' Only seeds that a loss has in common with {self.baseline} '
            f'count, which are not all: {"; ".join(fewer)}.'
        )

    def _interval_of(self, n: int, with_people: bool) -> str:
        """What intervals over n seeds, and over people or not, are of."""
        if n < 2 and not with_people:
            return 'One seed and no scores by person: there is no interval.'
        if n < 2:
            drawn = (
                f'the test {self.unit} ALONE: with one seed it says nothing '
                'on other trainings.'
            )
        elif with_people:
            drawn = (
                f'seeds and the test {self.unit}, which are the same for all '
                'trainings in a draw.'
            )
        else:
            drawn = 'seeds ALONE: it says nothing on other test people.'
        text = f'The interval is a bootstrap of 95 % over {drawn}'
        if n > 1:
            rate = ''
            if n == 3:
                rate = (
                    ' (with 3, plain percentiles would miss the mean one time '
                    'in four)'
                )
            text += (
                " The part of the seeds is widened to what Student's "
                f'distribution says of {n} numbers{rate}.'
            )
        return text

    def answer(self) -> str:
        """Which loss for this data, in one sentence."""
        base = self.baseline
        known = {
            loss: summary.difference
            for loss, summary in self.losses.items()
            if summary.difference and len(summary.difference.by_seed) > 1
        }
        if not self.best > 0:
            return (
                f'Which loss for this data cannot be said: with a {self.score}'
                f' of {self.number(self.best)} at best, the models have not '
                'learned anything yet.'
            )
        if not known:
            return (
                'Which loss for this data cannot be said: that takes a score '
                f'of {base} and of another loss for at least two seeds.'
            )

        def name(losses: List[str]) -> str:
            return ', '.join(
                f'{loss} ({self.interval(known[loss])})' for loss in losses
            )

        order = sorted(known, key=lambda loss: -known[loss].mean)
        higher = [loss for loss in order if known[loss].low > 0]
        lower = [loss for loss in order if known[loss].high < 0]
        same = [x for x in order if x not in higher and x not in lower]
        others = [f'lower are {name(lower)}'] if lower else []
        if same and (higher or lower):
            shown = 'no difference is shown for ' + ', '.join(same)
            others.append(shown)
        names = dict.fromkeys((*self.losses, *self.asked))
        left_out = [loss for loss in names if loss not in (base, *known)]
        missing = ''
        if left_out:
            missing = '; not compared, with fewer than two common seeds: '
            missing += ', '.join(left_out)
        tail = ('; ' + ', and '.join(others) if others else '') + missing
        if higher:
            first, *rest = higher
            also = f'; higher too are {name(rest)}' if rest else ''
            return (
                f'Take {first} for this data: its {self.score} is higher than '
                f"{base}'s by {self.interval(known[first])}{also}{tail}."
            )
        if not same:
            return (
                f'Take {base} for this data: the {self.score} of all others '
                f'compared is lower, {name(lower)}{missing}.'
            )
        width = max(known[x].high for x in same)
        return (
            f'No loss shows a higher {self.score} than {base} on this data, '
            f'where one by {self.number(width)} could have been missed: take '
            f'{base}, or another for other reasons{tail}.'
        )


def _epochs(reached: Dict[int, Optional[int]]) -> str:
    """Mean and each, such as ``11.5 (11, 12)`` or ``(11, never)``."""
    each = ', '.join(
        'never' if e is None else str(e) for e in reached.values()
    )
    if len(reached) == 1:
        return each
    if None in reached.values():
        return 'never' if set(reached.values()) == {None} else f'({each})'
    return f'{np.mean(list(reached.values())):.1f} ({each})'


def print_report(comparison: Comparison, console: Console) -> None:
    """Print the tables and the answer."""
    console.print(
        sheet('Losses compared', comparison.header(), comparison.rows())
    )
    header, rows = comparison.diagnostics(spreads=False)
    # As many losses side by side as leave each number on its line.
    longest = max(len(cell) for row in (header, *rows) for cell in row[1:])
    number = max(1, (console.width - TITLE) // (1 + min(longest, NAME)))
    for i in range(1, len(header), number):
        part = slice(i, i + number)
        console.print(
            sheet(
                'Diagnostics, mean',
                ['', *header[part]],
                [[row[0], *row[part]] for row in rows],
            )
        )
    for line in comparison.method():
        console.print(Text(line))
    console.print()
    console.print(Text(comparison.answer(), style='bold'))


def write_report(
    comparison: Comparison, out: Path, title: str, details: List[str]
) -> List[Path]:
    """Write the tables and the plots.

    Args:
        comparison (Comparison): What to write.
        out (Path): Folder.
        title (str): What was trained.
        details (list[str]): How, in Markdown.

    Returns:
        list[Path]: The files.
    """
    seeds = sorted({s for x in comparison.losses.values() for s in x.scores})
    each = [
        [
            loss,
            *(
                comparison.number(summary.scores[seed])
                if seed in summary.scores
                else ''
                for seed in seeds
            ),
        ]
        for loss, summary in comparison.losses.items()
    ]
    differences = [
        [
            f'{loss} - {comparison.baseline}',
            *(
                comparison.number(summary.difference.by_seed[seed], '+')
                if seed in summary.difference.by_seed
                else ''
                for seed in seeds
            ),
        ]
        for loss, summary in comparison.losses.items()
        if summary.difference
    ]
    logs = [
        [
            loss,
            str(result.seed),
            ', '.join(f'`{log.relative_to(out)}`' for log in result.logs),
        ]
        for loss, summary in comparison.losses.items()
        for result in summary.results
    ]
    text = [f'# {title}', '', *(f'- {line}' for line in details), '']
    text += [
        '## Score',
        '',
        *markdown_table(comparison.header(), comparison.rows()),
    ]
    text += ['', *(f'- {line}' for line in comparison.method()), '']
    text += ['![score over epochs](curves.png)', '']
    text += ['![differences](differences.png)', '', '## Each seed', '']
    text += markdown_table(
        [comparison.score, *(f'seed {seed}' for seed in seeds)],
        each + differences,
    )
    text += ['', '## Diagnostics', '']
    text += ['Of the last epoch, mean ±std over seeds.', '']
    text += markdown_table(*comparison.diagnostics())
    text += ['', '## Logs', '']
    text += [
        'All numbers of a training are in these, all of its metrics in '
        '`report.csv` (last epoch) and `epochs.csv` (each validation) too.',
        '',
    ]
    text += markdown_table(['loss', 'seed', 'logs'], logs)
    text += ['', '## Which loss?', '', comparison.answer(), '']
    write_text(out / 'report.md', '\n'.join(text))
    write_text(out / 'report.csv', as_csv(last_epochs(comparison, out)))
    write_text(out / 'epochs.csv', as_csv(all_epochs(comparison)))
    for name, draw in (
        ('curves.png', draw_curves),
        ('differences.png', draw_differences),
    ):
        _save(out / name, lambda d=draw: d(comparison))
    names = ('report.md', 'report.csv', 'epochs.csv')
    return [out / x for x in (*names, 'curves.png', 'differences.png')]


def last_epochs(comparison: Comparison, out: Path) -> List[Dict[str, Any]]:
    """A line for each training, with all metrics of its last epoch."""
    lines = []
    for loss, summary in comparison.losses.items():
        for result in summary.results:
            reached = summary.reached[result.seed]
            line: Dict[str, Any] = dict(
                loss=loss, seed=result.seed, epochs=result.epochs
            )
            if comparison.mark():
                line[comparison.mark()] = (
                    'never' if reached is None else reached
                )
            line['seconds per iteration'] = result.seconds
            line.update(result.final)
            line['logs'] = ' '.join(
                str(log.relative_to(out)) for log in result.logs
            )
            lines.append(line)
    return lines


def all_epochs(comparison: Comparison) -> List[Dict[str, Any]]:
    """A line for each validation of each training."""
    return [
        dict(loss=loss, seed=result.seed, epoch=epoch, **metrics)
        for loss, summary in comparison.losses.items()
        for result in summary.results
        for epoch, metrics in sorted(result.metrics.items())
    ]


def as_csv(lines: List[Dict[str, Any]]) -> str:
    """A table with a column for each key."""
    columns = dict.fromkeys(key for line in lines for key in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def look(comparison: Comparison) -> Dict[str, dict]:
    """Colour and line of each loss; the baseline's is black."""
    others = [x for x in comparison.losses if x != comparison.baseline]
    result = {}
    for i, loss in enumerate((comparison.baseline, *others)):
        again, colour = divmod(i, len(COLOURS))
        result[loss] = dict(
            color=COLOURS[colour], ls=('-', '--', ':', '-.')[again % 4]
        )
    return result


def draw_curves(comparison: Comparison) -> None:
    """Mean and range over seeds of the score at each epoch."""
    _, axes = plt.subplots(figsize=(8, 4))
    styles = look(comparison)
    for loss, summary in comparison.losses.items():
        curves = [r.curve(comparison.score) for r in summary.results]
        common = set.intersection(*(set(curve) for curve in curves))
        epochs = sorted(common)
        values = np.array([[c[epoch] for epoch in epochs] for c in curves])
        style = styles[loss]
        marker = 'o' if len(epochs) == 1 else None
        axes.plot(
            *(epochs, values.mean(axis=0)),
            **dict(style, label=loss, marker=marker, lw=1.6),
            zorder=3 if loss == comparison.baseline else 2,
        )
        if len(values) > 1:
            axes.fill_between(
                *(epochs, values.min(axis=0), values.max(axis=0)),
                **dict(color=style['color'], alpha=0.12, lw=0),
            )
    if comparison.mark():
        axes.axhline(comparison.target, color='grey', lw=0.8, ls=':')
        axes.annotate(
            f'target {comparison.number(comparison.target)}',
            *((0.005, comparison.target),),
            xycoords=('axes fraction', 'data'),
            va='bottom',
            color='grey',
        )
    axes.xaxis.get_major_locator().set_params(integer=True)
    counts = sorted({len(s.results) for s in comparison.losses.values()})
    seeds = ' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    over = f': mean and range over {seeds} seeds' if counts[-1] > 1 else ''
    axes.set(
        xlabel='epoch',
        ylabel=comparison.score,
        title=f'Score on the test people{over}',
    )
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5))


def draw_differences(comparison: Comparison) -> None:
    """Difference of each loss to the baseline, with interval and seeds."""
    compared = {
        loss: summary.difference
        for loss, summary in comparison.losses.items()
        if summary.difference
    }
    figure, axes = plt.subplots(figsize=(8, 1.4 + 0.42 * len(compared)))
    styles = look(comparison)
    axes.axvline(0, color='black', lw=1)
    for y, (loss, difference) in enumerate(compared.items()):
        color = styles[loss]['color']
        if not math.isnan(difference.low):
            interval = [difference.low, difference.high]
            axes.plot(interval, [y, y], color=color, lw=2.5)
        seeds = list(difference.by_seed.values())
        axes.scatter(
            seeds, [y + 0.22] * len(seeds), s=14, color=color, alpha=0.6
        )
        axes.scatter([difference.mean], [y], s=45, color=color, zorder=3)
    axes.set_yticks(range(len(compared)), list(compared))
    axes.set_ylim(len(compared) - 0.4, -0.6)
    axes.grid(axis='y', visible=False)
    axes.set(
        xlabel=f'{comparison.score} minus that of {comparison.baseline}',
        title='Mean difference with its 95 % interval; small dots are seeds',
    )


def _save(path: Path, draw: Callable[[], None]) -> None:
    with plt.rc_context(STYLE):
        draw()
        picture = io.BytesIO()
        plt.savefig(picture, format='png')
        plt.close()
    replace(path, lambda partial: partial.write_bytes(picture.getvalue()))
