"""What is wrong with labels, boxes and pictures is found and named.

Each file is a good one with one change; the first two people of four are what
is broken.
"""

import copy
import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmpose.datasets.datasets import CocoDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.metrics import CocoMetric

from mmpose_lossplus.experiments import data_checks
from mmpose_lossplus.experiments.configs import move_data
from mmpose_lossplus.experiments.data_checks import check_data

from ..factories import CONFIGS, DETECTOR, read, write_noise

HMW = 'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_{}'
PATHS = {path.stem: path for path in CONFIGS}
BOXES = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
TRAIN, VAL = (
    f'annotations/person_keypoints_{x}2017.json' for x in ('train', 'val')
)


@pytest.fixture
def root(coco_data, tmp_path):
    """A copy whose training has pictures of its own."""
    root = shutil.copytree(coco_data, tmp_path / 'coco')
    for path in (root / 'train2017').iterdir():
        write_noise(path.with_name(f't{path.name}'), 128, 96, seed=9)

    def rename(coco):
        for image in coco['images']:
            image['file_name'] = f't{image["file_name"]}'

    change(root / TRAIN, rename)
    return root


def change(file, edit):
    content = json.loads(file.read_text())
    content = edit(content) or content
    file.write_text(json.dumps(content))


def config(root, **options):
    cfg = read(PATHS[HMW.format('coco-256x192')])
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        dataset.data_root = str(root)
        if dataset.get('bbox_file'):
            dataset.bbox_file = str(root / BOXES)
        if part != 'train':
            cfg[f'{part}_evaluator'].ann_file = str(root / VAL)
    cfg.merge_from_dict(options)
    return cfg


def found(root, thorough=False, **options):
    faults = check_data(config(root, **options), thorough=thorough)
    return [(fault, count) for fault, count in faults]


def test_nothing_is_wrong(root):
    assert found(root, thorough=True) == []


def annotation(index=0, **changes):
    """Edit an annotation; a value of None removes the field."""

    def edit(coco):
        person = coco['annotations'][index]
        for key, value in changes.items():
            if value is None:
                del person[key]
            else:
                person[key] = value

    return edit


def visibility(value):
    def edit(coco):
        coco['annotations'][0]['keypoints'][2] = value

    return edit


def box(**changes):
    def edit(boxes):
        for key, value in changes.items():
            boxes[0].pop(key) if value is None else boxes[0].update(
                {key: value}
            )

    return edit


def first_image(**changes):
    return lambda coco: coco['images'][0].update(changes)


NAN = float('nan')


