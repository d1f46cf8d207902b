"""From a list of images and a box file to what COCO's server reads."""

import json
import zipfile

import numpy as np
import pytest
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import DATASETS, METRICS
from xtcocotools.coco import COCO

from mmpose_lossplus.evaluation import CocoSubmission

STEM = 'person_keypoints_test-dev2017_hwl-256x192_results'


@pytest.fixture
def testdev(coco_data, tmp_path):
    """Images without annotations, and boxes on three of the four."""
    coco = json.loads(
        (coco_data / 'annotations/person_keypoints_val2017.json').read_text()
    )
    del coco['annotations']
    (tmp_path / 'image_info_test-dev2017.json').write_text(json.dumps(coco))
    boxes = [
        dict(image_id=i, category_id=1, bbox=[x, 5, 60, 80], score=0.9)
        for i in (1, 2, 4)
        for x in (20, 60)
    ]
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    return tmp_path


@pytest.fixture
def dataset(testdev, coco_data):
    return DATASETS.build(
        dict(
            type='CocoDataset',
            ann_file=str(testdev / 'image_info_test-dev2017.json'),
            bbox_file=str(testdev / 'boxes.json'),
            data_prefix=dict(img=str(coco_data / 'val2017') + '/'),
            test_mode=True,
            pipeline=[
                dict(type='LoadImage'),
                dict(type='GetBBoxCenterScale'),
                dict(type='TopdownAffine', input_size=(48, 64)),
                dict(type='PackPoseInputs'),
            ],
        )
    )


@pytest.fixture
def metric(testdev, dataset):
    metric = METRICS.build(
        dict(
            type='CocoSubmission',
            ann_file=str(testdev / 'image_info_test-dev2017.json'),
            name='hwl-256x192',
            out_dir=str(testdev / 'out'),
        )
    )
    metric.dataset_meta = dataset.metainfo
    return metric


def predict(dataset, *metrics, change=lambda sample: None):
    rng = np.random.default_rng(0)
    for item in dataset:
        sample = item['data_samples'].to_dict()
        sample['pred_instances'] = dict(
            keypoints=rng.uniform(0, 96, (1, 17, 2)),
            keypoint_scores=rng.uniform(0, 1, (1, 17)),
        )
        change(sample)
        for metric in metrics:
            metric.process([], [sample])


def read(file):
    with zipfile.ZipFile(file) as archive:
        (name,) = archive.namelist()
        return name, json.loads(archive.read(name))


def test_chain_ends_in_the_zip_file(testdev, dataset, metric):
    host = CocoMetric(
        ann_file=metric.ann_file,
        format_only=True,
        outfile_prefix=str(testdev / 'host'),
    )
    host.dataset_meta = dataset.metainfo
    predict(dataset, metric, host)
    assert metric.evaluate(6) == {'coco/people': 6, 'coco/images': 3}
    host.evaluate(6)

    files = list((testdev / 'out').iterdir())
    assert [file.name for file in files] == [f'{STEM}.zip']
    name, people = read(files[0])
    assert name == f'{STEM}.json'
    expected = json.loads((testdev / 'host.keypoints.json').read_text())
    assert len(people) == len(expected)
    for person, other in zip(people, expected):
        assert set(person) == {
            'image_id',
            'category_id',
            'keypoints',
            'score',
        }
        assert person['image_id'] == other['image_id']
        assert person['category_id'] == 1
        assert person['score'] == pytest.approx(other['score'], abs=1e-6)
        points = np.array(person['keypoints']).reshape(17, 3)
        np.testing.assert_allclose(
            points[:, :2],
            np.reshape(other['keypoints'], (17, 3))[:, :2],
            atol=0.0051,
        )
        assert (points[:, 2] == 1).all()


def test_cocos_own_reader_accepts_it(testdev, dataset, metric):
    predict(dataset, metric)
    metric.evaluate(6)
    _, people = read(testdev / 'out' / f'{STEM}.zip')
    (testdev / 'results.json').write_text(json.dumps(people))
    results = COCO(metric.ann_file).loadRes(str(testdev / 'results.json'))
    assert len(results.anns) == 6


def test_two_boxes_on_one_person_leave_one(dataset, metric):
    keypoints = np.random.default_rng(0).uniform(0, 96, (1, 17, 2))

    def change(sample):
        sample['pred_instances']['keypoints'] = keypoints

    predict(dataset, metric, change=change)
    assert metric.evaluate(6) == {'coco/people': 3, 'coco/images': 3}


def set_image(sample):
    sample['img_id'] = 77


def set_nan(sample):
    sample['pred_instances']['keypoints'][0, 3] = np.nan


def set_sixteen(sample):
    for key, value in sample['pred_instances'].items():
        sample['pred_instances'][key] = value[:, :16]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (set_image, 'image 77, which is not in .*image_info_test-dev2017'),
        (set_nan, r'\(1, 17, 2\) with 2 non-finite'),
        (set_sixteen, r'\(1, 16, 2\) with 0 non-finite'),
    ],
)
def test_bad_predictions_are_refused(dataset, metric, change, message):
    with pytest.raises(ValueError, match=message):
        predict(dataset, metric, change=change)


def test_bad_arguments_are_refused(testdev):
    ann_file = str(testdev / 'image_info_test-dev2017.json')
    with pytest.raises(FileNotFoundError, match='image_info_test2017.zip'):
        CocoSubmission('nowhere.json', 'a')
    for name in ('', 'a_b', 'a/b'):
        with pytest.raises(ValueError, match='name must consist of letters'):
            CocoSubmission(ann_file, name)
    with pytest.raises(ValueError, match='sets format_only itself'):
        CocoSubmission(ann_file, 'a', format_only=False)
    (testdev / 'empty.json').write_text('{"images": []}')
    with pytest.raises(ValueError, match='empty.json lists no images'):
        CocoSubmission(str(testdev / 'empty.json'), 'a')
