"""From a list of images and a box file to what COCO's server reads."""

import json
import zipfile

import numpy as np
import pytest
from mmpose.datasets.datasets import CocoDataset
from mmpose.evaluation.metrics import CocoMetric
from xtcocotools.coco import COCO

from mmpose_lossplus.evaluation import CocoSubmission

from ..factories import pipeline

STEM = 'person_keypoints_test-dev2017_hwl-256x192_results'


@pytest.fixture
def ann_file(coco_data):
    return str(coco_data / 'annotations' / 'image_info_test-dev2017.json')


@pytest.fixture
def dataset(ann_file, coco_data, tmp_path):
    """Two boxes on three of the four images."""
    boxes = [
        dict(image_id=i, category_id=1, bbox=[x, 5, 60, 80], score=0.9)
        for i in (1, 2, 4)
        for x in (20, 60)
    ]
    file = tmp_path / 'boxes.json'
    file.write_text(json.dumps(boxes))
    return CocoDataset(
        ann_file=ann_file,
        bbox_file=str(file),
        data_prefix=dict(img=f'{coco_data}/test2017/'),
        test_mode=True,
        pipeline=pipeline((48, 64)),
    )


@pytest.fixture
def metric(ann_file, dataset, tmp_path):
    metric = CocoSubmission(ann_file, 'hwl-256x192', str(tmp_path / 'out'))
    metric.dataset_meta = dataset.metainfo
    return metric


def predict(dataset, *metrics, keypoints=None):
    rng = np.random.default_rng(0)
    for item in dataset:
        sample = item['data_samples'].to_dict()
        points = rng.uniform(0, 96, (1, 17, 2))
        sample['pred_instances'] = dict(
            keypoints=points if keypoints is None else keypoints,
            keypoint_scores=rng.uniform(0, 1, (1, 17)),
        )
        for metric in metrics:
            metric.process([], [sample])


def test_chain_ends_in_the_zip_file(tmp_path, dataset, metric):
    """What MMPose's own metric writes, rounded, is in it."""
    prefix = str(tmp_path / 'host')
    host = CocoMetric(metric.ann_file, format_only=True, outfile_prefix=prefix)
    host.dataset_meta = dataset.metainfo
    predict(dataset, metric, host)
    assert metric.evaluate(6) == {'coco/people': 6, 'coco/images': 3}
    host.evaluate(6)

    with zipfile.ZipFile(tmp_path / 'out' / f'{STEM}.zip') as archive:
        assert archive.namelist() == [f'{STEM}.json']
        archive.extractall(tmp_path)
    people = json.loads((tmp_path / f'{STEM}.json').read_text())
    expected = json.loads((tmp_path / 'host.keypoints.json').read_text())
    assert len(people) == len(expected)
    keys = {'image_id', 'category_id', 'keypoints', 'score'}
    for person, other in zip(people, expected):
        assert set(person) == keys
        assert person['image_id'] == other['image_id']
        assert person['score'] == pytest.approx(other['score'], abs=1e-6)
        points = np.reshape(person['keypoints'], (17, 3))
        truth = np.reshape(other['keypoints'], (17, 3))
        np.testing.assert_allclose(points[:, :2], truth[:, :2], atol=0.0051)
        assert (points[:, 2] == 1).all()
    # COCO's own reader takes it.
    results = COCO(metric.ann_file).loadRes(str(tmp_path / f'{STEM}.json'))
    assert len(results.anns) == 6


def test_two_boxes_on_one_person_leave_one(dataset, metric):
    keypoints = np.random.default_rng(0).uniform(0, 96, (1, 17, 2))
    predict(dataset, metric, keypoints=keypoints)
    assert metric.evaluate(6) == {'coco/people': 3, 'coco/images': 3}


NAN = np.full((1, 17, 2), np.nan)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(img_id=77), 'image 77, .*image_info_test-dev2017'),
        (dict(keypoints=NAN), r'\(1, 17, 2\) with 34 '),
        (dict(keypoints=np.ones((1, 16, 2))), r'\(1, 16, 2\) with 0 '),
    ],
)
def test_bad_predictions_are_refused(metric, change, message):
    person = dict(img_id=1, keypoints=np.ones((1, 17, 2))) | change
    person['pred_instances'] = dict(keypoints=person.pop('keypoints'))
    with pytest.raises(ValueError, match=message):
        metric.process([], [person])


def test_bad_arguments_are_refused(ann_file, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.json'):
        CocoSubmission('nowhere.json', 'a')
    for name in ('', 'a_b', 'a/b'):
        with pytest.raises(ValueError, match=f"'{name}'"):
            CocoSubmission(ann_file, name)
    with pytest.raises(TypeError, match='format_only'):
        CocoSubmission(ann_file, 'a', format_only=False)
    (tmp_path / 'empty.json').write_text('{"images": []}')
    with pytest.raises(ValueError, match='empty.json'):
        CocoSubmission(str(tmp_path / 'empty.json'), 'a')
