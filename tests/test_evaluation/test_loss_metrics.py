"""Validation loss, consistency and shares by hand, and against the losses."""

import itertools
import math

import numpy as np
import pytest
import torch
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from scipy.stats import rankdata

from mmpose_lossplus.evaluation import (
    HeatmapValidationLoss,
    LossConsistency,
    LossShare,
)

from ..factories import evaluate, sample

LOSSES = [
    dict(type='AsymmetricMSELoss', beta=0.1),
    dict(type='RegularizedMSELoss', loss_weight=3.0),
    dict(type='FocusedMSELoss'),
    dict(type='HeatmapWeightingMSELoss'),
    dict(type='KeypointMSELoss', skip_empty_channel=True),
    dict(type='KeypointOHKMMSELoss', use_target_weight=True, topk=2),
]
LOGIT_LOSSES = [
    dict(type='AnchorLoss'),
    dict(type='AnchorLoss', gamma=0),
    dict(type='HeatmapFocalLoss'),
]


@pytest.fixture
def maps(target):
    """Outputs, targets and weights of 8 people with three keypoints."""
    targets = target.repeat(4, 1, 1, 1).float()
    outputs = targets + 0.2 * torch.randn(targets.shape)
    weights = torch.ones(8, 3)
    weights[2, 1] = weights[5, 0] = weights[5, 2] = 0
    return outputs, targets, weights


def people(outputs, targets, weights):
    rng = np.random.default_rng(0)
    return [
        sample(*maps, pred=rng.normal(size=(3, 2)), size=10.0)
        for maps in zip(outputs, targets, weights)
    ]


@pytest.mark.parametrize('loss', [*LOSSES, *LOGIT_LOSSES], ids=str)
def test_validation_loss_is_that_of_one_batch(maps, loss):
    """Of logits too, from the probabilities alone."""
    outputs, targets, weights = maps
    exact = outputs.double()
    exact.is_logits = loss in LOGIT_LOSSES
    if exact.is_logits:
        outputs = outputs.sigmoid()
    samples = people(outputs, targets, weights)
    table = evaluate(HeatmapValidationLoss(loss=loss), samples)
    mse = KeypointMSELoss(use_target_weight=True)
    mse = mse(outputs.double(), targets, weights)
    assert table['MSE'] == pytest.approx(mse.item(), rel=1e-12)
    close = dict(rel=1e-5 if exact.is_logits else 1e-12)
    expected = MODELS.build(loss)(exact, targets.double(), weights.double())
    assert table['objective'] == pytest.approx(expected.item(), **close)


def test_consistency_of_equal_mse_patterns():
    """AMSE's figure 2: 8 predictions, of which 3 decode to the wrong pixel.

    Errors are five times 0 and three times 1, with deviations from the mean
    rank of -1.5 and 2.5, whose squares sum to 30. The ranks of AMSE, whose
    penalty is the number of plus signs, are (8, 6, 6, 3, 1) where the peak is
    right and (6, 3, 3) where it is wrong: the squares sum to 38, the product
    is -1.5 * 1.5 - 2.5 * 1.5.
    """
    target = np.array([[[0.5, 1.0, 0.5]]])
    samples = []
    for signs in itertools.product([1, -1], repeat=3):
        output = target + 0.5 * np.array(signs)
        samples.append(sample(output, target, pred=[[output.argmax(), 0]]))
    # With beta = 1 all is exact in binary, and what is equal stays so.
    loss = dict(type='AsymmetricMSELoss', beta=1.0)
    table = evaluate(LossConsistency(loss=loss), samples)
    for name in ('objective', 'objective by map', 'objective at equal MSE'):
        assert table[name] == pytest.approx(-6 / math.sqrt(30 * 38))
    assert math.isnan(table['MSE'])  # which cannot rank them
    assert math.isnan(table['MSE by map'])


def rho(x, y):
    return np.corrcoef(rankdata(x), rankdata(y))[0, 1]


def test_consistency_against_a_loop(maps):
    samples = people(*maps)
    loss = dict(type='AsymmetricMSELoss', beta=0.1)
    table = evaluate(LossConsistency(loss=loss), samples)
    errors, values, squares = np.full((3, 8, 3), np.nan)
    for i, k in maps[2].nonzero().tolist():
        pred, truth = (
            samples[i][name]['keypoints'][0, k]
            for name in ('pred_instances', 'gt_instances')
        )
        errors[i, k] = np.hypot(*(pred - truth)) / 10
        s, g = (x[i, k].double() for x in maps[:2])
        squares[i, k] = ((s - g) ** 2).mean()
        over = (s - g).clamp(min=0)
        values[i, k] = squares[i, k] + 0.1 * (over**2).mean()
    by_person = (np.nanmean(x, axis=1) for x in (errors, values))
    assert table['objective'] == pytest.approx(rho(*by_person))
    known = ~np.isnan(errors)
    assert known.sum() == 21
    errors, values, squares = errors[known], values[known], squares[known]
    assert table['objective by map'] == pytest.approx(rho(errors, values))

    # What a line through the ranks of MSE leaves of the other ranks.
    x, y, given = map(rankdata, (errors, values, squares))
    x, y = (a - np.polyval(np.polyfit(given, a, 1), given) for a in (x, y))
    rest = np.corrcoef(x, y)[0, 1]
    assert 0.01 < abs(rest) < 0.99
    assert table['objective at equal MSE'] == pytest.approx(rest)


