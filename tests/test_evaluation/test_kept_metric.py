import pickle

import numpy as np
import pytest
from mmpose.registry import METRICS

from mmpose_lossplus import KeptMetric

TRUTH = np.array([[[0.0, 0], [5, 5]]])


def evaluate(metric):
    """Of two people, the first is found."""
    metric.dataset_meta = dict(dataset_name='any')
    for shift in (1, 8):
        sample = dict(
            pred_instances=dict(keypoints=TRUTH + shift),
            gt_instances=dict(
                keypoints=TRUTH,
                keypoints_visible=np.ones((1, 2)),
                bboxes=np.array([[0, 0, 10, 10]]),
            ),
        )
        metric.process([], [sample])
    return metric.evaluate(2)


@pytest.mark.parametrize('prefix', [None, 'mine'])
def test_scores_are_those_of_the_metric(tmp_path, prefix):
    plain = dict(type='PCKAccuracy', thr=0.5, prefix=prefix)
    path = tmp_path / 'people'
    metric = METRICS.build(
        dict(type='KeptMetric', metric=plain, out_file=str(path))
    )
    assert isinstance(metric, KeptMetric)
    name = 'mine/PCK' if prefix else 'PCK'
    for _ in range(2):  # results of the first time do not stay
        assert evaluate(metric) == {name: pytest.approx(0.5)}
    assert metric.metric.dataset_meta == dict(dataset_name='any')
    assert evaluate(METRICS.build(plain)) == {name: pytest.approx(0.5)}
    results = pickle.loads(path.read_bytes())
    assert len(results) == 2
    again = METRICS.build(plain).compute_metrics(results[:1])
    assert again == dict(PCK=1.0)
    assert [p.name for p in tmp_path.iterdir()] == ['people']


def test_nothing_is_written_without_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metric = KeptMetric(dict(type='PCKAccuracy', thr=0.5))
    assert evaluate(metric) == dict(PCK=pytest.approx(0.5))
    assert list(tmp_path.iterdir()) == []
