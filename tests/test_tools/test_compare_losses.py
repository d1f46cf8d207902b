"""Comparing losses: statistics, logs, heads, what a crash leaves.

The fast tests put a fake script in place of tools/train.py.
"""

import csv
import dataclasses
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import DATASETS, MODELS
from rich.console import Console
from torch import nn

from mmpose_lossplus import KeptMetric, SigmoidConv2d
from mmpose_lossplus.experiments import comparison, people
from mmpose_lossplus.experiments import losses as loss_names
from mmpose_lossplus.experiments import statistics as stats

from ..factories import (
    ARGUMENTS,
    CONFIGS,
    ROOT,
    load_tool,
    save_checkpoint,
)

tool = load_tool('compare_losses.py')

DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
MPII = ROOT / 'configs/anchor_loss'
MPII /= 'td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256.py'
CPN = ROOT / 'configs/amse/td-hm_cpn50_4xb32-140e_coco-256x192.py'
CPM = ROOT / 'configs/anchor_loss/td-hm_cpm_8xb64-210e_lsp-368x368.py'


# Statistics


def test_mean_and_spread():
    assert stats.mean_and_spread([1, 2, 6]) == (3, math.sqrt(7))
    assert stats.mean_and_spread([1, math.nan, 3]) == (2, math.sqrt(2))
    mean, spread = stats.mean_and_spread([5])
    assert mean == 5
    assert math.isnan(spread)
    assert all(map(math.isnan, stats.mean_and_spread([])))


def test_epochs_to_reach():
    curve = {1: 0.1, 2: 0.5, 3: 0.4, 4: 0.6}
    assert stats.epochs_to_reach(curve, 0.5) == 2
    assert stats.epochs_to_reach(curve, 0.55) == 4
    assert stats.epochs_to_reach(curve, 0.7) is None


def test_widening():
    """Student's 97.5 % of 2 and 49 degrees of freedom, from a table."""
    assert stats.widening(3) == pytest.approx(
        4.3027 / 1.96 * math.sqrt(3 / 2), rel=1e-4
    )
    assert stats.widening(50) == pytest.approx(
        2.0096 / 1.96 * math.sqrt(50 / 49), rel=1e-4
    )


def test_difference_over_two_seeds():
    """The four resamples of two numbers have the means 1, 2, 2, 3."""
    found = stats.paired_difference({0: 11, 1: 23}, {1: 20, 0: 10, 7: 0})
    assert found.by_seed == {0: 1, 1: 3}
    assert found.mean == 2
    half = 12.7062 / 1.95996 * math.sqrt(2)  # times the 1 of 2 + 1 and 2 - 1
    assert found.low == pytest.approx(2 - half, rel=1e-4)
    assert found.high == pytest.approx(2 + half, rel=1e-4)


def test_difference_over_three_seeds():
    """1 of 27 resamples has thrice the lowest: more than 2.5 percent."""
    zero = dict.fromkeys(range(3), 0.0)
    found = stats.paired_difference({0: -1.0, 1: 0.0, 2: 4.0}, zero)
    width = 4.3027 / 1.95996 * math.sqrt(3 / 2)
    assert found.mean == 1
    assert found.low == pytest.approx(1 - 2 * width, rel=1e-4)
    assert found.high == pytest.approx(1 + 3 * width, rel=1e-4)


def test_difference_over_people():
    """With one seed, it is the percentiles of what the people make of it."""
    drawn = np.linspace(0, 1, 1001)[None]
    found = stats.paired_difference({3: 0.7}, {3: 0.1}, drawn)
    assert found.mean == pytest.approx(0.6)  # not that of the draws
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))


def test_difference_over_seeds_and_people():
    """Variances add up: that of the people and that of the seeds."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 3, (1, 1000))
    each = np.array([-4.0, 0.0, 1.0, 3.0])
    ours = dict(enumerate(each))
    zero = dict.fromkeys(range(4), 0.0)
    both = stats.paired_difference(ours, zero, each[:, None] + noise)
    alone = stats.paired_difference(ours, zero)
    width = both.high - both.low
    seeds, crowd = alone.high - alone.low, 2 * 1.96 * 3
    assert width == pytest.approx(math.hypot(seeds, crowd), rel=0.1)
    assert width > seeds


def test_no_difference_without_a_common_seed():
    assert stats.paired_difference({0: 1.0}, {1: 1.0}) is None
    found = stats.paired_difference({0: 1.0}, {0: 0.5})
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_interval_holds_what_it_says():
    """Of 1000 trainings of three seeds each, some 50 are missed."""
    rng = np.random.default_rng(0)
    zero = dict.fromkeys(range(3), 0.0)
    held = 0
    for _ in range(1000):
        found = stats.paired_difference(
            dict(enumerate(rng.normal(size=3))), zero
        )
        held += found.low <= 0 <= found.high
    assert 930 <= held <= 970


def test_people_are_the_same_in_each_draw():
    drawn = stats.draw_people(7)
    assert drawn.shape == (stats.DRAWS, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean() == 1
    assert (drawn == stats.draw_people(7)).all()
    assert (drawn[0] != drawn[1]).any()


# Scores on drawn people


def detections(found, scores, image, people, ignored=None):
    found = np.atleast_2d(np.array(found, dtype=bool))
    if ignored is None:
        ignored = np.zeros_like(found)
    return stats.Detections(
        found, ignored, np.array(scores), np.array(image), np.array(people)
    )


def test_average_precision_by_hand():
    """Found at 0.9, missed at 0.8, found at 0.7, of 4 people.

    Recalls up to 1/4 have a precision of 1, those up to 1/2 one of 2/3, the
    others none: 26 and 25 of the 101.
    """
    truth = detections([1, 0, 1], [0.9, 0.8, 0.7], [0, 0, 1], [2, 2])
    expected = (26 + 25 * 2 / 3) / 101
    assert stats.average_precision(truth) == pytest.approx(expected)
    ignored = np.array([[False, True, False]])
    truth = truth._replace(ignored=ignored)
    assert stats.average_precision(truth) == pytest.approx(51 / 101)
    # Only the second image, and only the first.
    last = stats.average_precision(truth, np.array([0, 1]))
    assert last == pytest.approx(51 / 101)
    twice = stats.average_precision(truth, np.array([2, 0]))
    assert twice == pytest.approx(51 / 101)
    assert math.isnan(stats.average_precision(truth, np.array([0, 0])))


def test_counting_an_image_twice_is_having_it_twice():
    rng = np.random.default_rng(0)
    image = np.sort(rng.integers(6, size=40))
    truth = detections(
        rng.random((3, 40)) < 0.5, rng.random(40), image, np.full(6, 9)
    )
    times = np.array([2, 0, 1, 1, 3, 0])
    parts = np.concatenate(
        [np.flatnonzero(image == i) for i in np.repeat(np.arange(6), times)]
    )
    again = truth._replace(
        found=truth.found[:, parts],
        ignored=truth.ignored[:, parts],
        scores=truth.scores[parts],
        image=np.arange(7).repeat(
            [np.sum(image == i) for i in np.repeat(np.arange(6), times)]
        ),
        people=np.full(7, 9),
    )
    # Recalls between those of two copies differ by a little.
    assert stats.average_precision(truth, times) == pytest.approx(
        stats.average_precision(again), abs=0.02
    )


@pytest.fixture
def coco_results(coco_data, tmp_path):
    """Predictions that are not all right, and what COCO's evaluation says."""
    ann_file = coco_data / 'annotations/person_keypoints_val2017.json'
    metric = dict(
        type='CocoMetric',
        ann_file=str(ann_file),
        nms_mode='none',
        score_mode='bbox',
    )
    dataset = DATASETS.build(
        dict(type='CocoDataset', lazy_init=True, test_mode=True)
    )
    path = tmp_path / 'people0'
    evaluator = CocoMetric(
        **{k: v for k, v in metric.items() if k != 'type'},
        outfile_prefix=str(path),
    )
    evaluator.dataset_meta = dataset.metainfo
    rng = np.random.default_rng(0)
    for ann in json.loads(ann_file.read_text())['annotations']:
        points = np.reshape(ann['keypoints'], (1, 17, 3))[..., :2]
        for i, noise in enumerate((0.5, 2, 4, 8)):
            noise = rng.normal(0, noise * ann['image_id'], points.shape)
            evaluator.process(
                [],
                [
                    dict(
                        id=ann['id'] * 10 + i,
                        img_id=ann['image_id'],
                        category_id=1,
                        pred_instances=dict(
                            keypoints=points + noise,
                            keypoint_scores=np.ones((1, 17)),
                            bbox_scores=rng.random(1),
                        ),
                        gt_instances=dict(),
                        raw_ann_info=dict(area=3000.0, iscrowd=0),
                    )
                ],
            )
    expected = evaluator.evaluate(16)
    return metric, str(path), dataset, expected


