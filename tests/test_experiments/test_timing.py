import time

import pytest

from mmpose_lossplus.experiments.timing import compare_times


def test_compare_times():
    steps = dict(short=lambda: time.sleep(0.02), long=lambda: time.sleep(0.06))
    times = compare_times(steps, 'short', rounds=3, threads=1)
    assert list(times) == ['short', 'long']
    assert times['short'][2] == '1.00 / 1.00 / 1.00'
    seconds, milliseconds, ratio = times['long']
    assert seconds == pytest.approx(0.06, rel=0.3)
    for text, value in ((milliseconds, 1e3 * seconds), (ratio, 3)):
        low, median, high = map(float, text.split(' / '))
        assert low <= median <= high
        assert median == pytest.approx(value, rel=0.3)