@pytest.mark.parametrize(
    ('file', 'edit', 'severity', 'entry'),
    [
        (TRAIN, lambda coco: [coco], 'error', ''),
        (TRAIN, lambda coco: {**coco, 'annotations': []}, 'error', 'annot'),
        (TRAIN, lambda coco: {**coco, 'images': None}, 'error', 'images'),
        (TRAIN, lambda coco: {**coco, 'categories': []}, 'error', 's[0]: 1'),
        (TRAIN, lambda coco: {**coco, 'categories': [1]}, 'error', 's[0]: 1'),
        (TRAIN, lambda coco: {**coco, 'images': [1]}, 'error', 'images[0]'),
        (TRAIN, lambda coco: coco['annotations'].append(7), 'error', 's[4]'),
        (TRAIN, annotation(id='one'), 'error', 'annotations[0]'),
        (TRAIN, annotation(id=2), 'error', 'id 2'),
        # xtcocotools would count none of its people.
        (TRAIN, annotation(id=-1), 'error', '-1'),
        (TRAIN, annotation(image_id=99), 'error', '99'),
        (TRAIN, annotation(image_id='1'), 'error', "'1'"),
        (TRAIN, annotation(category_id=3), 'error', '3'),
        (TRAIN, annotation(category_id=[1]), 'error', '[1]'),
        (TRAIN, annotation(bbox=None), 'warning', 'id 1'),
        (TRAIN, annotation(bbox=[1, 2, 3]), 'error', '[1, 2, 3]'),
        (TRAIN, annotation(bbox=[1, 2, NAN, 3]), 'error', 'nan'),
        (TRAIN, annotation(bbox=['1', 2, 3, 4]), 'error', "'1'"),
        (TRAIN, annotation(bbox=[60, 60, -20, 20]), 'warning', '-20'),
        (TRAIN, annotation(bbox=[60, 60, 0, 20]), 'warning', '60, 0'),
        (TRAIN, annotation(bbox=[900, 60, 20, 20]), 'warning', '900'),
        (TRAIN, annotation(keypoints=None), 'warning', 'id 1'),
        (TRAIN, annotation(keypoints=[1, 1, 2] * 5), 'error', '5 keypoints'),
        (TRAIN, annotation(keypoints=[NAN, 1, 2] * 17), 'error', 'nan'),
        (TRAIN, annotation(keypoints='all'), 'error', 'id 1'),
        (TRAIN, visibility(-1), 'error', '-1'),
        (TRAIN, visibility(3), 'warning', '3'),
        (TRAIN, visibility(0.5), 'warning', '0.5'),
        (TRAIN, annotation(num_keypoints=0), 'warning', 'labelled 17'),
        (TRAIN, annotation(num_keypoints=5), 'warning', 'labelled 17'),
        (TRAIN, first_image(width=0), 'error', 'images[0]'),
        (TRAIN, first_image(file_name=7), 'error', '7'),
        (TRAIN, first_image(id=2), 'error', '2'),
        (VAL, annotation(area=None), 'error', 'None'),
        (VAL, annotation(area=0), 'error', 'id 1: 0'),
        (VAL, annotation(area=-5), 'error', 'id 1: -5'),
        (VAL, annotation(area=NAN), 'error', 'id 1: nan'),
        (VAL, annotation(area='9'), 'error', "id 1: '9'"),
        (VAL, annotation(iscrowd=None), 'error', 'None'),
        (BOXES, box(score=None), 'error', 'entry 0'),
        (BOXES, box(score=NAN), 'error', 'nan'),
        (BOXES, box(image_id=77), 'error', '77'),
        (BOXES, box(image_id='1'), 'error', "'1'"),
        (BOXES, box(category_id='1'), 'warning', "'1'"),
        (BOXES, box(category_id=0), 'warning', 'entry 0: 0'),
        (BOXES, lambda boxes: [7, *boxes], 'error', 'entry 0'),
        (BOXES, box(bbox=[1, 2, 0, 4]), 'error', '[1, 2, 0, 4]'),
        (BOXES, box(bbox=[1, 2, NAN, 4]), 'error', 'nan'),
        (BOXES, lambda boxes: dict(boxes=boxes), 'error', 'boxes'),
        (BOXES, lambda boxes: boxes.clear(), 'error', '[]'),
    ],
)
def test_broken_file(file, edit, severity, entry, root):
    change(root / file, edit)
    (fault, _), *_ = faults = found(root)
    assert fault.file == str(root / file)
    assert fault.severity == severity
    assert any(entry in fault.entry for fault, _ in faults)
    assert fault.cure


def test_faults_of_a_kind_are_counted(root):
    def edit(coco):
        for person in coco['annotations'][:3]:
            person['area'] = 0

    change(root / VAL, edit)
    ((fault, count),) = found(root)
    assert (fault.entry, count) == ('annotations[0], id 1: 0', 3)


def test_what_the_training_does_not_need(root):
    """An area is nothing to a training, nor to a PCK."""
    change(root / TRAIN, annotation(area=None))
    change(root / TRAIN, annotation(iscrowd=None))
    assert found(root) == []
    change(root / VAL, annotation(area=0))
    pck = dict(type='PCKAccuracy')
    assert found(root, val_evaluator=pck, test_evaluator=pck) == []


def test_boxes_of_other_categories(root):
    """A detector's, which MMPose leaves out, are nobody's fault."""
    change(root / BOXES, box(category_id=3, image_id=77))
    assert found(root) == []


def test_crowds_have_no_keypoints(root):
    change(root / VAL, annotation(iscrowd=1, keypoints=[], num_keypoints=0))
    assert found(root) == []


def test_no_person_is_left(root):
    def edit(coco):
        for person in coco['annotations']:
            person['num_keypoints'] = 0

    change(root / TRAIN, edit)
    faults = found(root)
    assert {fault.severity for fault, _ in faults} == {'error', 'warning'}

    def count_wrongly(coco):
        for person in coco['annotations']:
            person['num_keypoints'] = 3  # these are kept

    change(root / TRAIN, count_wrongly)
    assert [fault.severity for fault, _ in found(root)] == ['warning']


