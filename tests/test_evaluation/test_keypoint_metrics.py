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

RIGHT = (4, 5)  # row and column
SIMCC = dict(type='SimCCLabel', input_size=(48, 64))


@pytest.fixture(scope='module')
def coco():
    return CocoDataset(lazy_init=True).metainfo


def peaks(**values):
    """A map with values at places such as r4c5, and a target at RIGHT."""
    output = np.zeros((16, 20))
    for place, value in values.items():
        row, column = place[1:].split('c')
        output[int(row), int(column)] = value
    return output


def count(*outputs, weights=None, **kwargs):
    """Numbers of one person with these maps, radius 3 by default."""
    target = np.zeros((len(outputs), 16, 20))
    target[(slice(None), *RIGHT)] = 1
    metric = DoubleCounting(**{**dict(radius=3), **kwargs})
    return evaluate(metric, [sample(np.stack(outputs), target, weights)])


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
    assert table == pytest.approx(
        {
            'several peaks': 100 * 3 / 8,
            'right peak wins': 100 / 3,
            'right peak there': 200 / 3,
        }
    )


def test_unlabelled_maps_do_not_count():
    outputs = peaks(r4c5=1.0, r12c15=0.6), peaks(r4c5=1.0)
    assert count(*outputs)['several peaks'] == 50
    assert count(*outputs, weights=[1, 0])['several peaks'] == 100
    table = count(*outputs, weights=[0, 1])
    assert table['several peaks'] == 0
    assert math.isnan(table['right peak wins'])
    table = count(*outputs, weights=[0, 0])
    assert all(math.isnan(value) for value in table.values())


def test_radius_and_threshold():
    """By default three sigmas, rounded up, or half of OpenCV's kernel."""
    sizes = dict(input_size=(48, 64), heatmap_size=(12, 16))
    codec = dict(type='MSRAHeatmap', sigma=1.5, **sizes)
    assert DoubleCounting(codec).radius == 5
    megvii = dict(type='MegviiHeatmap', kernel_size=11, **sizes)
    assert DoubleCounting(megvii).radius == 5
    near = peaks(r4c5=1.0, r7c5=0.9)
    assert count(near, radius=2)['several peaks'] == 100
    assert count(near, radius=2, threshold=0.91)['several peaks'] == 0
    # The wrong one becomes right with a radius that reaches it.
    far = peaks(r4c9=1.0, r12c15=0.6)
    assert count(far, radius=3)['right peak wins'] == 0
    assert count(far, radius=4)['right peak wins'] == 100


def test_plateaus_are_one_peak():
    flat = peaks(r4c5=1.0, r4c6=1.0, r5c5=1.0, r5c6=1.0)
    assert count(flat)['several peaks'] == 0
    table = count(flat + peaks(r12c15=1.0))
    assert table['several peaks'] == 100
    # Of two equal ones NumPy's and MMPose's argmax take the first.
    assert table['right peak wins'] == 100
    assert count(np.ones((16, 20)))['several peaks'] == 0


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
        (DoubleCounting, dict(radius=3, threshold=0), '0'),
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


@pytest.fixture
def person(coco):
    """Labels of a person in a box of 200 pixels; its sides are 50 apart."""
    truth = np.zeros((17, 2))
    for name, i in coco['keypoint_name2id'].items():
        truth[i] = (-25 if 'right' in name else 25, 10 * i)
    truth[coco['keypoint_name2id']['nose']] = (0, 0)
    return truth


def people(*predictions, truth, weights=None):
    maps = np.zeros((17, 1, 1))
    return [
        sample(maps, maps, weights, pred, truth, size=200.0)
        for pred in predictions
    ]


def test_swaps_by_hand(coco, person):
    """Shoulders exchanged, one wrist on the other, of 8 pairs each time."""
    ids = coco['keypoint_name2id']
    exchanged, doubled, far, across = (person.copy() for _ in range(4))
    both = [ids['left_shoulder'], ids['right_shoulder']]
    exchanged[both] = person[both[::-1]]
    doubled[ids['left_wrist']] = person[ids['right_wrist']]
    far += (200, 1000)  # across the lines from left to right
    across *= (-100, 1)  # beyond the other side
    truth = person

    def swaps(*predictions, **kwargs):
        samples = people(*predictions, truth=truth, **kwargs)
        return evaluate(SideSwaps(), samples, **coco)

    assert swaps(person) == dict(swapped=0, exchanged=0)
    assert swaps(exchanged) == dict(swapped=12.5, exchanged=12.5)
    assert swaps(doubled) == dict(swapped=6.25, exchanged=0)
    for missed in (far, across):
        assert swaps(missed) == dict(swapped=0, exchanged=0)
    # 20 pixels, 0.1 of the box, beside the other's is near, and 21 is not.
    mirrored = person[coco['flip_indices']]
    assert swaps(mirrored + (0, 20))['swapped'] == 100
    assert swaps(mirrored + (0, 21))['swapped'] == 0
    assert swaps(exchanged, doubled, far) == pytest.approx(
        dict(swapped=100 * 3 / 48, exchanged=100 * 2 / 48)
    )
    assert swaps(mirrored) == dict(swapped=100, exchanged=100)

    # Without one label there is no pair.
    weights = np.ones(17)
    weights[ids['left_shoulder']] = 0
    assert swaps(exchanged, weights=weights) == dict(swapped=0, exchanged=0)
    table = swaps(doubled, weights=weights)
    assert table['swapped'] == pytest.approx(100 / 14)
    table = swaps(mirrored, weights=np.zeros(17))
    assert math.isnan(table['swapped'])
    assert math.isnan(table['exchanged'])

    # Sides are 50 by 10 pixels apart, 0.255 of the box.
    samples = people(mirrored, truth=truth)
    for distance, expected in ((0.25, 100), (0.26, math.nan)):
        table = evaluate(SideSwaps(distance), samples, **coco)
        assert table['swapped'] == pytest.approx(expected, nan_ok=True)


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
    for thr in (0.05, 0.2):
        metric = PCKAccuracy(thr, norm_item, prefix='pck')
        expected = evaluate(metric, samples)[name]
        below = np.where(np.isnan(errors), np.nan, errors < thr)
        found = np.nanmean(below, axis=0).mean()
        assert found == pytest.approx(expected)
    for person in samples:
        person['gt_instances']['keypoints_visible'][:, 3] = 0
    errors[:, 3] = np.nan
    table = evaluate(KeypointErrors(norm_item), samples, **coco)
    assert len(table) == 2 * 18
    assert math.isnan(table['left_ear median'])
    assert table['median'] == pytest.approx(np.nanmedian(errors))
    assert table['mean'] == pytest.approx(np.nanmean(errors))
    assert table['right_ankle median'] == pytest.approx(
        np.nanmedian(errors[:, coco['keypoint_name2id']['right_ankle']])
    )


@pytest.mark.parametrize('metric', [KeypointErrors, SideSwaps])
def test_people_without_labels_or_head(metric):
    maps = np.zeros((17, 1, 1))
    placeholder = sample(maps, maps, truth=np.zeros((17, 2)))
    with pytest.raises(ValueError, match='person.jpg .*bbox_file=None'):
        metric().process(None, [placeholder])
    with pytest.raises(AssertionError, match='head_size'):
        metric(norm_item='head').process(None, [sample(maps, maps)])
