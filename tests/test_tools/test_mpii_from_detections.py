"""Which of MPII's people get which box, and what MMPose makes of it."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from mmpose.datasets.datasets import MpiiDataset
from mmpose.datasets.transforms import (
    GetBBoxCenterScale,
    LoadImage,
    TopdownAffine,
)
from scipy.io import savemat

from ..factories import ROOT, load_tool, read, write_noise

TOOL = 'dataset_converters/mpii_from_detections.py'
CONFIGS = sorted((ROOT / 'configs' / 'fmse').glob('*_mpii-det-*.py'))


@pytest.fixture(scope='module')
def tool():
    return load_tool(TOOL)


def person(image, left, top, right, bottom, joints_vis=(1,) * 16):
    """A person whose labelled joints span a box."""
    joints = np.linspace((left, top), (right, bottom), 16)
    joints[np.array(joints_vis) == 0] = -1
    return dict(
        image=image,
        center=[(left + right) / 2 + 3, (top + bottom) / 2 - 5],
        scale=(bottom - top) / 160,
        joints=joints.tolist(),
        joints_vis=list(joints_vis),
    )


def box(image_id, *xywh, score=0.9):
    box = dict(image_id=image_id, category_id=1, bbox=list(xywh))
    return dict(box, score=score)


# Each box is its person's and a border, far from all others.
PEOPLE = [
    person('000000012.jpg', 100, 50, 150, 250),
    person('000000007.jpg', 20, 20, 60, 110),
    person('000000012.jpg', 300, 60, 420, 160),
    person('000000030.jpg', 10, 10, 50, 100),
]
BOXES = [
    box(12, 290, 50, 140.5, 125, score=0.31),
    box(12, 90, 40, 80, 240),
    box(12, 200, 300, 40, 40),  # somebody whom MPII does not have
    box(30, 5, 5, 50, 105),
    box(99, 0, 0, 10, 10),  # of another part of MPII
]


@pytest.fixture
def data(tmp_path):
    """MPII's layout: two people in one picture, one each in two more."""
    root = tmp_path / 'mpii'
    annotations = root / 'annotations'
    annotations.mkdir(parents=True)
    for name, number in (('000000012', 0), ('000000007', 1), ('000000030', 2)):
        write_noise(root / 'images' / f'{name}.jpg', 480, 360, seed=number)
    heads = np.zeros((2, 2, 4))
    heads[1] = [[3], [4]] * np.arange(1, 5)  # diagonals of 5, 10, 15, 20
    savemat(str(annotations / 'mpii_gt_val.mat'), dict(headboxes_src=heads))
    files = SimpleNamespace(
        root=root,
        people=annotations / 'mpii_val.json',
        boxes=tmp_path / 'boxes.json',
        out=annotations / 'mpii_val_det.json',
    )
    files.people.write_text(json.dumps(PEOPLE))
    files.boxes.write_text(json.dumps(BOXES))
    return files


@pytest.fixture
def convert(tool, data, monkeypatch, capsys):
    """Run the tool on the data, and give what it prints and writes."""

    def call(*args):
        argv = ['tool', data.people, data.boxes, *args]
        monkeypatch.setattr('sys.argv', [str(arg) for arg in argv])
        tool.main()
        said = capsys.readouterr()
        return said.out + said.err, json.loads(data.out.read_text())

    return call