def test_average_precision_is_that_of_coco(coco_results):
    metric, path, dataset, expected = coco_results
    assert 0.05 < expected['coco/AP'] < 0.95
    sigmas = dataset.metainfo['sigmas']
    truth = people.match(metric, f'{path}.keypoints.json', sigmas)
    assert truth.people.tolist() == [1, 1, 1, 1]
    found = stats.average_precision(truth)
    assert found == pytest.approx(expected['coco/AP'], abs=1e-12)


def test_coco_on_drawn_images(coco_results):
    metric, path, _, expected = coco_results
    metric['outfile_prefix'] = path
    cfg = Config(dict(val_dataloader=dict(dataset=dict(type='CocoDataset'))))
    assert people.key_of_file(people.keep_people(metric)) == 'outfile_prefix'
    found, *what = people.score_on_others(cfg, metric, 'coco/AP')
    assert what == [4, 'images']
    assert found.shape == (1 + stats.DRAWS,)
    assert found[0] == pytest.approx(expected['coco/AP'], abs=1e-12)
    # Not all images are equally hard.
    assert found.min() < found[0] < found.max()
    assert people.score_on_others(cfg, metric, 'coco/AR') is None


@pytest.mark.parametrize('prefix', [None, 'mine'])
def test_pck_on_drawn_people(tmp_path, prefix):
    """Two people of three are found: a draw has as many as it has of them."""
    metric = dict(type='PCKAccuracy', thr=0.5, prefix=prefix)
    kept = people.keep_people(metric)
    path = tmp_path / 'people0'
    kept['out_file'] = str(path)
    evaluator = KeptMetric(kept['metric'], kept['out_file'])
    evaluator.dataset_meta = {}
    truth = np.array([[[0.0, 0], [5, 5]]])
    for shift in (0, 1, 8):
        evaluator.process(
            [],
            [
                dict(
                    pred_instances=dict(keypoints=truth + shift),
                    gt_instances=dict(
                        keypoints=truth,
                        keypoints_visible=np.ones((1, 2)),
                        bboxes=np.array([[0, 0, 10, 10]]),
                    ),
                )
            ],
        )
    name = 'mine/PCK' if prefix else 'PCK'
    assert evaluator.evaluate(3) == {name: pytest.approx(2 / 3)}
    assert evaluator.results == []
    assert people.key_of_file(kept) == 'out_file'
    cfg = Config(dict(val_dataloader=dict(dataset=dict(type='CocoDataset'))))
    found, *what = people.score_on_others(cfg, kept, name)
    assert what == [3, 'people']
    times = np.r_[[[1, 1, 1]], stats.draw_people(3)]
    assert found == pytest.approx(times[:, :2].sum(axis=1) / 3)
    assert people.score_on_others(cfg, kept, 'coco/AP') is None


def test_other_metrics_are_left_alone():
    for metric in (
        dict(type='AUC'),
        dict(type='CocoMetric', ann_file='a', iou_type='keypoints_crowd'),
        dict(type='CocoMetric'),
    ):
        assert people.keep_people(metric) == metric
        assert people.key_of_file(metric) is None
    assert people.keep_people(dict(type='LspPCKAccuracy')) == dict(
        type='KeptMetric', metric=dict(type='LspPCKAccuracy')
    )


# Logs


def write_log(folder, stamp, *entries, end='\n'):
    path = folder / stamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(map(json.dumps, entries)) + end)
    return path


def iteration(epoch, step, time):
    return dict(loss=0.1, time=time, epoch=epoch, iter=step, step=step)


def test_logs_are_joined(tmp_path):
    """Cut off in the third epoch, and gone on with from the first."""
    first = write_log(
        *(tmp_path, '20240101_000000'),
        iteration(1, 10, 0.5),
        dict(AP=0.1, time=9.0, data_time=1.0, step=1),
        iteration(2, 20, 0.9),
        dict(AP=0.2, step=2),
        iteration(3, 30, 0.1),
        end='\n{"AP": 0.3, "st',
    )
    second = write_log(
        *(tmp_path, '20240102_000000'),
        iteration(2, 20, 0.3),
        dict(AP=0.25, step=2),
        iteration(3, 30, 0.2),
        dict(AP=0.35, step=3, other=1.0),
    )
    result = comparison.read_result('mse', 7, tmp_path)
    assert result.logs == [first, second]
    assert result.curve('AP') == {1: 0.1, 2: 0.25, 3: 0.35}
    assert result.final == dict(AP=0.35, other=1.0)
    assert result.seconds == 0.3  # of 0.5, 0.3 and 0.2
    assert (result.loss, result.seed) == ('mse', 7)


def test_no_log(tmp_path):
    write_log(tmp_path, '20240101_000000', iteration(1, 10, 0.5))
    with pytest.raises(ValueError, match='no log of a validation'):
        comparison.read_result('mse', 0, tmp_path)


