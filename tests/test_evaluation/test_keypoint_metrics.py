"""Peaks, sides and errors on constructed maps and people."""

import math

import numpy as np
import pytest
import torch
from mmpose.datasets.datasets import CocoDataset
from mmpose.evaluation.metrics import PCKAccuracy

from mmpose_lossplus.evaluation import (
    DoubleCounting,
    KeypointErrors,
    SideSwaps,
)

from ..factories import evaluate, sample

SIMCC = dict(type='SimCCLabel', input_size=(48, 64))


@pytest.fixture
def coco():
    return CocoDataset(lazy_init=True).metainfo


def peaks(**values):
    """A map with values at places such as r4c5."""
    output = np.zeros((16, 20))
    for place, value in values.items():
        row, column = place[1:].split('c')
        output[int(row), int(column)] = value
    return output


def count(*outputs, weights=None, **kwargs):
    """Numbers of one person, whose targets are r4c5, by these maps."""
    target = [peaks(r4c5=1.0)] * len(outputs)
    maps = np.stack([outputs, target])
    metric = DoubleCounting(**{**dict(radius=3), **kwargs})
    return evaluate(metric, [sample(*maps, weights)])


def test_double_counting_by_hand():
    table = count(
        peaks(r4c5=1.0),  # one peak
        peaks(r4c5=1.0, r12c15=0.6),  # the right one wins
        peaks(r5c6=0.6, r12c15=1.0),  # it is there and loses
        peaks(r12c5=0.6, r12c15=1.0),  # it is not there
        peaks(r4c5=1.0, r12c15=0.49),  # the second one is too low
        peaks(r4c5=1.0, r7c5=0.9),  # and too near
        peaks(),  # nothing
        peaks(r4c5=-1.0),
    )
    assert table['several peaks'] == 100 * 3 / 8
    assert table['right peak wins'] == pytest.approx(100 / 3)
    assert table['right peak there'] == pytest.approx(200 / 3)


BOTH = (peaks(r4c5=1.0, r12c15=0.6), peaks(r4c5=1.0))
NEAR, FAR = peaks(r4c5=1.0, r7c5=0.9), peaks(r4c9=1.0, r12c15=0.6)
FLAT = peaks(r4c5=1.0, r4c6=1.0, r5c5=1.0, r5c6=1.0)


@pytest.mark.parametrize(
    ('outputs', 'kwargs', 'several', 'wins'),
    [
        # Unlabelled maps do not count.
        (BOTH, dict(), 50, 100),
        (BOTH, dict(weights=[1, 0]), 100, 100),
        (BOTH, dict(weights=[0, 1]), 0, math.nan),
        (BOTH, dict(weights=[0, 0]), math.nan, math.nan),
        ([NEAR], dict(radius=2), 100, 100),
        ([NEAR], dict(radius=2, threshold=0.91), 0, math.nan),
        # The wrong one becomes right with a radius that reaches it.
        ([FAR], dict(radius=3), 100, 0),
        ([FAR], dict(radius=4), 100, 100),
        # A plateau is one peak.
        ([FLAT], dict(), 0, math.nan),
        ([np.ones((16, 20))], dict(), 0, math.nan),
        # Of two equal ones NumPy's and MMPose's argmax take the first.
        ([FLAT + peaks(r12c15=1.0)], dict(), 100, 100),
    ],
)
def test_which_peaks_count(outputs, kwargs, several, wins):
    table = count(*outputs, **kwargs)
    found = [table['several peaks'], table['right peak wins']]
    assert found == pytest.approx([several, wins], nan_ok=True)


def test_radius():
    """By default three sigmas, rounded up, or half of a window."""
    sizes = dict(input_size=(48, 64), heatmap_size=(12, 16))
    codec = dict(type='MSRAHeatmap', sigma=1.5, **sizes)
    assert DoubleCounting(codec).radius == 5
    megvii = dict(type='MegviiHeatmap', kernel_size=11, **sizes)
    assert DoubleCounting(megvii).radius == 5
    hourglass = dict(type='HourglassHeatmap', **sizes)
    assert DoubleCounting(hourglass).radius == 3


def test_peaks_against_a_loop():
    maps = torch.rand(4, 9, 11, dtype=torch.float64)
    metric = DoubleCounting(threshold=0.9, radius=2)
    found = metric._peaks(maps.numpy())
    for k, i, j in np.ndindex(*maps.shape):
        window = maps[k, max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3]
        value = maps[k, i, j]
        expected = value == window.max() and value >= 0.9 * maps[k].max()
        assert found[k, i, j] == expected
    assert 4 < found.sum() < 20