def test_round_trip(data, convert):
    """Worked by hand: 200 scale is the longer side, and 1 and 15 scale come
    off a centre in MpiiDataset."""
    said, placed = convert()
    # (90, 40, 80, 240): centre (130, 160), scale 1.2.
    assert placed[0]['scale'] == pytest.approx(1.2)
    assert placed[0]['center'] == pytest.approx([131, 161 - 18])
    # (290, 50, 140.5, 125): centre (360.25, 112.5), scale 0.7025.
    assert placed[2]['scale'] == pytest.approx(0.7025)
    assert placed[2]['center'] == pytest.approx([361.25, 113.5 - 10.5375])
    # No box in its picture.
    assert placed[1] == PEOPLE[1]
    # Nothing else changes, and the order is the input's.
    for before, after in zip(PEOPLE, placed):
        for key in ('image', 'joints', 'joints_vis'):
            assert before[key] == after[key]
    # IoU with the border of the joints: 23/33, 0.9376 and 0.9173.
    assert '4 people, 3 with a detected box, mean IoU 0.851' in said
    assert "1 with MPII's own" in said

    folder = data.root / 'annotations'
    crop = [GetBBoxCenterScale(), TopdownAffine(input_size=(256, 256))]
    loaded = MpiiDataset(
        ann_file=str(folder / 'mpii_val_det.json'),
        headbox_file=str(folder / 'mpii_gt_val.mat'),
        data_prefix=dict(img=str(data.root / 'images')),
        test_mode=True,
        pipeline=[LoadImage(), *crop],
    )
    # Centres of the boxes, and their longer sides.
    squares = {0: (130, 160, 240), 2: (360.25, 112.5, 140.5)}
    squares[3] = (30, 57.5, 105)
    for i, entry in enumerate(loaded):
        # Head boxes fit by index: 0.6 of the diagonals.
        assert entry['head_size'].item() == pytest.approx(3 * (i + 1))
        if i in squares:
            x, y, side = squares[i]
            assert entry['input_center'] == pytest.approx((x, y), abs=1e-4)
            side = pytest.approx((1.25 * side, 1.25 * side), abs=1e-4)
            assert entry['input_scale'] == side


@pytest.mark.parametrize(
    'change',
    [
        dict(score=0.29),
        dict(category_id=2),
        dict(image_id=7),  # the place is another picture's
        dict(bbox=[150, 40, 80, 240]),
        dict(bbox=[130, 40, 0, 240]),
    ],
    ids=str,
)
def test_no_match_keeps_the_ground_truth(data, convert, change):
    data.boxes.write_text(json.dumps([{**BOXES[1], **change}, *BOXES[2:]]))
    said, placed = convert()
    assert placed[:3] == PEOPLE[:3]
    assert '1 with a detected box' in said


def test_options_let_more_in(data, convert):
    data.boxes.write_text(json.dumps([box(12, 90, 40, 80, 60, score=0.1)]))
    args = '--score-thr', '0.05'
    assert '0 with a detected box' in convert(*args)[0]
    # 60 x 60 of the joints' 60 x 240 and the box's 80 x 60: 0.23.
    assert '1 with a detected box' in convert(*args, '--iou-thr', '0.2')[0]


def test_one_box_for_one_person(data, convert):
    """IoU 0.70 and 0.39: the second would do if the first were not there."""
    people = [PEOPLE[0], person('000000012.jpg', 125, 100, 160, 250)]
    data.people.write_text(json.dumps(people))
    data.boxes.write_text(json.dumps(BOXES[1:2]))
    said, placed = convert()
    assert placed[0] != people[0]
    assert placed[1] == people[1]
    assert '1 with a detected box' in said
    data.people.write_text(json.dumps(people[1:]))
    (other,) = convert()[1]
    assert other['center'] == placed[0]['center']
    assert other['joints'] == people[1]['joints']


def test_people_without_joints_keep_theirs(data, convert):
    """As in mpii_test.json, and with a single labelled joint."""
    none = person('000000012.jpg', 100, 50, 150, 250, joints_vis=[0] * 16)
    one = person('000000012.jpg', 100, 50, 150, 250, joints_vis=[0] * 15 + [1])
    data.people.write_text(json.dumps([none, one]))
    said, placed = convert()
    assert placed == [none, one]
    assert '0 with a detected box, 2 with' in said


def test_joints_box(tool):
    """A tenth on each side; places of unlabelled joints do not count."""
    vis = [0] * 4 + [1] * 12
    someone = person('1.jpg', 0, 0, 150, 300, joints_vis=vis)
    # From the fifth of 16 joints on: (40, 80) to (150, 300).
    assert tool.joints_box(someone) == pytest.approx([29, 58, 161, 322])


def test_match_by_hand(tool):
    """Intervals of the same height, so that IoU is that of the intervals."""

    people, detections = (
        np.array([[left, 0, right, 10] for left, right in strips], float)
        for strips in ([(0, 10), (4, 14)], [(0, 12), (0, 8)])
    )
    # 10/12 and 8/10; 8/14 and 4/14. The best single pair is not in the sum.
    chosen, iou = tool.match(people, detections, 0.3)
    assert chosen.tolist() == [1, 0]
    assert iou == pytest.approx([8 / 10, 8 / 14], abs=1e-5)
    # Only the first person has boxes of 0.6 or more, and takes the best.
    chosen, iou = tool.match(people, detections, 0.6)
    assert chosen.tolist() == [0, -1]
    assert iou == pytest.approx([10 / 12, 0], abs=1e-5)