# The report


def result(loss, seed, *scores, others=None, folder=Path('w')):
    return comparison.Result(
        loss,
        seed,
        [folder / f'{loss}/seed{seed}/1/vis_data/scalars.json'],
        {i: {'AP': score} for i, score in enumerate(scores, 1)},
        0.1,
        others,
    )


def compared(target=None, **losses):
    """A comparison of losses with a few scores each, by seed."""
    results = [
        result(loss, seed, *scores)
        for loss, seeds in losses.items()
        for seed, scores in enumerate(seeds)
    ]
    return comparison.Comparison(results, 'AP', 'mse', target)


def test_rows_by_hand():
    table = compared(
        mse=[[0.2, 0.5], [0.5, 0.5]], fast=[[0.46, 0.7], [0.1, 0.6]]
    )
    assert table.target == pytest.approx(0.45)
    assert table.header()[4] == 'epochs to 0.4500'
    mse, fast = table.rows()
    assert mse == ['mse', '0, 1', '0.5000 ±0.0000', '', '1.5 (2, 1)', '100']
    half = stats.widening(2) * 0.05
    assert fast[2:5] == [
        '0.6500 ±0.0707',
        f'+0.1500 [{0.15 - half:+.4f}, {0.15 + half:+.4f}]',
        '1.5 (1, 2)',
    ]


def test_target_that_is_not_reached():
    table = compared(0.6, mse=[[0.5], [0.7]], slow=[[0.1], [0.2]])
    assert [row[4] for row in table.rows()] == ['(never, 1)', 'never']
    assert 'was asked for' in ' '.join(table.method())


def test_scores_in_percent_have_less_digits():
    table = compared(mse=[[50.0]], other=[[51.234]])
    assert table.rows()[1][2] == '51.23'


@pytest.mark.parametrize(
    ('other', 'answer'),
    [
        ([[0.7], [0.701], [0.702]], r'^Take other .*\+0\.2010 \['),
        ([[0.2], [0.201], [0.202]], r'^Take mse .* lower, other \(-0\.2990'),
        ([[0.2], [0.5], [0.9]], r'^No loss shows a higher AP than mse'),
        ([[0.4], [0.5], [0.6]], r'^No loss shows .* by \d'),
    ],
)
def test_answer(other, answer):
    table = compared(mse=[[0.5], [0.5], [0.5]], other=other)
    assert re.search(answer, table.answer()), table.answer()
    assert table.answer().count('.\n') == 0
    assert table.answer().endswith('.')


def test_answer_names_each_loss_once():
    table = compared(
        mse=[[0.5], [0.5], [0.5]],
        best=[[0.8], [0.801], [0.802]],
        good=[[0.7], [0.701], [0.702]],
        same=[[0.2], [0.5], [0.9]],
        bad=[[0.2], [0.201], [0.202]],
    )
    answer = table.answer()
    assert answer.startswith('Take best for this data')
    assert 'higher too are good (+0.2010' in answer
    assert 'lower are bad (-0.2990' in answer
    assert 'no difference is shown for same.' in answer
    assert 'of 4 ' not in answer
    assert '4 intervals' in ' '.join(table.method())


def test_what_cannot_be_answered():
    one = compared(mse=[[0.5]], other=[[0.9]])
    assert 'at least two seeds' in one.answer()
    assert 'there is no interval' in one.method()[-1]
    zero = compared(mse=[[0.0], [0.0]], other=[[0.0], [0.0]])
    assert 'not learned anything' in zero.answer()
    other = compared(other=[[0.5], [0.6]])
    assert 'a score of mse' in other.answer()


def test_what_is_resampled_is_said():
    seeds = compared(mse=[[0.5], [0.4]], other=[[0.9], [0.8]])
    assert 'over seeds ALONE' in ' '.join(seeds.method())
    others = stats.OtherPeople(np.full(1001, 0.5), 9, 'images')
    alone = 'drawn as if independent'
    assert alone not in ' '.join(seeds.method())

    def on_people(seeds):
        return comparison.Comparison(
            [
                result(loss, seed, 0.5, others=others)
                for loss in ('mse', 'other')
                for seed in seeds
            ],
            *('AP', 'mse'),
        )

    text = ' '.join(on_people([0, 1]).method())
    assert 'over seeds and the test images, which are the same' in text
    assert f'Each of the test images is {alone}' in text
    assert 'over the test images ALONE' in ' '.join(on_people([0]).method())