def test_category_that_a_box_file_cannot_have(root):
    """Its people have 1, whatever the annotations say: AP would be 0."""

    def edit(coco):
        coco['categories'][0]['id'] = 3
        for person in coco['annotations']:
            person['category_id'] = 3

    change(root / VAL, edit)
    ((fault, _),) = found(root)
    assert fault.file == str(root / BOXES)
    assert '[3]' in fault.entry


def test_keypoints_of_the_model(root):
    ((fault, _), *_) = found(root, **{'model.head.out_channels': 5})
    assert fault.severity == 'error'
    assert '17' in fault.problem
    assert '5' in fault.problem


def test_keypoints_are_converted_to_those_of_the_model(root):
    """As where several data sets are trained together."""
    convert = dict(type='KeypointConverter', num_keypoints=5, mapping=[(0, 0)])
    cfg = config(root, **{'model.head.out_channels': 5})
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.pipeline.insert(1, convert)
    assert check_data(cfg) == []


COCO_NAMES = parse_pose_metainfo(CocoDataset.METAINFO)['keypoint_id2name']


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (lambda names: names, None),
        (
            lambda names: [names[0], names[2], names[1], *names[3:]],
            "keypoints[1] is 'right_eye', in metainfo 'left_eye'",
        ),
        (
            lambda names: [*names[:-1], 'tail'],
            "keypoints[16] is 'tail', in metainfo 'right_ankle'",
        ),
        # Spelt in another way; of a part of them, as for whole bodies.
        (lambda names: [x.replace('_', ' ').title() for x in names], None),
        (lambda names: names[:5], None),
        (lambda names: 'nose', None),
    ],
)
def test_names_of_keypoints(edit, said, root):
    """A warning, with the first that differ, and the training goes on."""
    names = edit([COCO_NAMES[i] for i in range(17)])
    change(
        root / TRAIN,
        lambda coco: coco['categories'][0].update(keypoints=names),
    )
    faults = found(root)
    if said is None:
        assert not faults
        return
    ((fault, count),) = faults
    assert fault.severity == 'warning'
    assert fault.file == str(root / TRAIN)
    assert (fault.entry, count) == (f'categories[0].{said}', 1)


def test_evaluator_of_another_file(root):
    other = str(root / TRAIN)
    options = {f'{x}_evaluator.ann_file': other for x in ('val', 'test')}
    faults = found(root, **options)
    assert [fault.severity for fault, _ in faults] == ['warning']
    assert faults[0][0].file == other
    assert str(root / VAL) in faults[0][0].entry


def test_evaluators_of_several_data_sets(root):
    """Each metric counts for its own data set."""
    change(root / TRAIN, annotation(area=0))
    cfg = config(root)
    one = cfg.val_dataloader.dataset
    two = dict(one, ann_file=TRAIN, bbox_file=None)
    two['data_prefix'] = dict(img='train2017/')
    cfg.val_dataloader.dataset = dict(type='Both', datasets=[one, two])
    file = str(root / TRAIN)
    own = dict(type='CocoMetric', ann_file=file)
    metrics = [cfg.val_evaluator, own]
    cfg.val_evaluator = dict(type='MultiDatasetEvaluator', metrics=metrics)
    ((fault, _),) = check_data(cfg, ['val_dataloader'])
    assert (fault.file, fault.entry) == (file, 'annotations[0], id 1: 0')
    cfg.val_evaluator.metrics[1].use_area = False
    assert check_data(cfg, ['val_dataloader']) == []


