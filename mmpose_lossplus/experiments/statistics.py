"""Numbers of trainings that differ in the loss and the seed."""

import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, NamedTuple

import numpy as np
from scipy import stats

from .extras import pd

LEVEL = 0.95


class Logged(NamedTuple):
    """What the logs of a training say; the metrics are by epoch."""

    metrics: pd.DataFrame
    seconds: float  # median of an iteration
    logs: List[Path]


def read_logs(folder: Path) -> Logged:
    """Read the logs of a training.

    A training that was cut off has a log for each of its runs. Of what two of
    them say of one epoch or iteration, the later one holds: the weights of
    the earlier one were lost.

    Args:
        folder (Path): Its work folder.

    Returns:
        Logged: All numbers.

    Raises:
        ValueError: If there are no validations in them.
    """
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    iterations: Dict[int, dict] = {}
    validations: Dict[int, dict] = {}
    for log in logs:
        for line in log.read_text(encoding='utf-8').splitlines():
            with suppress(ValueError):  # cut off while writing
                entry = json.loads(line)
                kind = iterations if 'epoch' in entry else validations
                kind[entry.pop('step')] = entry
    if not validations:
        raise ValueError(f'{folder} has no log of a validation.')
    metrics = pd.DataFrame.from_dict(validations, orient='index').sort_index()
    metrics = metrics.drop(columns=['data_time', 'time'], errors='ignore')
    times = [entry.get('time', np.nan) for entry in iterations.values()]
    return Logged(metrics, float(np.median(times or np.nan)), logs)


def paired_differences(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Differences of losses to one of them, paired by seed.

    Args:
        scores (pd.DataFrame): A row for each seed, a column for each loss.
        baseline (str): The loss to compare with.

    Returns:
        pd.DataFrame: For each other loss the mean ``difference``, ``low`` and
        ``high`` of Student's interval of it alone, and ``p`` of the paired
        t-test, corrected for the number of losses; NaN without enough seeds.
    """
    rows = {}
    for loss in scores.columns.drop(baseline, errors='ignore'):
        ours, base = scores.reindex(columns=[loss, baseline]).dropna().T.values
        low = high = p = np.nan
        if len(ours) > 1:
            with warnings.catch_warnings():  # of equal differences
                warnings.simplefilter('ignore', RuntimeWarning)
                test = stats.ttest_rel(ours, base)
            low, high = test.confidence_interval(LEVEL)
            # It is NaN if all differences are zero.
            p = 1.0 if np.isnan(test.pvalue) else test.pvalue
        mean = np.mean(ours - base) if len(ours) else np.nan
        rows[loss] = [mean, low, high, p]
    columns = ['difference', 'low', 'high', 'p']
    table = pd.DataFrame.from_dict(rows, 'index', float, columns)
    return table.assign(p=holm(table['p']))


def holm(p: pd.Series) -> pd.Series:
    """Correct p-values for their number by Holm's method; NaN do not count."""
    ordered = p.dropna().sort_values()
    corrected = ordered * np.arange(len(ordered), 0, -1)
    return corrected.cummax().clip(upper=1.0).reindex(p.index)


def verdict(
    table: pd.DataFrame, score: str, baseline: str, constant: float
) -> str:
    """Which loss for this data, in one sentence.

    Nothing can be said if no loss has learned: if none has a higher mean
    score than a constant prediction. And nothing without a test, for which
    it takes two seeds.

    Args:
        table (pd.DataFrame): By loss, the ``mean`` score and what
            :func:`paired_differences` gives.
        score (str): Name of the score.
        baseline (str): The loss to compare with.
        constant (float): The score of a constant prediction.

    Returns:
        str: The sentence.
    """
    unknown = 'Which loss for this data cannot be said:'
    if not (table['mean'] > constant).any():
        return (
            f'{unknown} no loss has a higher {score} than a constant '
            f'prediction ({constant:.4g}).'
        )
    if table['p'].isna().all():
        return f'{unknown} no loss has two seeds in common with {baseline}.'
    table = table.sort_values('difference', ascending=False)
    p = table['p'].drop(index=baseline, errors='ignore')
    higher = table.index[(table['p'] < 1 - LEVEL) & (table['difference'] > 0)]
    groups = {
        'higher with': higher,
        'lower with': p.index[p < 1 - LEVEL].difference(higher, sort=False),
        'not shown to differ with': p.index[p >= 1 - LEVEL],
        'not tested, for want of common seeds, with': p.index[p.isna()],
    }
    parts = [f'{k} {", ".join(x)}' for k, x in groups.items() if len(x)]
    return (
        f'Take {[*higher, baseline][0]} for this data: against {baseline}, '
        f'{score} is {"; ".join(parts)} (paired t-tests over seeds, at 5 % '
        "after Holm's correction)."
    )