@pytest.mark.parametrize('width', [40, 80, 200])
def test_numbers_stay_on_their_line(width):
    """Of any number of losses, in a terminal of any width."""
    numbers = [f'0.{i}' for i in range(111, 124) if i % 10]
    results = [
        dataclasses.replace(
            result(f'a_loss_of_some_length_{i}', 0),
            metrics={1: {'AP': 0.5, 'heatmap/MSE': float(number)}},
        )
        for i, number in enumerate(numbers)
    ]
    names = [x.loss for x in results]
    several = comparison.Comparison(results, 'AP', names[0], None, names)
    console = Console(width=width, file=io.StringIO())
    comparison.print_report(several, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    start = next(i for i, x in enumerate(lines) if 'Diagnostics' in x)
    found = re.findall(r'0\.1\d+', '\n'.join(lines[start:]))
    assert found == numbers


def test_people_of_the_two_losses_are_the_same():
    """What is common to both losses on some people is no difference."""
    drawn = np.r_[0.5, np.random.default_rng(0).random(1000)]
    table = comparison.Comparison(
        [
            result(
                *(loss, seed, 0.5 + plus),
                others=stats.OtherPeople(drawn + plus, 9, 'people'),
            )
            for loss, plus in dict(mse=0, other=0.01).items()
            for seed in (0, 1)
        ],
        *('AP', 'mse'),
    )
    found = table.losses['other'].difference
    assert found[:3] == pytest.approx((0.01, 0.01, 0.01))


def test_written_report(tmp_path):
    results = [
        result(loss, seed, 0.3, score + seed / 10, folder=tmp_path)
        for loss, score in dict(mse=0.5, amse=0.6).items()
        for seed in (0, 1)
    ]
    table = comparison.Comparison(results, 'AP', 'mse')
    files = comparison.write_report(table, tmp_path, 'A title', ['a detail'])
    assert [path.name for path in files] == [
        'report.md',
        'report.csv',
        'epochs.csv',
        'curves.png',
        'differences.png',
    ]
    text = files[0].read_text()
    assert text.startswith('# A title\n\n- a detail\n')
    for loss in ('mse', 'amse'):
        for seed in (0, 1):
            log = f'{loss}/seed{seed}/1/vis_data/scalars.json'
            assert f'| {loss} | {seed} | `{log}` |' in text
    assert '| mse | 0.5000 | 0.6000 |' in text
    assert '| amse - mse | +0.1000 | +0.1000 |' in text
    assert text.endswith(f'\n\n{table.answer()}\n')
    with files[1].open() as file:
        lines = list(csv.DictReader(file))
    assert [(x['loss'], x['seed'], x['AP']) for x in lines] == [
        ('mse', '0', '0.5'),
        ('mse', '1', '0.6'),
        ('amse', '0', '0.6'),
        ('amse', '1', '0.7'),
    ]
    assert lines[0]['logs'] == 'mse/seed0/1/vis_data/scalars.json'
    with files[2].open() as file:
        lines = list(csv.DictReader(file))
    assert [x['AP'] for x in lines if x['loss'] == 'amse'] == [
        *('0.3', '0.6'),
        *('0.3', '0.7'),
    ]
    for path in files[3:]:
        assert path.read_bytes().startswith(b'\x89PNG')
    assert not list(tmp_path.glob('*.partial'))


def test_no_two_losses_look_alike():
    table = compared(**{f'l{i}': [[0.5]] for i in range(20)}, mse=[[0.5]])
    looks = [tuple(x.values()) for x in comparison.look(table).values()]
    assert len(set(looks)) == 21
    assert comparison.look(table)['mse']['color'] == '#000000'


def test_what_could_have_been_missed():
    """The highest difference that an interval holds, not half its width."""
    table = compared(
        mse=[[0.5], [0.5]], worse=[[0.4], [0.5]], same=[[0.5], [0.51]]
    )
    high = max(s.difference.high for s in list(table.losses.values())[1:])
    assert high == table.losses['worse'].difference.high
    half = stats.widening(2) * 0.05
    assert high == pytest.approx(half - 0.05)
    assert f'where one by {high:.4f} could' in table.answer()


def test_losses_with_fewer_seeds():
    """Two of three seeds for b, one for c, none for d: all is said."""
    results = [
        result(loss, seed, 0.5 + plus + seed / 100)
        for loss, plus, seeds in (
            ('mse', 0, [0, 1, 2]),
            ('a', 0.1, [0, 1, 2]),
            ('b', 0, [0, 2]),
            ('c', 0, [1]),
        )
        for seed in seeds
    ]
    table = comparison.Comparison(
        results, 'AP', 'mse', asked=['mse', 'a', 'b', 'c', 'd']
    )
    text = '\n'.join(table.method())
    assert 'which are not all: 0, 2 of b; 1 of c.' in text
    assert re.search('a: The interval .* seeds ALONE.* of 3 numbers', text)
    assert re.search('b: The interval .* seeds ALONE.* of 2 numbers', text)
    assert 'c: One seed and no scores by person: there is no' in text
    assert '2 intervals' in text
    answer = table.answer()
    assert answer.startswith('Take a for this data')
    assert answer.endswith(
        '; not compared, with fewer than two common seeds: c, d.'
    )
    assert (
        'not compared'
        not in compared(mse=[[0.5], [0.4]], a=[[0.5], [0.4]]).answer()
    )
    common = compared(mse=[[0.5], [0.4]], a=[[0.5], [0.4]]).method()
    assert 'Differences are paired by seed.' in common


def test_worse_losses_with_fewer_seeds():
    results = [
        result(loss, seed, score + seed / 1000)
        for loss, score, seeds in (
            ('mse', 0.5, [0, 1]),
            ('bad', 0.1, [0, 1]),
            ('few', 0.9, [1]),
        )
        for seed in seeds
    ]
    answer = comparison.Comparison(results, 'AP', 'mse').answer()
    assert answer.count('lower, bad') == 1
    assert answer.count('bad') == 1
    assert answer.endswith('with fewer than two common seeds: few.')


@pytest.mark.parametrize('baseline', [[], [[math.nan]]])
def test_without_a_baseline(tmp_path, baseline):
    table = compared(mse=baseline, other=[[0.5], [0.6]])
    assert table.best == 0.6
    if baseline:
        return
    for line in (*table.header(), *table.method()):
        assert 'nan' not in line
    assert len(table.rows()[0]) == len(table.header()) == 5
    for path in comparison.write_report(
        comparison.Comparison(
            [result('other', 0, 0.5, folder=tmp_path)], 'AP', 'mse'
        ),
        *(tmp_path, 'A title', []),
    )[:2]:
        assert 'epochs to' not in path.read_text()


def drawn_with(monkeypatch, draw, table):
    """The axes of a plot."""
    monkeypatch.setattr(comparison.plt, 'close', lambda: None)
    with comparison.plt.rc_context(comparison.STYLE):
        draw(table)
        return comparison.plt.gca()


def test_legend_is_one_of_old_matplotlib(monkeypatch):
    """Beside the axes, without 'outside', which came with 3.7."""
    table = compared(mse=[[0.5, 0.6], [0.4, 0.5]], amse=[[0.5, 0.6]])
    axes = drawn_with(monkeypatch, comparison.draw_curves, table)
    assert not axes.figure.legends
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ['mse', 'amse']
    assert axes.get_title().endswith('over 1 to 2 seeds')
    axes.figure.canvas.draw()
    legend = axes.get_legend().get_window_extent()
    assert legend.x0 >= axes.get_window_extent().x1
    assert legend.x1 <= axes.figure.bbox.x1
    comparison.plt.clf()


# Losses in configs


def arguments(config, **kwargs):
    defaults = dict(
        config=str(config),
        cfg_options=[],
        epochs=None,
        score=None,
        gpus=None,
        launcher='none',
        seeds=[0],
        work_dir=Path('w'),
    )
    return Namespace(**{**defaults, **kwargs})


def with_loss(config, loss, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    tool.set_loss(cfg, loss_names.LOSSES.get(str(loss), loss))
    return cfg.model.head


def test_loss_in_a_head_of_one_stage():
    head = with_loss(DEMO, 'anchor')
    assert head.loss == dict(type='AnchorLoss')
    assert head.final_layer == dict(
        kernel_size=1, type='SigmoidConv2d', prior_prob=0.01
    )
    built = MODELS.build(head)
    assert isinstance(built.final_layer, SigmoidConv2d)
    assert built.final_layer.prior_prob == 0.01
    head = with_loss(DEMO, 'fmse')
    assert head.loss == dict(type='FocusedMSELoss')
    assert 'final_layer' not in head


def test_prior_is_that_of_the_configs():
    (config,) = DEMO.parent.glob('*_anchor-*')
    head = Config.fromfile(config).model.head
    assert with_loss(DEMO, 'anchor').final_layer == dict(
        head.final_layer, kernel_size=1
    )


def test_loss_without_logits_loses_the_sigmoid():
    head = with_loss(MPII, 'mse')
    assert head.final_layer == {}
    assert type(MODELS.build(head).multi_final_layers[0]) is nn.Conv2d
    # A final layer that fits stays as it is.
    head = with_loss(MPII, 'bce')
    assert head.final_layer == dict(type='SigmoidConv2d')
    assert head.loss == dict(type='AnchorLoss', gamma=0.0)


def test_losses_of_five_stages_keep_their_factors():
    head = with_loss(CPN, 'bce')
    assert [x.type for x in head.loss] == ['AnchorLoss'] * 5
    assert [x.gamma for x in head.loss] == [0] * 5
    weights = [x.get('loss_weight') for x in head.loss]
    assert weights == [0.125] * 4 + [None]
    assert head.final_layer == dict(
        kernel_size=3, padding=1, type='SigmoidConv2d', prior_prob=0.01
    )
    own = dict(type='AsymmetricMSELoss', loss_weight=3.0)
    assert [x.loss_weight for x in with_loss(CPN, own).loss] == [3] * 5


@pytest.mark.parametrize(('config', 'topk'), [(DEMO, 8), (MPII, 8), (CPM, 7)])
def test_half_of_the_keypoints_are_hard(config, topk):
    loss = with_loss(config, 'ohkm').loss
    loss = loss[0] if isinstance(loss, list) else loss
    assert loss.topk == topk
    own = dict(type='KeypointOHKMMSELoss', topk=3)
    loss = with_loss(config, own).loss
    assert (loss[0] if isinstance(loss, list) else loss).topk == 3


@pytest.mark.parametrize(
    ('config', 'changes', 'message'),
    [
        (CPM, {}, 'no final layer to replace'),
        (DEMO, {'model.head.type': 'MSPNHead'}, 'this MSPNHead'),
        (
            DEMO,
            {'model.head.decoder.type': 'SimCCLabel'},
            "one heatmap for each keypoint, .* got .*'SimCCLabel'",
        ),
        (
            DEMO,
            {
                'model.head.decoder.type': 'UDPHeatmap',
                'model.head.decoder.heatmap_type': 'combined',
            },
            'one heatmap for each keypoint',
        ),
    ],
)
def test_heads_that_cannot(config, changes, message):
    with pytest.raises(ValueError, match=message):
        with_loss(config, 'anchor', **changes)


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda p: p.stem)
def test_every_config_takes_every_loss_it_can(config):
    losses = dict(loss_names.LOSSES)
    if config.stem.endswith('ms6-256x256'):
        with pytest.raises(ValueError, match='which can only test'):
            tool.shared_config(arguments(config))
        return
    cfg, score = tool.shared_config(arguments(config))
    assert score in ('coco/AP', 'PCK', 'lsp/PCK')
    if '_cpm_' in config.stem:  # its backbone predicts
        with pytest.raises(ValueError, match='no final layer'):
            tool.loss_configs(losses, cfg)
        for name in ('anchor', 'bce', 'focal'):
            del losses[name]
    cfgs = tool.loss_configs(losses, cfg)
    runs = tool.make_runs(cfgs, [0], arguments(config))
    assert [run.loss for run in runs] == list(losses)
    for run in runs:
        head = MODELS.build(run.step.cfg.model.head)
        layers = [m for m in head.modules() if isinstance(m, SigmoidConv2d)]
        logits = run.loss in ('anchor', 'bce', 'focal')
        assert bool(layers) == logits
        types = [metric['type'] for metric in run.step.cfg.val_evaluator]
        assert types[1:] == [
            'HeatmapValidationLoss',
            'LossConsistency',
            'LossShare',
            'DoubleCounting',
            'SideSwaps',
            'KeypointErrors',
        ]
        files = [
            metric[people.key_of_file(metric)]
            for metric in run.step.cfg.val_evaluator
            if people.key_of_file(metric)
        ]
        assert files == [f'w/{run.loss}/seed0/people0']


def test_what_all_trainings_share():
    cfg, score = tool.shared_config(arguments(DEMO, epochs=15))
    assert score == 'coco/AP'
    # Every third of the training, as in the config.
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=15, val_interval=5)
    assert cfg.model.test_cfg.output_heatmaps
    hook = dict(cfg.default_hooks.checkpoint)
    hook.pop('_scope_', None)
    assert hook == dict(
        type='CheckpointHook', interval=1, by_epoch=True, max_keep_ckpts=2
    )
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == 50  # iterations
    assert cosine.T_max == 15
    assert 'mmpose_lossplus' in cfg.custom_imports.imports


