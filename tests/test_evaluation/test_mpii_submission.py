"""MPII's release through converter, MMPose and metric, back to its layout."""

import json

import numpy as np
import pytest
from mmpose.datasets.datasets import MpiiDataset
from scipy.io import loadmat

from mmpose_lossplus.evaluation import MpiiSubmission

from ..factories import load_tool, pipeline, write_mpii_release


@pytest.fixture
def data(tmp_path):
    release = write_mpii_release(tmp_path, train=2, test=5)
    tool = load_tool('dataset_converters/mpii_test_to_json.py')
    people, _ = tool.list_people(tool.load_release(release))
    (tmp_path / 'mpii_test.json').write_text(json.dumps(people))
    return tmp_path


@pytest.fixture
def metric(data):
    return MpiiSubmission(
        release_file=str(data / 'mpii_human_pose_v1_u12_1.mat'),
        ann_file=str(data / 'mpii_test.json'),
        outfile=str(data / 'results' / 'pred_keypoints_mpii.mat'),
    )


def predict(metric, ids, keypoints):
    for i in ids:
        sample = dict(id=i, pred_instances=dict(keypoints=keypoints[i][None]))
        metric.process([], [sample])


def test_chain_from_release_to_predictions(data, metric):
    dataset = MpiiDataset(
        data_root=str(data),
        ann_file='mpii_test.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=pipeline((64, 64)),
    )
    keypoints = np.random.default_rng(0).uniform(0, 128, (4, 16, 2))
    ids = [dataset[i]['data_samples'].id for i in (2, 0, 3, 1, 1)]
    predict(metric, ids, keypoints)  # ranks mix and repeat
    assert metric.evaluate(5) == {'mpii/people': 4}

    (file,) = (data / 'results').iterdir()
    assert file.name == 'pred_keypoints_mpii.mat'
    options = dict(squeeze_me=True, struct_as_record=False)
    pred = loadmat(file, **options)['pred']
    release = loadmat(metric.release_file, **options)['RELEASE']
    test = release.annolist[release.img_train == 0]
    assert [p.image.name for p in pred] == [t.image.name for t in test]
    rects = [pred[0].annorect, *pred[1].annorect, pred[2].annorect[1]]
    for rect, expected in zip(rects, keypoints):
        points = rect.annopoints.point
        assert [point.id for point in points] == list(range(16))
        # MATLAB's first pixel is (1, 1).
        found = [(point.x, point.y) for point in points]
        np.testing.assert_allclose(found, expected + 1)
    # flatten_annolist.m counts these, so they must stay.
    assert pred[2].annorect[0].objpos.x == test[2].annorect[0].objpos.x
    assert pred[2].annorect[0].annopoints.size == 0
    assert pred[1].annorect[1].scale == test[1].annorect[1].scale
    assert pred[4].annorect.size == 0


def test_everyone_must_be_predicted(data, metric):
    predict(metric, [0, 2, 3], np.ones((4, 16, 2)))
    with pytest.raises(ValueError, match='4 people, but 1 of them'):
        metric.evaluate(3)
    assert not (data / 'results').exists()


@pytest.mark.parametrize(
    'keypoints',
    [np.ones((1, 17, 2)), np.full((1, 16, 2), np.nan)],
    ids=['seventeen', 'nan'],
)
def test_bad_predictions_are_refused(metric, keypoints):
    with pytest.raises(ValueError, match='entry 0 of .*mpii_test.json'):
        predict(metric, [0], keypoints)


def test_annotations_of_another_release_are_refused(data, metric):
    metric.rects[0] = (0, 0)  # a training image
    predict(metric, range(4), np.ones((4, 16, 2)))
    with pytest.raises(ValueError, match='image 0 '):
        metric.evaluate(4)


@pytest.mark.parametrize(
    'content', [[{'image': '1.jpg', 'scale': 1}], {'images': []}]
)
def test_annotations_from_elsewhere_are_refused(metric, tmp_path, content):
    file = tmp_path / 'other.json'
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='other.json'):
        MpiiSubmission(metric.release_file, str(file))


def test_missing_files_are_named(metric):
    with pytest.raises(FileNotFoundError, match='nowhere.mat'):
        MpiiSubmission('nowhere.mat', metric.ann_file)
    with pytest.raises(FileNotFoundError, match='nowhere.json'):
        MpiiSubmission(metric.release_file, 'nowhere.json')