def test_shared_pictures(coco_data):
    """Four names are in both splits, but are different files."""
    assert found(coco_data) == []
    options = {
        'test_dataloader.dataset.ann_file': TRAIN,
        'test_dataloader.dataset.bbox_file': None,
        'test_dataloader.dataset.data_prefix.img': 'val2017/../train2017',
        'test_evaluator.ann_file': str(coco_data / TRAIN),
    }
    ((fault, count),) = found(coco_data, **options)
    assert (fault.severity, count) == ('warning', 4)
    # These files have the same content.
    ((fault, count),) = found(coco_data, thorough=True)
    assert (fault.severity, count) == ('warning', 4)
    assert str(coco_data / 'train2017') in fault.entry
    assert str(coco_data / 'val2017') in fault.entry


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        # For the rest, OpenCV makes grey.
        lambda path: path.write_bytes(path.read_bytes()[:-900]),
        lambda path: path.write_text('no picture'),
        lambda path: cv2.imwrite(str(path), np.zeros((128, 96, 3), np.uint8)),
    ],
    ids=['missing', 'no pixels', 'cut off', 'something else', 'turned'],
)
def test_pictures(damage, root):
    path = root / 'train2017' / 't000000000002.jpg'
    damage(path)
    assert found(root) == []  # takes too long before each training
    ((fault, count),) = found(root, thorough=True)
    assert fault.severity == 'error'
    assert str(path) in fault.entry
    assert count == 1


def test_data_set_of_another_format(mpii_data):
    """What is not COCO's is loaded by its own class."""
    path = PATHS[HMW.format('mpii-256x256')]
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(move_data(cfg, dict(data_root=str(mpii_data))))
    ((fault, count),) = check_data(cfg, thorough=True)
    assert 'trained on' in fault.problem
    assert count == 3  # two are of the same noise
    cfg.train_dataloader.dataset.data_prefix.img = 'nowhere/'
    ((fault, count),) = check_data(cfg, thorough=True)
    assert 'nowhere' in fault.entry
    assert count == 4


def test_detectors_are_left_alone(coco_data):
    """Their CocoDataset is another one, without keypoints."""
    assert check_data(read(DETECTOR)) == []


def test_an_object_store(root):
    """Labels, boxes and pictures, each by the address alone."""

    def faults():
        cfg = config(root)
        for part in ('train', 'val', 'test'):
            dataset = cfg[f'{part}_dataloader'].dataset
            dataset.data_root = f'elsewhere://{root}'
            if dataset.get('bbox_file'):
                dataset.bbox_file = f'elsewhere://{root / BOXES}'
            if part != 'train':
                cfg[f'{part}_evaluator'].ann_file = f'elsewhere://{root / VAL}'
        return check_data(cfg, thorough=True)

    assert faults() == []
    (root / 'train2017' / 't000000000002.jpg').unlink()
    change(root / BOXES, box(score=None))
    places = [fault.entry for fault, _ in faults()]
    assert len(places) == 2
    assert any('elsewhere://' in place for place in places)


def test_types_that_are_classes(root):
    """As in MMEngine's pure-Python configs."""
    change(root / VAL, annotation(area=0))
    cfg = config(root)
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.type = CocoDataset
        if part != 'train':
            cfg[f'{part}_evaluator'].type = CocoMetric
    ((fault, _),) = check_data(cfg)
    assert 'area' in fault.problem


def test_data_set_that_cannot_be_built(root):
    """Nor can what names it."""
    option = {'train_dataloader.dataset.data_mode': 'sideways'}
    ((fault, _),) = found(root, **option)
    assert 'sideways' in fault.entry


@pytest.mark.parametrize('encoding', ['ANSI_X3.4-1968', 'cp1252'])
def test_letters_in_another_locale(root, monkeypatch, encoding):
    """xtcocotools reads a file as the locale says."""
    content = json.loads((root / TRAIN).read_text(encoding='utf-8'))
    content['categories'][0]['name'] = '\u4eba'
    text = json.dumps(content, ensure_ascii=False)
    (root / TRAIN).write_text(text, encoding='utf-8')
    assert found(root) == []
    monkeypatch.setattr(
        data_checks.locale, 'getpreferredencoding', lambda _: encoding
    )
    ((fault, _),) = found(root)
    assert fault.file == str(root / TRAIN)
    assert encoding in fault.problem


def test_missing_file(root):
    (root / TRAIN).unlink()
    ((fault, _),) = found(root)
    assert fault.file == str(root / TRAIN)


def test_data_sets_within_others(root):
    change(root / TRAIN, annotation(bbox=[1]))
    cfg = config(root)
    inner = copy.deepcopy(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[inner, dict(inner, ann_file=VAL)],
        pipeline=inner.pipeline,
    )
    assert any('[1]' in fault.entry for fault, _ in check_data(cfg))