def test_own_diagnostics_are_replaced():
    cfg, _ = tool.shared_config(arguments(DEMO))
    own = [
        dict(type='SideSwaps', norm_item='head'),
        dict(type='PCKAccuracy'),
        dict(type='mmpose.KeypointErrors'),
    ]
    cfg.val_evaluator = own
    losses = dict(mse=loss_names.LOSSES['mse'])
    cfgs = tool.loss_configs(losses, cfg)
    (run,) = tool.make_runs(cfgs, [3], arguments(DEMO))
    types = [metric['type'] for metric in run.step.cfg.val_evaluator]
    assert types[0] == 'KeptMetric'
    assert len(types) == len(set(types)) == 7
    assert run.step.cfg.val_evaluator[0].out_file == 'w/mse/seed3/people0'
    assert run.step.cfg.randomness.seed == 3
    assert run.step.options == []


def changed(tmp_path, text, name='any_1xb16.py'):
    config = tmp_path / name
    config.write_text(f'_base_ = {str(DEMO)!r}\n{text}\n')
    return config


@pytest.mark.parametrize(
    'text',
    [
        'default_hooks = dict(_delete_=True)',
        'default_hooks = dict(checkpoint=None)',
        'default_hooks = None',
    ],
)
def test_config_without_a_checkpoint_hook(tmp_path, text):
    cfg, _ = tool.shared_config(arguments(changed(tmp_path, text)))
    assert cfg.default_hooks.checkpoint == dict(
        type='CheckpointHook', interval=1, by_epoch=True, max_keep_ckpts=2
    )


def test_single_scheduler_is_stretched(tmp_path):
    scheduler = "type='MultiStepLR', milestones=[20, 40]"
    config = changed(
        tmp_path, f'param_scheduler = dict(_delete_=True, {scheduler})'
    )
    cfg, _ = tool.shared_config(arguments(config, epochs=30))
    assert cfg.param_scheduler.milestones == [10, 20]


@pytest.mark.parametrize(
    ('name', 'options', 'size'),
    [
        ('any_8xb32.py', [], 256),
        ('any_8xb32.py', ['auto_scale_lr.base_batch_size=7'], 7),
        ('any.py', [], 512),
    ],
)
def test_batch_that_the_rate_is_for(tmp_path, name, options, size):
    text = 'auto_scale_lr = dict(base_batch_size=512)'
    config = changed(tmp_path, text, name)
    cfg, _ = tool.shared_config(arguments(config, cfg_options=options))
    assert cfg.auto_scale_lr.base_batch_size == size


