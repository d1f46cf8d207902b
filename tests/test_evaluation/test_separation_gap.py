"""The gap between the true class and its strongest rival."""

import math

import pytest
import torch

from mmpose_lossplus import SeparationGap


def sample(logits, label):
    """A picture as MMPretrain's metrics get it."""
    score = torch.tensor(logits).softmax(-1)
    return dict(pred_score=score, gt_label=torch.tensor([label]))


def evaluate(*samples):
    metric = SeparationGap()
    for one in samples:
        metric.process(None, [one])
    return metric.evaluate(len(samples))


def test_by_hand():
    """One right by ln 2, one wrong by ln 4, of three classes."""
    right = sample([math.log(4), math.log(2), math.log(2)], 0)
    wrong = sample([math.log(1), math.log(4), math.log(3)], 0)
    found = evaluate(right, wrong)
    assert found == {
        'separation/gap': pytest.approx(100 * (2 / 8 - 3 / 8) / 2),
        'separation/gap of wrong': pytest.approx(100 * -3 / 8),
        'separation/logit gap': pytest.approx((math.log(2) - math.log(4)) / 2),
    }


def test_nothing_is_wrong():
    found = evaluate(sample([2.0, 0.0], 0))
    assert math.isnan(found['separation/gap of wrong'])
    assert found['separation/logit gap'] == pytest.approx(2, abs=1e-6)


def test_certainty_is_finite():
    found = evaluate(sample([1000.0, 0.0], 0), sample([1000.0, 0.0], 1))
    assert found['separation/gap'] == 0
    assert found['separation/gap of wrong'] == -100
    assert found['separation/logit gap'] == 0


@pytest.mark.parametrize('label', [[0, 1], []])
def test_one_label(label):
    one = sample([1.0, 0.0, 0.0], 0)
    one['gt_label'] = torch.tensor(label)
    with pytest.raises(ValueError, match=r'one label.* got labels \['):
        SeparationGap().process(None, [one])


def test_one_class():
    with pytest.raises(ValueError, match='1 classes'):
        SeparationGap().process(None, [sample([1.0], 0)])
