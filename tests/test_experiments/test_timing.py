import time

import pytest

from mmpose_lossplus.experiments.timing import compare_times


def test_compare_times():
    """A sleep three times as long, whatever else the machine does."""
    steps = {
        name: lambda seconds=seconds: time.sleep(seconds)
        for name, seconds in (('short', 0.02), ('long', 0.06))
    }
    times = compare_times(steps, 'short', rounds=3, threads=1)
    assert list(times) == ['short', 'long']
    assert times['short'][2] == '1.00 / 1.00 / 1.00'
    seconds, milliseconds, ratio = times['long']
    for text, value, unit in (
        (milliseconds, 60, 1e-3),
        (ratio, 3, times['short'][0]),
    ):
        low, median, high = map(float, text.split(' / '))
        assert low <= median <= high
        assert median == pytest.approx(value, rel=0.3)
        assert median * unit == pytest.approx(seconds, rel=0.3)