def test_no_rate_to_scale(tmp_path):
    cfg = Config.fromfile(DEMO)
    cfg.pop('auto_scale_lr')
    config = tmp_path / 'any_8xb32.py'
    cfg.dump(config)
    cfg, _ = tool.shared_config(arguments(config))
    assert 'auto_scale_lr' not in cfg


def test_score_of_which_less_is_better(tmp_path):
    text = (
        "default_hooks = dict(checkpoint=dict(save_best='EPE', rule='less'))"
    )
    config = changed(tmp_path, text)
    with pytest.raises(ValueError, match='looks for the smallest EPE'):
        tool.shared_config(arguments(config, score='EPE'))
    _, score = tool.shared_config(arguments(config, score='coco/AP'))
    assert score == 'coco/AP'


def test_stretched_steps():
    cfg = Config.fromfile(CPN)
    tool.stretch_schedule(cfg, 14)
    steps = [s for s in cfg.param_scheduler if 'milestones' in s]
    assert [s.milestones for s in steps] == [[9, 12]]
    assert cfg.train_cfg.max_epochs == 14


def test_own_losses():
    text = "exp=dict(type='HeatmapWeightingMSELoss', weight_fn='exp')"
    losses = loss_names.parse_losses(['mse', text])
    assert losses == dict(
        mse=loss_names.LOSSES['mse'],
        exp=dict(type='HeatmapWeightingMSELoss', weight_fn='exp'),
    )


