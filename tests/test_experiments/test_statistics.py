"""Numbers by hand: of logs, of paired tests, and what they come to."""

import json
import math
import re

import pandas as pd
import pytest

from mmpose_lossplus.experiments.statistics import (
    holm,
    paired_differences,
    read_logs,
    verdict,
)


def test_logs_are_joined(tmp_path):
    """Cut off in the third epoch, and gone on with from the first."""

    def write_scalars(stamp, *entries, end='\n'):
        path = tmp_path / stamp / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, entries)) + end)
        return path

    with pytest.raises(ValueError, match=str(tmp_path)):
        read_logs(tmp_path)
    first = write_scalars(
        '20240101_000000',
        dict(time=0.5, epoch=1, step=10),
        dict(AP=0.1, time=9.0, data_time=1.0, step=1),
        dict(time=0.9, epoch=2, step=20),
        dict(AP=0.2, step=2),
        dict(time=0.1, epoch=3, step=30),
        end='\n{"AP": 0.3, "st',
    )
    second = write_scalars(
        '20240102_000000',
        dict(time=0.3, epoch=2, step=20),
        dict(AP=0.25, step=2),
        dict(time=0.2, epoch=3, step=30),
        dict(AP=0.35, step=3, other=1.0),
    )
    metrics, seconds, logs = read_logs(tmp_path)
    assert logs == [first, second]
    assert metrics['AP'].to_dict() == {1: 0.1, 2: 0.25, 3: 0.35}
    assert metrics['other'].iloc[-1] == 1.0
    assert list(metrics) == ['AP', 'other']
    assert seconds == 0.3  # of 0.5, 0.3 and 0.2


@pytest.mark.filterwarnings('error')
def test_differences_by_hand():
    """Differences 1 and 3, of which t is 2 and reaches 12.7062 at 95 %."""
    x = [11, 23, math.nan, math.nan]
    scores = pd.DataFrame(dict(mse=[10, 20, 0, 7], x=x))
    # Holm doubles the lower p of two; one of equal scores is 1.
    scores['same'] = scores['mse']
    table = paired_differences(scores, 'mse')
    assert table.loc['x'].tolist() == pytest.approx(
        [2, 2 - 12.7062, 2 + 12.7062, 2 * 0.29517], rel=1e-4
    )
    assert table.loc['same'].tolist() == [0, 0, 0, 1]


def test_holm_by_hand():
    """0.01 times 4, 0.02 times 3, 0.03 times 2 but not less; NaN is none."""
    p = pd.Series([0.03, 0.01, math.nan, 0.8, 0.02], list('abcde'))
    assert holm(p).to_dict() == pytest.approx(
        dict(a=0.06, b=0.04, c=math.nan, d=0.8, e=0.06), nan_ok=True
    )
    assert holm(pd.Series([0.7, 0.6])).tolist() == [1, 1]


@pytest.mark.parametrize(
    ('scores', 'difference'),
    [
        (dict(mse=[0.5], x=[0.7]), 0.2),
        (dict(mse=[0.5, math.nan], x=[math.nan, 0.7]), math.nan),
        (dict(x=[0.5, 0.6]), math.nan),
    ],
)
def test_too_few_seeds(scores, difference):
    table = paired_differences(pd.DataFrame(scores), 'mse')
    found = table.loc['x', 'difference']
    assert found == pytest.approx(difference, nan_ok=True)
    assert table.loc['x', ['low', 'high', 'p']].isna().all()
    assert 'two seeds' in verdict(table.assign(mean=0.5), 'AP', 'mse', 0)


GOOD, SAME = [0.6, 0.601, 0.602], [0.4, 0.5, 0.6]


@pytest.mark.parametrize(
    ('x', 'y', 'constant', 'start', 'how'),
    [
        ([0.7, 0.701, 0.702], GOOD, 0, 'Take x', 'higher with x, y'),
        ([0.55, 0.551, 0.552], GOOD, 0, 'Take y', 'higher with y, x'),
        ([0.2, 0.201, 0.202], SAME, 0, 'Take mse', 'lower with x; .* with y'),
        ([0.2, 0.5, 0.9], GOOD, 0, 'Take y', 'not shown to differ with x'),
        ([0.9, math.nan, math.nan], GOOD, 0, 'Take y', 'not tested.* with x'),
        # As good as one that has learned nothing.
        (SAME, GOOD, 0.601, 'Which loss', r'constant .*\(0.601\)'),
        (SAME, GOOD, 0.6, 'Take y', 'not shown to differ with x'),
    ],
)
def test_verdict(x, y, constant, start, how):
    scores = pd.DataFrame(dict(mse=[0.5] * 3, x=x, y=y))
    table = paired_differences(scores, 'mse')
    table = scores.mean().to_frame('mean').join(table)
    found = verdict(table, 'AP', 'mse', constant)
    assert found.startswith(start)
    assert re.search(how, found)