def test_few_pictures_with_boxes_are_told(data, convert):
    assert 'Warning' not in convert()[0]
    data.boxes.write_text(json.dumps(BOXES[:3]))
    said, _ = convert()
    assert '1 of 3 pictures' in said


def refused(data, convert, match, *args):
    """One sentence with what was given, and nothing written."""
    with pytest.raises(SystemExit, match=match) as error:
        convert(*args)
    assert '\n' not in str(error.value)
    assert not list(data.out.parent.glob('*det*'))
    return str(error.value)


@pytest.mark.parametrize(
    ('which', 'field', 'value'),
    [
        ('people', 'image', 'a.jpg'),
        ('people', 'center', [1, None]),
        ('people', 'scale', None),
        ('people', 'joints', [[1, 2]] * 15 + [[1]]),
        ('people', 'joints_vis', [1]),
        ('boxes', 'image_id', '12'),
        ('boxes', 'category_id', '1'),
        ('boxes', 'category_id', 0),
        ('boxes', 'category_id', 1.0),
        ('boxes', 'category_id', None),
        ('boxes', 'bbox', [1, 2, 3, '4']),
        ('boxes', 'score', float('nan')),
    ],
)
def test_a_wrong_field_is_named(data, convert, which, field, value):
    """With the entry that has it, the value, and the file."""
    file = getattr(data, which)
    content = json.loads(file.read_text())
    content[2][field] = value
    file.write_text(json.dumps(content))
    said = refused(data, convert, f'{field} of entry 2')
    assert repr(value)[:50] in said
    assert file.name in said


@pytest.mark.parametrize('which', ['people', 'boxes'])
@pytest.mark.parametrize('text', [None, b'x', b'\xff', b'{}', b'[]', b'[1]'])
def test_a_bad_file_is_named(data, convert, which, text):
    file = getattr(data, which)
    file.unlink()
    if text is not None:
        file.write_bytes(text)
    refused(data, convert, file.name)


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (dict(image_id=1), 'such as 1, expected such as 7 for 000000007.jpg'),
        (dict(category_id=3), r'category ids \[3\]'),
        (dict(score=0.1), '0.3'),
    ],
)
def test_no_box_of_any_person_is_explained(data, convert, change, found):
    data.boxes.write_text(json.dumps([{**box, **change} for box in BOXES]))
    refused(data, convert, found)


@pytest.mark.parametrize(
    ('option', 'value', 'found'),
    [
        *(('--iou-thr', value, value) for value in ('0', '1.1', 'nan')),
        ('--out', 'mpii/annotations/mpii_val.json', 'mpii_val'),
        ('--out', 'boxes.json', 'boxes'),
        ('--out', 'boxes.json/det.json', r'det\.json'),
        ('--out', 'mpii', 'mpii'),
    ],
)
def test_a_bad_option_is_named(
    data, convert, tmp_path, monkeypatch, option, value, found
):
    """And no input is overwritten."""
    monkeypatch.chdir(tmp_path)
    refused(data, convert, found, option, value)
    assert json.loads(data.people.read_text()) == PEOPLE
    assert json.loads(data.boxes.read_text()) == BOXES


@pytest.mark.slow
def test_from_a_shell(data, run_tool):
    """In a locale that is not UTF-8."""
    out = data.root / 'new' / 'det.json'
    people = [{**someone, 'name': '\u4eba'} for someone in PEOPLE]
    text = json.dumps(people, ensure_ascii=False)
    data.people.write_text(text, encoding='utf-8')
    env = dict(LC_ALL='C', PYTHONUTF8='0')
    run_tool(TOOL, data.people, data.boxes, '--out', out, env=env)
    assert [p['name'] for p in json.loads(out.read_text())] == ['\u4eba'] * 4


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_config_differs_in_the_annotations_only(path):
    own = read(path.with_name(path.name.replace('-det', '')))
    text = own.dump()
    assert text.count('/mpii_train.json') == 1
    assert text.count('/mpii_val.json') == 2
    text = re.sub(r'/mpii_(train|val)\.json', r'/mpii_\1_det.json', text)
    assert read(path).dump() == text
