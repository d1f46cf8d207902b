"""Target and weights of the training, found in data that has none."""

import pickle

import pytest
import torch

from mmpose_lossplus.evaluation import (
    DoubleCounting,
    HeatmapValidationLoss,
    LossConsistency,
    LossShare,
)
from mmpose_lossplus.evaluation.heatmap_metric import to_logits

from ..factories import coco_samples, evaluate, sample

SIZES = dict(input_size=(48, 64), heatmap_size=(12, 16))
CODECS = [
    dict(type='MSRAHeatmap', sigma=1, **SIZES),
    dict(type='MSRAHeatmap', sigma=1, unbiased=True, **SIZES),
    dict(type='UDPHeatmap', sigma=1, **SIZES),
    dict(type='MegviiHeatmap', kernel_size=5, **SIZES),
]
LARGE = dict(CODECS[0], input_size=(192, 256))
SIMCC = dict(type='SimCCLabel', input_size=(48, 64), sigma=4.0)
COMBINED = dict(type='UDPHeatmap', heatmap_type='combined', **SIZES)


@pytest.mark.parametrize(
    ('codec', 'udp'),
    [*((codec, None) for codec in CODECS), (CODECS[2], False)],
    ids=str,
)
def test_target_is_that_of_the_training_pipeline(coco_data, codec, udp):
    """To the last bit, unlabelled and cut off keypoints too.

    Some of MMPose's configs have UDP's codec without its crops.
    """
    taken = HeatmapValidationLoss()
    encoded = HeatmapValidationLoss(codec, use_udp=udp)
    with_target = coco_samples(coco_data, codec, udp=udp)
    without = coco_samples(coco_data, codec, target=False, udp=udp)
    assert len(with_target) == 4
    for person, bare in zip(with_target, without):
        assert 'gt_fields' not in bare
        expected, found = taken.maps(person), encoded.maps(bare)
        for x, y in zip(expected, found):
            assert torch.equal(x, y)
        assert expected.target.max() > 0.5

        for labels in (person['gt_instances'], bare['gt_instances']):
            labels['keypoints_visible'][0, 3] = 0
            labels['keypoints'][0, 4] = -1000
        maps = encoded.maps(bare)
        assert maps.weights[0, [3, 4]].tolist() == [0, 0]
        assert maps.weights.sum() == 15


@pytest.mark.parametrize(
    'metric',
    [HeatmapValidationLoss, LossConsistency, LossShare, DoubleCounting],
)
def test_keeps_a_few_numbers_of_each_person(metric, coco_data):
    """One entry each, by which MMEngine drops what ranks had twice."""
    samples = coco_samples(coco_data, CODECS[0], target=False)
    before = pickle.dumps(samples)
    metric = metric(CODECS[0])
    metric.process(None, samples)
    assert pickle.dumps(samples) == before
    assert len(metric.results) == 4
    assert max(len(pickle.dumps(x)) for x in metric.results) < 1000


def test_logits():
    """What a sigmoid loses, and what it does not."""
    logits = torch.linspace(-80, 10, 1000)
    found = to_logits(logits.sigmoid())
    assert found.dtype == torch.float64
    assert found.is_logits
    # Two rounding steps of a float32 near 1, over 1 - q.
    step = 2.0**-23 * (1 + logits.double().exp())
    assert ((found - logits).abs() <= step + 1e-5).all()

    ends = to_logits(torch.tensor([0.0, 0.5, 1.0]))
    assert ends.tolist() == pytest.approx([-87.34, 0, 16.64], abs=0.01)
    half = to_logits(torch.tensor([0.0, 1.0], dtype=torch.float16))
    assert half.tolist() == pytest.approx([-9.7, 7.62], abs=0.01)
    assert to_logits(torch.ones(1, dtype=torch.float64)).isfinite()
    assert to_logits(torch.tensor([float('nan')])).isnan()


@pytest.mark.parametrize(
    ('codec', 'changes', 'message'),
    [
        (CODECS[0], dict(pred_fields={}), 'output_heatmaps=True'),
        (CODECS[0], dict(pred_fields=None), 'output_heatmaps=True'),
        (None, {}, 'give it the codec'),
        (LARGE, {}, r'\(192, 256\).*\(48, 64\)'),
        (dict(CODECS[0], heatmap_size=(24, 32)), {}, r'\(17, 16, 12\)'),
        (COMBINED, {}, r'\(51, 16, 12\)'),
        (SIMCC, {}, 'SimCCLabel'),
        (CODECS[0], dict(gt_instances={}), '000000000001.jpg'),
    ],
)
def test_bad_input(coco_data, codec, changes, message):
    (person, *_) = coco_samples(coco_data, CODECS[0], target=False)
    metric = HeatmapValidationLoss(codec)
    with pytest.raises(ValueError, match=message):
        metric.process(None, [{**person, **changes}])
    assert not metric.results


def test_people_of_a_detector(coco_data):
    """What MMPose fills in for their labels is recognised."""
    folder = coco_data / 'person_detection_results'
    boxes = str(folder / 'COCO_val2017_detections_AP_H_56_person.json')
    (person, *_) = coco_samples(coco_data, CODECS[0], False, bbox_file=boxes)
    with pytest.raises(ValueError, match="set the dataset's bbox_file=None"):
        HeatmapValidationLoss(CODECS[0]).process(None, [person])


@pytest.mark.filterwarnings('error::UserWarning')
def test_no_warnings_for_logits():
    """A loss of logits is told that they are some, and finds them so."""
    target = torch.zeros(2, 8, 8)
    target[:, 3, 3] = 1
    person = sample(torch.rand(2, 8, 8), target)
    loss = dict(type='AnchorLoss')
    for metric in (HeatmapValidationLoss, LossConsistency, LossShare):
        evaluate(metric(loss=loss), [person])
    person['pred_fields']['heatmaps'][0, 0, 0] = -3
    with pytest.raises(ValueError, match='got values from -3 to .*Sigmoid'):
        HeatmapValidationLoss(loss=loss).process(None, [person])
