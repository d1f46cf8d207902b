"""Numbers by hand, and by SciPy on the numbers of docs/which_loss/demo."""

import json
import math
import re

import pandas as pd
import pytest
from scipy import stats

from mmpose_lossplus.experiments.statistics import (
    holm,
    paired_differences,
    read_logs,
    verdict,
)

from ..factories import ROOT


def write_scalars(folder, stamp, *entries, end='\n'):
    path = folder / stamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(map(json.dumps, entries)) + end)
    return path


def iteration(epoch, step, time):
    return dict(loss=0.1, time=time, epoch=epoch, iter=step, step=step)


def test_logs_are_joined(tmp_path):
    """Cut off in the third epoch, and gone on with from the first."""
    first = write_scalars(
        *(tmp_path, '20240101_000000'),
        iteration(1, 10, 0.5),
        dict(AP=0.1, time=9.0, data_time=1.0, step=1),
        iteration(2, 20, 0.9),
        dict(AP=0.2, step=2),
        iteration(3, 30, 0.1),
        end='\n{"AP": 0.3, "st',
    )
    second = write_scalars(
        *(tmp_path, '20240102_000000'),
        iteration(2, 20, 0.3),
        dict(AP=0.25, step=2),
        iteration(3, 30, 0.2),
        dict(AP=0.35, step=3, other=1.0),
    )
    metrics, seconds, logs = read_logs(tmp_path)
    assert logs == [first, second]
    assert metrics['AP'].to_dict() == {1: 0.1, 2: 0.25, 3: 0.35}
    assert metrics['other'].iloc[-1] == 1.0
    assert list(metrics) == ['AP', 'other']
    assert seconds == 0.3  # of 0.5, 0.3 and 0.2


def test_no_log(tmp_path):
    write_scalars(tmp_path, '20240101_000000', iteration(1, 10, 0.5))
    with pytest.raises(ValueError, match=str(tmp_path)):
        read_logs(tmp_path)


def test_difference_by_hand():
    """Differences 1 and 3, of which t is 2 and reaches 12.7062 at 95 %."""
    scores = pd.DataFrame(
        dict(mse=[10, 20, 0, 7], x=[11, 23, math.nan, math.nan])
    )
    row = paired_differences(scores, 'mse').loc['x']
    assert row['difference'] == 2
    assert row['low'] == pytest.approx(2 - 12.7062, rel=1e-5)
    assert row['high'] == pytest.approx(2 + 12.7062, rel=1e-5)
    assert row['p'] == pytest.approx(0.29517, rel=1e-4)


def test_differences_are_those_of_scipy():
    path = ROOT / 'docs/which_loss/demo/report.csv'
    scores = pd.read_csv(path).pivot(
        index='seed', columns='loss', values='coco/AP'
    )
    table = paired_differences(scores, 'mse')
    assert set(table.index) == {'amse', 'rmse', 'fmse', 'hmw', 'anchor'}
    p = []
    for loss, row in table.iterrows():
        test = stats.ttest_rel(scores[loss], scores['mse'])
        interval = test.confidence_interval(0.95)
        assert (row['low'], row['high']) == pytest.approx(interval)
        assert row['difference'] == pytest.approx(sum(interval) / 2)
        p.append(test.pvalue)
    assert table['p'].min() == pytest.approx(5 * min(p))


def test_holm_by_hand():
    """0.01 times 4, 0.02 times 3, 0.03 times 2 but not less; NaN is none."""
    p = pd.Series([0.03, 0.01, math.nan, 0.8, 0.02], list('abcde'))
    found = holm(p)
    assert found.dropna().to_dict() == pytest.approx(
        dict(a=0.06, b=0.04, d=0.8, e=0.06)
    )
    assert math.isnan(found['c'])
    assert holm(pd.Series([0.7, 0.6])).tolist() == [1, 1]


@pytest.mark.parametrize(
    ('scores', 'known'),
    [
        (dict(mse=[0.5], x=[0.7]), True),
        (dict(mse=[0.5, math.nan], x=[math.nan, 0.7]), False),
        (dict(x=[0.5, 0.6]), False),
    ],
)
def test_too_few_seeds(scores, known):
    table = paired_differences(pd.DataFrame(scores), 'mse')
    assert table.loc['x', 'difference'] == pytest.approx(
        0.2 if known else math.nan, nan_ok=True
    )
    assert table.loc['x', ['low', 'high', 'p']].isna().all()
    assert 'two seeds' in verdict(table.assign(mean=0.5), 'AP', 'mse', 0)


@pytest.mark.filterwarnings('error')
def test_equal_scores():
    scores = pd.DataFrame(dict(mse=[0.5, 0.6], x=[0.5, 0.6]))
    row = paired_differences(scores, 'mse').loc['x']
    assert row.tolist() == [0, 0, 0, 1]


def judged(constant=0.0, **scores):
    scores = pd.DataFrame(scores)
    table = paired_differences(scores, 'mse')
    table = scores.mean().to_frame('mean').join(table)
    return verdict(table, 'AP', 'mse', constant)


@pytest.mark.parametrize(
    ('other', 'taken', 'how'),
    [
        ([0.7, 0.701, 0.702], 'x', 'higher with x'),
        ([0.2, 0.201, 0.202], 'mse', 'lower with x'),
        ([0.2, 0.5, 0.9], 'mse', 'not shown to differ with x'),
        ([0.9, math.nan, math.nan], 'mse', 'not tested.* with x'),
    ],
)
def test_verdict(other, taken, how):
    """In each of them, good is another that is not lower than mse."""
    found = judged(mse=[0.5] * 3, x=other, same=[0.4, 0.5, 0.6])
    assert found.startswith(f'Take {taken} for')
    assert re.search(f'{how}[ ,;]', found)
    assert 'differ with same' in found.replace('x, ', '')
    assert found.count('.') == 1 + found.count('0.')


def test_verdict_takes_the_best():
    scores = dict(mse=[0.5] * 3, good=[0.6, 0.601, 0.602])
    found = judged(**scores, best=[0.7, 0.701, 0.702])
    assert found.startswith('Take best for')
    assert 'higher with best, good' in found


def test_verdict_without_learning():
    """A constant prediction reaches 0.1: so did these, by 0.09 in the mean."""
    scores = dict(mse=[0.08, 0.1], x=[0.01, 0.02])
    assert 'constant prediction (0.1)' in judged(0.1, **scores)
    assert judged(0.08, **scores).startswith('Take mse')