def test_trainings_side_by_side(monkeypatch):
    for name in ('OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setattr(tool.torch.cuda, 'device_count', lambda: 2)
    assert 'OMP_NUM_THREADS' not in tool.environment(0, 1)
    envs = [tool.environment(slot, 3) for slot in range(3)]
    assert [env['OMP_NUM_THREADS'] for env in envs] == ['2'] * 3
    gpus = [env['CUDA_VISIBLE_DEVICES'] for env in envs]
    assert gpus == ['0', '1', '0']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,7')
    assert tool.environment(1, 2)['CUDA_VISIBLE_DEVICES'] == '7'
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert tool.environment(1, 2)['OMP_NUM_THREADS'] == '3'


# Trainings

FAKE_TRAIN = f'TEST = False{ARGUMENTS}'
FAKE_TRAIN += """
loss = args.config.parent.name
seed = int(args.work_dir.name[len('seed'):])
with open(here / 'calls', 'a') as file:
    print(loss, seed, 'resumed' if args.resume else 'new', file=file)
if (here / 'bad').exists() and loss == (here / 'bad').read_text():
    sys.exit('The disk is full.')
assert not args.cfg_options
config = args.config.read_text()
assert f'randomness = dict(seed={seed})' in config
assert repr(str(args.work_dir / 'people0')) in config
die = here / f'die_{loss}_{seed}'
first = 3 if args.resume else 1
stamp = f'2024010{first}_000000'
log = args.work_dir / stamp / 'vis_data' / 'scalars.json'
log.parent.mkdir(parents=True)
with log.open('w') as file:
    for epoch in range(first, 5):
        entry = dict(loss=0.1, time=0.2, epoch=epoch, iter=epoch, step=epoch)
        print(json.dumps(entry), file=file)
        if die.exists() and epoch == 3:
            shutil.copy(here / 'checkpoint.pth', args.work_dir / 'epoch_2.pth')
            die.unlink()
            print('{"coco/AP": 0.', file=file, end='')
            sys.exit('Killed.')
        score = 0.1 * epoch + 0.01 * len(loss) + 0.001 * seed
        if (here / f'nan_{loss}').exists() and epoch == 4:
            score = float('nan')
        print(json.dumps({'coco/AP': score, 'step': epoch}), file=file)
print('Epoch(train)  [4][16/16]  lr: 0.1')
print('train.py has finished.')
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'train.py').write_text(FAKE_TRAIN)
    save_checkpoint(tools / 'checkpoint.pth')
    monkeypatch.setattr(tool, 'TOOLS', tools)
    monkeypatch.setattr(tool, 'score_on_others', lambda *_: None)
    return tmp_path


@pytest.fixture
def compare(project, coco_data, monkeypatch):
    """Run the tool, return the trainings that it began."""
    calls = project / 'tools' / 'calls'
    terminated = signal.getsignal(signal.SIGTERM)

    def run(*args, config=DEMO, work='work', data=coco_data):
        calls.write_text('')
        argv = ['compare_losses.py', config, *args]
        argv += ['--work-dir', project / work]
        if '--cfg-options' not in args:
            argv += ['--cfg-options', f'data_root={data}']
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        tool.main()
        return calls.read_text().splitlines()

    yield run
    signal.signal(signal.SIGTERM, terminated)


def table_of(report):
    """What a report says, apart from where it is from."""
    text = report.read_text()
    return text[text.index('## Score') : text.index('## Logs')]


@pytest.mark.slow
def test_trainings_are_not_redone(compare, project, capsys):
    args = ('--losses', 'mse', 'amse', '--seeds')
    assert compare(*args, '0', '1') == [
        'mse 0 new',
        'amse 0 new',
        'mse 1 new',
        'amse 1 new',
    ]
    output = capsys.readouterr().out
    assert 'amse seed 1: coco/AP 0.441 (100% of 4 trainings' in output
    logs = project / 'work/<loss>/seed<S>/train.log'
    assert output.startswith(
        f'4 trainings to do, with logs in {logs}: mse seed 0, amse seed 0, '
    )
    assert 'Losses compared' in output
    report = project / 'work/report.md'
    text = report.read_text()
    # 0.4 + 0.03 and 0.4 + 0.04.
    assert '| mse | 0.4300 | 0.4310 |' in text
    assert '| amse - mse | +0.0100 | +0.0100 |' in text
    assert 'Take amse' in text.splitlines()[-1]
    assert text.splitlines()[-1] in ' '.join(output.split())
    assert 'NOT all' not in text
    table = table_of(report)
    assert compare(*args, '0', '1') == []
    assert table_of(report) == table
    assert compare(*args, '1', '2', '0', '2') == ['mse 2 new', 'amse 2 new']
    assert compare('--losses', 'rmse', '--seeds', '0') == ['rmse 0 new']


def parts_of(report):
    """What a report says, apart from the command and from where it is."""
    text = report.read_text().replace(str(report.parent), '')
    return re.sub('- Command: .*', '', text)


@pytest.mark.slow
def test_more_losses_and_seeds_later(compare, project):
    """The report is that of all of them, whatever came last."""
    whole = project / 'whole'
    args = ('--losses', 'mse', 'anchor', 'amse', '--seeds')
    compare(*args, '0', '1', work='whole')
    work = project / 'work'
    compare('--losses', 'mse', 'anchor', '--seeds', '0')
    assert compare('--losses', 'amse', '--seeds', '0') == ['amse 0 new']
    assert '| mse | 0 |' in (work / 'report.md').read_text()
    compare(*args[:-1], '--seeds', '1')
    for name in ('report.md', 'report.csv', 'epochs.csv'):
        assert parts_of(work / name) == parts_of(whole / name)
    # One that has not ended, and is not asked for, is no part of it.
    (project / 'tools/bad').write_text('rmse')
    with pytest.raises(SystemExit, match='rmse seed 0'):
        compare('--losses', 'rmse', '--seeds', '0')
    assert 'rmse' in (work / 'report.md').read_text()
    assert compare('--losses', 'mse', '--seeds', '1') == []
    assert parts_of(work / 'report.md') == parts_of(whole / 'report.md')


def test_any_name_of_a_folder(compare, project):
    """With what --cfg-options would take for a list, and rich for a tag."""
    name = "a, [b] (c d)' {e}"
    args = ('--losses', 'mse', '--seeds', '0')
    assert compare(*args, work=name) == ['mse 0 new']
    work = project / name
    cfg = Config.fromfile(work / 'configs/mse/seed0.py')
    people = work / 'mse/seed0/people0'
    assert cfg.val_evaluator[0].outfile_prefix == str(people)
    assert cfg.randomness.seed == 0
    assert (work / 'report.md').exists()


def test_written_config_is_for_other_tools(compare, project):
    compare('--losses', 'anchor', '--seeds', '5')
    cfg = Config.fromfile(project / 'work/configs/anchor.py')
    assert cfg.custom_imports.imports == ['mmpose_lossplus']
    assert cfg.model.head.loss.type == 'AnchorLoss'
    assert str(project / 'work') not in cfg.pretty_text
    assert cfg.randomness.get('seed') != 5


def test_final_layers_that_differ_are_named(compare, project):
    report = project / 'work/report.md'
    compare('--losses', 'mse', 'amse', '--seeds', '0')
    assert 'Final layers' not in report.read_text()
    compare('--losses', 'anchor', '--seeds', '0')
    (line,) = re.findall('- Final layers differ.*', report.read_text())
    assert 'mse `plain`, amse `plain`, anchor `{' in line
    assert '"type": "SigmoidConv2d", "prior_prob": 0.01}' in line


def test_number_of_test_people(compare, project, monkeypatch):
    """Kept, not computed again, and by what gave the score."""
    drawn = stats.OtherPeople(np.full(1001, 0.43), 123, 'people')
    monkeypatch.setattr(tool, 'score_on_others', lambda *_: drawn)
    for _ in range(2):
        compare('--losses', 'mse', '--seeds', '0')
        text = (project / 'work/report.md').read_text()
        assert 'person_keypoints_val2017.json`, 123 people' in text
        monkeypatch.setattr(tool, 'score_on_others', lambda *_: None)


def test_a_score_that_is_nan(compare, project):
    (project / 'tools/nan_mse').touch()
    args = ('--losses', 'mse', 'amse', '--seeds', '0')
    for calls in (['mse 0 new', 'amse 0 new'], []):
        (project / 'tools/calls').write_text('')
        with pytest.raises(SystemExit, match='mse seed 0: the score is nan'):
            compare(*args)
        assert (project / 'tools/calls').read_text().splitlines() == calls
    table = table_of(project / 'work/report.md')
    assert 'nan' not in table
    assert '| amse | 0 | 0.4400 |' in table


@pytest.mark.slow
def test_side_by_side_gives_the_same(compare, project):
    args = ('--losses', 'mse', 'amse', 'fmse', '--seeds', '0', '1')
    assert len(compare(*args)) == 6
    assert len(compare(*args, '--jobs', '3', work='other')) == 6
    assert table_of(project / 'work/report.md') == table_of(
        project / 'other/report.md'
    )


def test_a_cut_off_training_goes_on(compare, project):
    args = ('--losses', 'mse', 'amse', '--seeds', '0')
    compare(*args, work='whole')
    (project / 'tools/die_amse_0').touch()
    with pytest.raises(SystemExit, match='amse seed 0: Killed. .*train.log'):
        compare(*args)
    report = project / 'work/report.md'
    assert 'NOT all trainings have ended: 1 of 2' in report.read_text()
    assert compare(*args) == ['amse 0 resumed']
    assert table_of(report) == table_of(project / 'whole/report.md')
    assert '20240101_000000' in report.read_text().split('## Logs')[1]
    assert '20240103_000000' in report.read_text().split('## Logs')[1]


def test_a_failure_does_not_stop_the_others(compare, project, capsys):
    (project / 'tools/bad').write_text('mse')
    with pytest.raises(SystemExit, match='mse seed 0: The disk is full.'):
        compare('--losses', 'mse', 'amse', '--seeds', '0')
    assert 'amse seed 0: coco/AP 0.44' in capsys.readouterr().out
    (project / 'tools/bad').unlink()
    calls = compare('--losses', 'mse', 'amse', '--seeds', '0')
    assert calls == ['mse 0 new']


def test_another_score_later(compare, project):
    args = ('--losses', 'mse', 'amse', '--seeds', '0', '1')
    message = 'mse seed 0 has no score AR: .* of coco/AP.$'
    for calls in (['mse 0 new'], []):
        with pytest.raises(SystemExit, match=message) as stop:
            compare(*args, '--score', 'AR')
        assert '\n' not in stop.value.code
        assert (project / 'tools/calls').read_text().splitlines() == calls
    args = ('--losses', 'mse', '--seeds', '0')
    assert compare(*args) == []
    assert compare(*args, '--target-score', '0.2') == []
    text = (project / 'work/report.md').read_text()
    assert 'epochs to 0.2000' in text


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--epochs', '7'], 'settings.train_cfg.max_epochs is 60 there .* 7'),
        (
            ['--losses', "own=dict(type='AsymmetricMSELoss', beta=0.5)"],
            'losses.own.beta is 0.1 there and not 0.5',
        ),
        (
            ['--launcher', 'pytorch', '--gpus', '2'],
            'gpus is 1 there and not 2',
        ),
    ],
)
def test_other_settings_need_another_folder(compare, project, more, message):
    own = "own=dict(type='AsymmetricMSELoss', beta=0.1)"
    compare('--losses', own, '--seeds', '0')
    before = {
        path: path.read_bytes()
        for path in (project / 'work').rglob('*')
        if path.is_file()
    }
    if '--losses' not in more:
        more = ['--losses', 'mse', *more]
    with pytest.raises(SystemExit, match=message) as stop:
        compare(*more, '--seeds', '0')
    assert 'give another --work-dir' in stop.value.code
    assert '\n' not in stop.value.code
    for path, content in before.items():
        assert path.read_bytes() == content


@pytest.mark.skipif(sys.platform == 'win32', reason='no locks there')
def test_two_at_a_time(compare, project):
    held = tool.hold(project / 'work/mse/seed0')
    with pytest.raises(SystemExit, match=f'process {os.getpid()}'):
        compare('--losses', 'mse', '--seeds', '0')
    held.close()
    assert compare('--losses', 'mse', '--seeds', '0') == ['mse 0 new']


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_ending_it_ends_the_trainings(compare, project, how):
    # Ctrl-C is ignored in what a script has started in the background.
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    pids = project / 'pids'
    (project / 'tools/train.py').write_text(
        'import os, time\n'
        f'with open({str(pids)!r}, "a") as file:\n'
        '    print(os.getpid(), file=file)\n'
        'time.sleep(60)\n'
    )

    def end_it():
        while not pids.exists() or len(pids.read_text().splitlines()) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), how)

    threading.Thread(target=end_it, daemon=True).start()
    try:
        with pytest.raises(SystemExit, match='Terminated|Interrupted'):
            compare('--losses', 'mse', 'amse', '--seeds', '0', '--jobs', '2')
    finally:
        signal.signal(signal.SIGINT, old)
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--losses', 'msa'], 'takes mse, amse, .* got msa'),
        (['--losses', 'mse=dict(type="KeypointMSELoss")'], 'mse is taken'),
        (['--losses', 'configs=dict(type="KeypointMSELoss")'], 'another name'),
        (['--losses', 'a/b=dict(type="KeypointMSELoss")'], 'got a/b'),
        (['--losses', 'a=3'], r'a=3 is no config of a loss: .* dict\('),
        (['--losses', 'a=dict(type='], 'is no config of a loss'),
        (['--losses', 'a=dict(type="Nothing")'], 'Nothing'),
        (
            ['--losses', 'a=dict(type="ResNet", depth=18)'],
            'is no config of a loss: ResNet has no loss_weight.$',
        ),
        (
            ['--losses', 'a=dict(type="AnchorLoss", gamma=-1)'],
            'gamma must be non-negative and finite, got -1',
        ),
        (['--seeds', '-1'], 'must not be negative, got -1'),
        (['--epochs', '0'], '--epochs must be at least 1, got 0'),
        (['--jobs', '0'], '--jobs must be at least 1, got 0'),
        (['--gpus', '2'], '--gpus 2 needs --launcher'),
        (['--launcher', 'pytorch', '--jobs', '2'], 'which|--jobs must be 1'),
        (['--cfg-options', 'a'], 'KEY=VALUE, got a'),
        (['--cfg-options', 'randomness.seed=1'], '--seeds, got'),
        (['--cfg-options', 'a=[1,2'], 'Imbalanced brackets'),
        (
            ['--cfg-options', 'train_cfg.by_epoch=False'],
            'must train by epochs',
        ),
        (
            ['--cfg-options', 'default_hooks.checkpoint.rule=less'],
            'the smallest coco/AP: give a --score',
        ),
        (
            [
                *('--cfg-options', 'default_hooks.checkpoint.save_best=auto'),
                'val_evaluator.type=EPE',
            ],
            'evaluates by EPE: give the name of a --score',
        ),
        (['--cfg-options', 'data_root=nowhere/'], 'nowhere.* does not exist'),
    ],
)
def test_bad_input(compare, project, args, message):
    with pytest.raises(SystemExit, match=message) as stop:
        compare(*args)
    assert '\n' not in stop.value.code
    assert not (project / 'work').exists()


def test_no_config(compare, project):
    with pytest.raises(SystemExit, match='nothing.py does not exist'):
        compare(config='nothing.py')


# All of it, with MMPose


def settings_of(data):
    """A training of seconds on four pictures of noise."""
    options = [
        f'data_root={data}',
        'train_dataloader.batch_size=2',
        'default_hooks.logger.interval=1',
    ]
    for loader in ('train_dataloader', 'val_dataloader'):
        options += [f'{loader}.num_workers=0']
        options += [f'{loader}.persistent_workers=False']
    return options


@pytest.mark.slow
def test_killed_and_started_again(tmp_path, coco_data):
    """The same table, to the last digit, as without."""
    config = tmp_path / 'pck_1xb2.py'
    # On noise AP is 0, a generous PCK is not.
    config.write_text(
        f'_base_ = {str(DEMO)!r}\n'
        "val_evaluator = dict(_delete_=True, type='PCKAccuracy', thr=0.5)\n"
        "default_hooks = dict(checkpoint=dict(save_best='PCK'))\n"
    )

    def start(work):
        args = [config, '--losses', 'mse', 'anchor', '--seeds', '0', '1']
        args += ['--epochs', '4', '--jobs', '2', '--work-dir', work]
        args += ['--cfg-options', *settings_of(coco_data)]
        command = [sys.executable, ROOT / 'tools/compare_losses.py', *args]
        return subprocess.Popen(
            list(map(str, command)),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    whole, work = tmp_path / 'whole', tmp_path / 'work, [1] of 2'
    process = start(whole)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-3000:]

    def in_epoch(run, epoch):
        return any(
            f'"epoch": {epoch}' in scalars.read_text()
            for scalars in (work / run).glob('*/vis_data/scalars.json')
        )

    for run, epoch in (('mse/seed0', 3), ('anchor/seed1', 2)):
        process = start(work)
        end = time.time() + 600
        while not in_epoch(run, epoch):
            assert process.poll() is None, process.stdout.read()[-3000:]
            assert time.time() < end
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finished = (work / 'mse/seed0/resampled_PCK.json').stat().st_mtime_ns
    process = start(work)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-3000:]
    log = (work / 'mse/seed0/train.log').read_text()
    assert 'resumed epoch: ' in log
    kept = work / 'mse/seed0/resampled_PCK.json'
    assert kept.stat().st_mtime_ns == finished

    reports = [
        [
            line.rsplit('|', 2)[0]
            for line in table_of(x / 'report.md').split('\n')
        ]
        for x in (whole, work)
    ]
    assert reports[0] == reports[1]
    assert 'over seeds and the test people' in '\n'.join(reports[0])
    tables = []
    for folder in (whole, work):
        with (folder / 'report.csv').open() as file:
            lines = list(csv.DictReader(file))
        for line in lines:
            for key in ('seconds per iteration', 'logs'):
                line.pop(key)
        tables.append(lines)
    assert tables[0] == tables[1]
    assert {line['epochs'] for line in tables[0]} == {'4'}
    assert any(float(line['PCK']) > 0 for line in tables[0])
    assert 'heatmap/MSE' in tables[0][0]
    assert 'tested on `' in (work / 'report.md').read_text()
    assert '.json`, 4 people' in (work / 'report.md').read_text()

    files = 'configs/anchor.py', 'anchor/seed0/epoch_4.pth'
    code = f'from mmpose.apis import init_model; init_model(*{files}, "cpu")'
    subprocess.run([sys.executable, '-c', code], cwd=work, check=True)