@pytest.mark.parametrize(
    ('metric', 'kwargs', 'got'),
    [
        (DoubleCounting, dict(), 'None'),
        (DoubleCounting, dict(codec=dict(SIMCC)), 'SimCC'),
        (DoubleCounting, dict(radius=3, threshold=1.1), '1.1'),
        (DoubleCounting, dict(radius=0), '0'),
        (SideSwaps, dict(min_distance=-0.1), '-0.1'),
        (SideSwaps, dict(max_distance=math.nan), 'nan'),
        (SideSwaps, dict(norm_item='torso'), 'torso'),
        (KeypointErrors, dict(norm_item='torso'), 'torso'),
    ],
)
def test_bad_arguments(metric, kwargs, got):
    with pytest.raises(ValueError, match=f'got .*{got}'):
        metric(**kwargs)


def test_swaps_by_hand(coco):
    """Shoulders exchanged, one wrist on the other, of 8 pairs each time.

    The person is in a box of 200 pixels; its sides are 50 apart.
    """
    ids = coco['keypoint_name2id']
    person = np.zeros((17, 2))
    for name, i in ids.items():
        person[i] = (-25 if 'right' in name else 25, 10 * i)
    person[ids['nose']] = (0, 0)
    exchanged, doubled, far, across = (person.copy() for _ in range(4))
    both = [ids['left_shoulder'], ids['right_shoulder']]
    exchanged[both] = person[both[::-1]]
    doubled[ids['left_wrist']] = person[ids['right_wrist']]
    far += (200, 1000)  # across the lines from left to right
    across *= (-100, 1)  # beyond the other side
    mirrored = person[coco['flip_indices']]
    some = np.arange(17) != ids['left_shoulder']
    maps = np.zeros((17, 1, 1))
    for metric, predictions, weights, *wanted in (
        (SideSwaps(), [person], None, 0, 0),
        (SideSwaps(), [exchanged], None, 12.5, 12.5),
        (SideSwaps(), [doubled], None, 6.25, 0),
        (SideSwaps(), [far], None, 0, 0),
        (SideSwaps(), [across], None, 0, 0),
        (SideSwaps(), [mirrored], None, 100, 100),
        # 20 pixels, 0.1 of the box, beside the other's is near.
        (SideSwaps(), [mirrored + (0, 20)], None, 100, 100),
        (SideSwaps(), [mirrored + (0, 21)], None, 0, 0),
        (SideSwaps(), [exchanged, doubled, far], None, 300 / 48, 200 / 48),
        # Without one label there is no pair.
        (SideSwaps(), [exchanged], some, 0, 0),
        (SideSwaps(), [doubled], some, 100 / 14, 0),
        (SideSwaps(), [mirrored], np.zeros(17), math.nan, math.nan),
        # Sides are 50 by 10 pixels apart, 0.255 of the box.
        (SideSwaps(0.25), [mirrored], None, 100, 100),
        (SideSwaps(0.26), [mirrored], None, math.nan, math.nan),
    ):
        people = [
            sample(maps, maps, weights, pred, person, size=200.0)
            for pred in predictions
        ]
        table = evaluate(metric, people, **coco)
        assert list(table) == ['swapped', 'exchanged']
        assert [*table.values()] == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize('norm_item', ['bbox', 'head'])
def test_errors_are_those_of_pck(coco, norm_item):
    """PCK is the mean over keypoints of the share below its threshold."""
    rng = np.random.default_rng(0)
    maps = np.zeros((17, 1, 1))
    samples = []
    for size in rng.uniform(50, 200, 20):
        truth = rng.uniform(0, 200, (17, 2))
        pred = truth + rng.normal(0, 20, (17, 2))
        weights = rng.uniform(size=17) > 0.3
        person = sample(maps, maps, weights, pred, truth, size)
        person['gt_instances']['head_size'] = np.array([[size / 3]])
        samples.append(person)
    errors = np.stack([KeypointErrors(norm_item).of(s) for s in samples])
    name = dict(bbox='PCK', head='PCKh')[norm_item]
    expected = evaluate(PCKAccuracy(0.2, norm_item, prefix='pck'), samples)
    below = np.where(np.isnan(errors), np.nan, errors < 0.2)
    found = np.nanmean(below, axis=0).mean()
    assert found == pytest.approx(expected[name])
    for person in samples:
        person['gt_instances']['keypoints_visible'][:, 3] = 0
    errors[:, 3] = np.nan
    table = evaluate(KeypointErrors(norm_item), samples, **coco)
    assert len(table) == 2 * 18
    assert math.isnan(table['left_ear median'])
    assert table['median'] == pytest.approx(np.nanmedian(errors))
    assert table['mean'] == pytest.approx(np.nanmean(errors))


@pytest.mark.parametrize('metric', [KeypointErrors, SideSwaps])
def test_people_without_labels_or_head(metric):
    maps = np.zeros((17, 1, 1))
    placeholder = sample(maps, maps, truth=np.zeros((17, 2)))
    with pytest.raises(ValueError, match='person.jpg .*bbox_file=None'):
        metric().process(None, [placeholder])
    with pytest.raises(AssertionError, match='head_size'):
        metric(norm_item='head').process(None, [sample(maps, maps)])