def test_a_loss_without_maps(maps):
    """OHKM chooses among a person's maps: one has no loss of its own."""
    table = evaluate(LossConsistency(loss=LOSSES[-1]), people(*maps))
    assert sorted(table) == ['MSE', 'MSE by map', 'objective']
    table = evaluate(LossShare(loss=LOSSES[-1]), people(*maps))
    assert math.isnan(table['objective foreground'])
    assert 0 < table['MSE foreground'] < 100


def test_consistency_of_what_cannot_be_ranked(maps):
    """People without labels do not count; one alone has no rank."""
    samples = people(*maps)
    expected = evaluate(LossConsistency(), samples)
    unlabelled = sample(*maps[0][:2], weights=[0, 0, 0])
    boxless = sample(*maps[0][:2], size=0)
    more = [unlabelled, *samples, boxless]
    assert evaluate(LossConsistency(), more) == expected
    assert math.isnan(evaluate(LossConsistency(), samples[:1])['MSE'])
    assert math.isnan(evaluate(LossConsistency(), [unlabelled])['MSE'])


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='KeypointOHKMMSELoss', use_target_weight=True, topk=8),
        dict(type='KeypointOHKMMSELoss', topk=8),
        dict(type='AsymmetricMSELoss', use_target_weight=False),
    ],
    ids=str,
)
def test_people_are_not_ranked_by_their_labels(loss):
    """The fewer labels, the smaller loss and error of each are here."""
    target = np.tile([1.0, 0.0], (17, 1, 1))
    samples = []
    for n, error in zip((17, 12, 10, 9, 4), (0.5, 0.4, 0.3, 0.2, 0.1)):
        weights = np.arange(17) < n
        # What is predicted of the others must not matter.
        output = target + np.where(weights, error, 7.0)[:, None, None]
        pred = np.tile([1 + error, 0], (17, 1))
        samples.append(sample(output, target, weights, pred))
    table = evaluate(LossConsistency(loss=loss), samples)
    assert [table['objective'], table['MSE']] == pytest.approx([1, 1])


def test_share_by_hand():
    """Squared errors of 0.25 and 0 on two pixels, 0.25 and 0.0625 beside."""
    target = [[[1, 0.5, 0, 0]]]
    samples = [
        sample([[[0.5, 0.5, 0.5, 0.25]]], target),
        sample([[[9, 9, 9, 9]]], target, weights=[0]),
    ]
    weighting = dict(type='HeatmapWeightingMSELoss')
    table = evaluate(LossShare(loss=weighting), samples)
    assert table == pytest.approx(
        {
            'MSE foreground': 100 * 0.25 / 0.5625,
            'MSE background': 100 * 0.3125 / 0.5625,
            'MSE ratio': 0.8,
            # Weighted by 2 and 1.5 against 1.
            'objective foreground': 100 * 0.5 / 0.8125,
            'objective background': 100 * 0.3125 / 0.8125,
            'objective ratio': 1.6,
            'pixels foreground': 50.0,
        }
    )
    # Now 0.5 is background.
    table = evaluate(LossShare(threshold=0.5), samples)
    assert table['pixels foreground'] == 25
    assert table['MSE ratio'] == pytest.approx(0.8)
    # A sum over people, not a mean of shares.
    samples.append(sample([[[1, 0.5, 1, 0]]], target))
    table = evaluate(LossShare(), samples)
    assert table['MSE ratio'] == pytest.approx(0.25 / 1.3125)


def test_share_is_of_the_whole_loss(maps):
    """The parts add up, also for a loss with an anchor across pixels."""
    outputs, targets, weights = maps
    samples = people(outputs.sigmoid(), targets, weights)
    for loss in (LOSSES[0], LOSSES[2], *LOGIT_LOSSES):
        share = LossShare(loss=loss)
        share.process(None, samples)
        parts = [sum(result['objective']) for result in share.results]
        whole = evaluate(HeatmapValidationLoss(loss=loss), samples)
        assert np.mean(parts) == pytest.approx(whole['objective'], rel=1e-12)


@pytest.mark.parametrize('threshold', [-0.1, 1, math.nan])
def test_bad_threshold(threshold):
    with pytest.raises(ValueError, match=f'got {threshold}'):
        LossShare(threshold=threshold)


def test_a_diverged_model_does_not_stop_the_training(maps):
    maps[0][0] = math.nan
    samples = people(*maps)
    loss = dict(type='AsymmetricMSELoss')
    for metric in (HeatmapValidationLoss, LossConsistency, LossShare):
        table = evaluate(metric(loss=loss), samples)
        assert math.isnan(table[{LossShare: 'MSE ratio'}.get(metric, 'MSE')])
