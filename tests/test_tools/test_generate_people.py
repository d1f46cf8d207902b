"""Drawn people: labels are where the picture has them, and all loads."""

import json
import re

import cv2
import numpy as np
import pytest
from mmpose.codecs import UDPHeatmap
from mmpose.datasets import CocoDataset, MpiiDataset
from mmpose.evaluation import MpiiPCKAccuracy, PCKAccuracy
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from ..factories import load_tool

TOOL = 'dataset_converters/generate_people.py'
SMALL = ('--num-train', 5, '--num-val', 4, '--size', '96x72')
LIGHT = np.array((0.4, -0.5))
FACE = {'nose', 'left_eye', 'right_eye'}
RAISED = ('left_shoulder_flexion', 'right_shoulder_flexion')
LIMBS = [('shoulder', 'elbow', 'wrist'), ('hip', 'knee', 'ankle')]


@pytest.fixture(scope='module')
def tool():
    return load_tool(TOOL)


@pytest.fixture
def generate(tool, tmp_path, monkeypatch, capsys):
    def run(*args, out='out'):
        out = tmp_path / out
        args = [*map(str, args), '--out', str(out)]
        monkeypatch.setattr('sys.argv', ['generate_people.py', *args])
        tool.main()
        return out, capsys.readouterr().out

    return run


@pytest.fixture(scope='module')
def sets(tool, tmp_path_factory):
    """The same people in both layouts."""
    root = tmp_path_factory.mktemp('people')
    options = tool.Options(96, 72, 0.5, 0.5, 3)
    for layout in ('coco', 'mpii'):
        (root / layout).mkdir()
        counts = dict(train=8, val=5)
        tool.build(root / layout, layout, 1, counts, options)
    return root


def read(root, *names):
    return (json.loads((root / 'annotations' / n).read_text()) for n in names)


def files(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob('*')
        if path.is_file()
    }


def attention(tool, **angles):
    return tool.pose({**dict.fromkeys(tool.ANGLES, 0.0), **angles})


def random_body(tool, seed):
    rng = np.random.default_rng(seed)
    body = tool.pose(tool.sample_angles(rng))
    return body.seen_from(tool.sample_view(rng))


def dress(tool, body, scale=200.0, origin=(100.3, 117.6), seed=0):
    colours = tool.sample_colours(np.random.default_rng(seed))
    return tool.dress(body, colours, 1.0, scale, np.array(origin))


def draw(tool, *people, objects=(), size=(256, 200), grey=0):
    image = np.full((*size, 3), grey, np.uint8)
    return tool.draw(list(people), list(objects), image, LIGHT), image


# The skeleton


def test_body_at_attention_is_as_worked_out_by_hand(tool):
    """It looks at the viewer, so that its left is at the viewer's right."""
    points = attention(tool).points
    expected = dict(
        left_shoulder=(0.115, 0.29, 0),
        right_shoulder=(-0.115, 0.29, 0),
        left_wrist=(0.115, 0.29 - 0.186 - 0.146, 0),
        right_ankle=(-0.055, -0.245 - 0.246, 0),
        head_top=(0, 0.11 + 0.18 + 0.05 + 0.065 + 0.07, 0.012),
    )
    for name, place in expected.items():
        np.testing.assert_allclose(points[name], place, atol=1e-12)
    assert points['nose'][2] > points['left_eye'][2] > points['left_ear'][2]
    # Forward is to the viewer.
    assert points['left_toe'][2] > 0.1


def test_elbows_bend_forward_and_knees_backward(tool):
    angles = dict(left_elbow_flexion=90, right_knee_flexion=90)
    points = attention(tool, **angles).points
    forearm = points['left_wrist'] - points['left_elbow']
    shank = points['right_ankle'] - points['right_knee']
    np.testing.assert_allclose(forearm, (0, 0, 0.146), atol=1e-12)
    np.testing.assert_allclose(shank, (0, 0, -0.246), atol=1e-12)


def test_arms_and_legs_lift_forward_and_outward(tool):
    angles = dict(
        left_shoulder_flexion=90,
        right_shoulder_abduction=90,
        left_hip_abduction=30,
        right_hip_flexion=90,
    )
    points = attention(tool, **angles).points
    for side, first, second, way in (
        ('left', 'shoulder', 'elbow', (0, 0, 1)),
        ('right', 'shoulder', 'elbow', (-1, 0, 0)),
        ('left', 'hip', 'knee', (0.5, -np.sqrt(0.75), 0)),
        ('right', 'hip', 'knee', (0, 0, 1)),
    ):
        bone = points[f'{side}_{second}'] - points[f'{side}_{first}']
        bone /= np.linalg.norm(bone)
        np.testing.assert_allclose(bone, way, atol=1e-12)


def test_bones_keep_their_lengths(tool):
    at_rest = attention(tool).points
    for seed in range(20):
        points = random_body(tool, seed).points
        for side in ('left', 'right'):
            for chain in LIMBS:
                for a, b in zip(chain, chain[1:]):
                    ends = f'{side}_{a}', f'{side}_{b}'
                    lengths = [
                        np.linalg.norm(p[ends[0]] - p[ends[1]])
                        for p in (points, at_rest)
                    ]
                    assert lengths[0] == pytest.approx(lengths[1])


def test_mirrored_angles_mirror_the_body(tool):
    angles = tool.sample_angles(np.random.default_rng(3))

    def other(name):
        if name.startswith('left_'):
            return name.replace('left_', 'right_')
        return name.replace('right_', 'left_')

    mirrored = {other(name): angle for name, angle in angles.items()}
    for name in mirrored:
        if re.match('(spine|neck)_(turn|tilt)', name):
            mirrored[name] *= -1
    one, two = tool.pose(angles).points, tool.pose(mirrored).points
    for name, point in one.items():
        np.testing.assert_allclose(two[other(name)], point * (-1, 1, 1))


def test_angles_are_within_their_ranges(tool):
    rng = np.random.default_rng(0)
    drawn = [tool.sample_angles(rng) for _ in range(500)]
    for name, (low, _, high) in tool.ANGLES.items():
        values = [angles[name] for angles in drawn]
        assert low <= min(values) < max(values) <= high
        # Not in a corner of it.
        assert max(values) - min(values) > 0.7 * (high - low)


# Labels are exact


def distance_to_cone(points, p, q, r, s):
    """Signed distance of points to the hull of two discs, worked out in the
    plane of its axis: below the tangent line the nearer disc, else the line.
    """
    axis = q - p
    length = np.linalg.norm(axis)
    along = (points - p) @ axis / length
    off = np.abs(np.cross(axis, points - p)) / length
    sine = (r - s) / length
    cosine = np.sqrt(1 - sine**2)
    # Coordinates along and across the tangent line.
    u, v = along * cosine - off * sine, along * sine + off * cosine
    ends = [
        np.linalg.norm(points - end, axis=-1) - radius
        for end, radius in ((p, r), (q, s))
    ]
    return np.select([u < 0, u > length * cosine], ends, v - r)


def test_limbs_are_drawn_between_the_labelled_joints(tool):
    """To half a pixel, and a pixel for those that the outline crosses."""
    grid = np.stack(np.meshgrid(np.arange(200), np.arange(256)), axis=-1)
    ids = {number: part for part, number in tool.IDS.items()}
    shifts = []
    for seed in range(4):
        person = dress(tool, random_body(tool, seed))
        for number, shapes in person.parts:
            radii = tool.PARTS[ids[number]]
            if len(radii) != 2 or ids[number] == 'head':
                continue
            (p, q), (r, s) = (person.points[n] for n in radii), radii.values()
            if np.linalg.norm(p - q) < 200 * abs(r - s):
                continue  # one ball in front of the other
            mask = np.zeros((256, 200), np.uint8)
            image = np.zeros((256, 200, 3), np.uint8)
            tool.paint(image, mask, shapes[0], 1, LIGHT)
            distance = distance_to_cone(grid, p, q, 200 * r, 200 * s)
            assert mask[distance < -0.5].all()
            assert not mask[distance > 1].any()
            # And no more on one side than on the other.
            middles = [
                grid[inside].mean(axis=0)
                for inside in (mask > 0, distance < 0)
            ]
            shifts.append(middles[0] - middles[1])
    assert len(shifts) > 30
    np.testing.assert_allclose(shifts, 0, atol=0.5)
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=0.1)


def test_joints_marked_in_the_picture_are_at_their_labels(tool):
    person = dress(tool, random_body(tool, 5))
    for joint in person.shown_by:
        image = np.zeros((256, 200, 3), np.uint8)
        disc = np.array([[*person.points[joint], 3.0]])
        mark = tool.Shape(disc, np.full(3, 255.0))
        tool.paint(image, image[..., 0].copy(), mark, 1, LIGHT)
        weights = image[..., 0].astype(float)
        ys, xs = np.indices(weights.shape)
        found = np.array([(xs * weights).sum(), (ys * weights).sum()])
        found /= weights.sum()
        np.testing.assert_allclose(found, person.points[joint], atol=0.2)


def test_labels_are_where_the_picture_shows_the_person(tool):
    """What the background shines through is not of the silhouette."""
    person = dress(tool, random_body(tool, 6))
    (label,), dark = draw(tool, person)
    _, bright = draw(tool, person, grey=255)
    hides = (dark == bright).all(axis=-1)
    kernel = np.ones((3, 3))
    mask = label.silhouette.astype(np.uint8)
    assert not hides[cv2.dilate(mask, kernel) == 0].any()
    # But for the borders of limbs side by side.
    assert hides[cv2.erode(mask, kernel) > 0].mean() > 0.99
    # It shows the colours of the parts that the labels name.
    shape = tool.Shape(np.array([[50.0, 60, 9]]), np.array((1.0, 2, 3)))
    tool.paint(dark, mask, shape, 77, LIGHT)
    inside = cv2.erode((mask == 77).astype(np.uint8), kernel) > 0
    assert inside.sum() > 200
    assert (dark[inside] == (1, 2, 3)).all()


def test_both_sides_look_alike(tool):
    """Of a body that looks at the viewer: same colours, mirrored shapes."""
    person = dress(tool, attention(tool), origin=(100, 117))
    shapes = dict(person.parts)
    for name in tool.SIDE_PARTS:
        (left,) = shapes[tool.IDS[f'left_{name}']]
        (right,) = shapes[tool.IDS[f'right_{name}']]
        np.testing.assert_array_equal(left.colour, right.colour)
        mirrored = left.discs * (-1, 1, 1) + (200, 0, 0)
        np.testing.assert_allclose(right.discs, mirrored)


# What is to be seen


def seen(tool, body, **kwargs):
    (label,), _ = draw(tool, dress(tool, body), **kwargs)
    return label.seen


def test_all_is_to_be_seen_from_the_front(tool):
    joints = tool.joint_names(CocoDataset.METAINFO)
    assert seen(tool, attention(tool)) == set(joints)


def test_the_face_is_hidden_from_behind(tool):
    body = attention(tool).seen_from(tool.turn(y=180))
    hidden = set(tool.joint_names(CocoDataset.METAINFO))
    hidden -= seen(tool, body)
    assert hidden == FACE
    # And what was at the viewer's right is at the left.
    assert body.points['left_hip'][0] < 0


def test_the_far_side_is_hidden_in_profile(tool):
    """The body turned to its left hides its left side."""
    body = attention(tool, **dict.fromkeys(RAISED, 60))
    body = body.seen_from(tool.turn(y=90))
    joints = tool.joint_names(CocoDataset.METAINFO)
    near = {joint for joint in joints if not joint.startswith('left')}
    assert seen(tool, body) == near


def test_an_arm_hides_what_is_behind_it(tool):
    """From behind, the trunk hides a forearm across the belly."""
    angles = dict(
        left_shoulder_flexion=40,
        left_shoulder_rotation=75,
        left_elbow_flexion=100,
    )
    body = attention(tool, **angles)
    joints = set(tool.joint_names(CocoDataset.METAINFO))
    assert seen(tool, body) == joints
    behind = seen(tool, body.seen_from(tool.turn(y=180)))
    assert joints - behind == FACE | {'left_elbow', 'left_wrist'}


def test_an_object_hides_the_joints_behind_it_only(tool):
    person = dress(tool, attention(tool))
    joints = set(person.shown_by)
    x, y = person.points['left_knee']
    ball = tool.Shape(np.array([[x, y, 8.0]]), np.zeros(3))
    assert seen(tool, attention(tool), objects=[ball]) == joints - {
        'left_knee'
    }
    # Of radius 8, with its border at some 8.
    for shift, hides in ((9.5, False), (6.5, True)):
        ball.discs[0, 0] = x + shift
        hidden = joints - seen(tool, attention(tool), objects=[ball])
        assert hidden == ({'left_knee'} if hides else set())


def test_a_person_in_front_hides_joints_but_no_silhouette(tool):
    person = dress(tool, attention(tool))
    (alone,), _ = draw(tool, person)
    (far, near), _ = draw(tool, person, person)
    assert far.seen == set()
    assert near.seen == set(person.shown_by)
    np.testing.assert_array_equal(far.silhouette, alone.silhouette)


def test_joints_outside_are_not_labelled(tool):
    """The picture ends above the knees."""
    person = dress(tool, attention(tool))
    (label,), _ = draw(tool, person, size=(140, 200))
    outside = {f'{s}_{j}' for s in tool.SIDES for j in ('knee', 'ankle')}
    assert label.seen == set(person.shown_by) - outside
    joints = tool.joint_names(CocoDataset.METAINFO)
    ann = tool.coco_annotation(label, joints)
    for i, joint in enumerate(joints):
        expected = (0, 0, 0)
        if joint not in outside:
            expected = (*person.points[joint].round(2), 2)
        assert tuple(ann['keypoints'][3 * i : 3 * i + 3]) == expected
    assert ann['num_keypoints'] == 13
    joints = tool.joint_names(MpiiDataset.METAINFO)
    entry = tool.mpii_entry(label, joints)
    for i, joint in enumerate(joints):
        labelled = joint not in outside
        assert entry['joints_vis'][i] == labelled
        place = person.points[joint] + 1 if labelled else (-1, -1)
        np.testing.assert_allclose(entry['joints'][i], place, atol=0.0051)


# Pictures


def test_a_picture_depends_on_seed_and_number_alone(tool):
    options = tool.Options(64, 48, 0.5, 0.5, 2)
    first, _ = tool.draw_picture(1, 7, options)
    np.random.seed(0)
    tool.draw_picture(1, 8, options)
    again, _ = tool.draw_picture(1, 7, options)
    np.testing.assert_array_equal(first, again)
    for seed, number in ((1, 8), (2, 7), (7, 1)):
        other, _ = tool.draw_picture(seed, number, options)
        assert (other != first).any()


def drawn(tool, monkeypatch, options, count=40):
    """Labels, people and objects of pictures."""
    pictures = []
    original = tool.draw

    def spy(people, objects, *args):
        labels = original(people, objects, *args)
        pictures.append((labels, len(people), len(objects)))
        return labels

    monkeypatch.setattr(tool, 'draw', spy)
    returned = [tool.draw_picture(0, i, options)[1] for i in range(count)]
    monkeypatch.undo()
    return pictures, returned


@pytest.mark.parametrize('rate', [0, 1])
def test_rates_of_none_and_all(tool, monkeypatch, rate):
    options = tool.Options(64, 48, rate, rate, 0)
    pictures, returned = drawn(tool, monkeypatch, options)
    assert {people for _, people, _ in pictures} == {1 + rate}
    assert {objects > 0 for *_, objects in pictures} == {bool(rate)}
    annotated = [len(labels) for labels in returned]
    if rate:
        # Most of the second people can be recognized, not all.
        assert 20 < annotated.count(2) < 40
    else:
        assert set(annotated) == {1}
    # An object lies over the joint that it was put on, or next to it.
    if rate:
        hidden = [
            len(labels[0].person.shown_by) - len(labels[0].seen)
            for labels in returned
        ]
        assert np.mean(hidden) > 2


def test_rates_are_shares_of_the_pictures(tool, monkeypatch):
    options = tool.Options(32, 32, 0.25, 0.75, 0)
    pictures, _ = drawn(tool, monkeypatch, options, 200)
    assert 30 < sum(people == 2 for _, people, _ in pictures) < 70
    assert 130 < sum(objects > 0 for *_, objects in pictures) < 170


def test_first_label_is_of_the_first_person(tool, monkeypatch):
    """Who is the nearer one in some of the pictures, but not in all."""
    options = tool.Options(64, 48, 1, 0, 0)
    placed = []
    original = tool.place_people

    def spy(*args):
        placed.append(original(*args))
        return placed[-1]

    monkeypatch.setattr(tool, 'place_people', spy)
    pictures, returned = drawn(tool, monkeypatch, options, 20)
    nearer = []
    for ((first, second), _), labels in zip(placed, returned):
        assert labels[0].person is first
        assert all(label.person is second for label in labels[1:])
    for ((first, _), _), (labels, *_) in zip(placed, pictures):
        nearer.append(labels[-1].person is first)
    assert 4 < sum(nearer) < 16


def test_clutter_is_behind_the_people(tool, monkeypatch):
    counts = []
    monkeypatch.setattr(
        tool, 'limb_like', lambda *args: counts.append(args) or []
    )
    without, labels = tool.draw_picture(0, 3, tool.Options(64, 48, 0, 0, 0))
    assert not counts
    tool.draw_picture(0, 3, tool.Options(64, 48, 0, 0, 9))
    assert len(counts) == 9
    monkeypatch.undo()
    _, among = tool.draw_picture(0, 3, tool.Options(64, 48, 0, 0, 9))
    np.testing.assert_array_equal(among[0].silhouette, labels[0].silhouette)
    assert among[0].seen == labels[0].seen


# Data sets


def test_boxes_and_areas_are_those_of_the_silhouettes(tool, sets):
    coco, *_ = read(sets / 'coco', 'person_keypoints_train2017.json')
    options = tool.Options(96, 72, 0.5, 0.5, 3)
    anns = iter(coco['annotations'])
    for image in coco['images']:
        _, labels = tool.draw_picture(1, image['id'], options)
        for label in labels:
            ann = next(anns)
            assert ann['image_id'] == image['id']
            ys, xs = np.nonzero(label.silhouette)
            size = np.ptp(xs) + 1, np.ptp(ys) + 1
            assert ann['bbox'] == [xs.min(), ys.min(), *size]
            assert ann['area'] == len(xs)
            # Joints are inside of limbs, so of boxes.
            points = np.array(ann['keypoints']).reshape(17, 3)
            points = points[points[:, 2] > 0, :2]
            assert (points >= (xs.min(), ys.min())).all()
            assert (points <= (xs.max(), ys.max())).all()
    assert next(anns, None) is None


def test_layouts_have_the_same_people(tool, sets):
    """MPII's count from 1, and the pictures are the same bytes."""
    for split in ('train', 'val'):
        coco, *_ = read(sets / 'coco', f'person_keypoints_{split}2017.json')
        people, *_ = read(sets / 'mpii', f'mpii_{split}.json')
        assert len(people) == len(coco['annotations'])
        names = tool.joint_names(CocoDataset.METAINFO)
        for person, ann in zip(people, coco['annotations']):
            assert int(person['image'][:-4]) == ann['image_id']
            points = np.array(ann['keypoints']).reshape(17, 3)
            for i, joint in enumerate(tool.joint_names(MpiiDataset.METAINFO)):
                if joint not in names:
                    continue
                *point, v = points[names.index(joint)]
                assert person['joints_vis'][i] == (v > 0)
                if v:
                    np.testing.assert_allclose(
                        person['joints'][i], np.add(point, 1), atol=0.011
                    )
        for image in coco['images']:
            file = sets / 'coco' / f'{split}2017' / image['file_name']
            other = sets / 'mpii' / 'images' / f'{image["id"]:09d}.jpg'
            assert file.read_bytes() == other.read_bytes()
            assert cv2.imread(str(file)).shape == (96, 72, 3)


def pipeline(codec):
    return [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale', padding=1.25),
        dict(type='TopdownAffine', input_size=codec['input_size']),
        dict(type='GenerateTarget', encoder=codec),
        dict(
            type='PackPoseInputs',
            meta_keys=('input_center', 'input_scale', 'input_size', 'id'),
        ),
    ]


def check_round_trip(dataset, codec):
    """What the codec reads from the targets is what the labels say."""
    codec = UDPHeatmap(**{k: v for k, v in codec.items() if k != 'type'})
    checked = 0
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        info = dataset.get_data_info(i)
        maps = sample.gt_fields.heatmaps.numpy()
        points, _ = codec.decode(maps)
        meta = sample.metainfo
        # As MMPose brings predictions back into the picture.
        points = points[0] / meta['input_size'] - 0.5
        points = points * meta['input_scale'] + meta['input_center']
        weights = sample.gt_instance_labels.keypoint_weights[0].numpy() > 0
        visible = info['keypoints_visible'][0] > 0
        np.testing.assert_array_equal(weights, visible)
        np.testing.assert_allclose(
            points[weights], info['keypoints'][0][weights], atol=0.1
        )
        checked += weights.sum()
    return checked


CODEC = dict(
    type='UDPHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2
)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_coco_dataset_loads_and_codec_round_trip(sets, split):
    steps = pipeline(CODEC)
    steps[2]['use_udp'] = True
    dataset = CocoDataset(
        ann_file=f'annotations/person_keypoints_{split}2017.json',
        data_root=str(sets / 'coco'),
        data_prefix=dict(img=f'{split}2017/'),
        pipeline=steps,
        test_mode=split == 'val',
    )
    coco, *_ = read(sets / 'coco', f'person_keypoints_{split}2017.json')
    assert len(dataset) == len(coco['annotations'])
    labelled = sum(ann['num_keypoints'] for ann in coco['annotations'])
    assert check_round_trip(dataset, CODEC) == labelled


def test_coco_evaluation_gives_1_for_the_labels(sets):
    file = sets / 'coco/annotations/person_keypoints_val2017.json'
    coco = COCO(str(file))
    results = [
        dict(
            image_id=ann['image_id'],
            category_id=1,
            keypoints=ann['keypoints'],
            score=1.0,
        )
        for ann in coco.anns.values()
    ]
    evaluation = COCOeval(coco, coco.loadRes(results), 'keypoints')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


@pytest.fixture
def mpii_val(sets):
    return load_mpii_val(sets / 'mpii')


def load_mpii_val(root):
    codec = dict(CODEC, input_size=(256, 256), heatmap_size=(64, 64))
    steps = pipeline(codec)
    steps[2]['use_udp'] = True
    return MpiiDataset(
        ann_file='annotations/mpii_val.json',
        headbox_file=str(root / 'annotations/mpii_gt_val.mat'),
        data_root=str(root),
        data_prefix=dict(img='images/'),
        pipeline=steps,
        test_mode=True,
    ), codec


def test_mpii_dataset_loads_and_codec_round_trip(sets, mpii_val):
    dataset, codec = mpii_val
    people, *_ = read(sets / 'mpii', 'mpii_val.json')
    assert len(dataset) == len(people)
    labelled = sum(sum(person['joints_vis']) for person in people)
    assert check_round_trip(dataset, codec) == labelled


def test_mpii_square_holds_the_silhouette(tool, sets, mpii_val):
    dataset, _ = mpii_val
    coco, *_ = read(sets / 'coco', 'person_keypoints_val2017.json')
    for i, ann in enumerate(coco['annotations']):
        box = dataset.get_data_info(i)['bbox'][0]
        x, y, w, h = ann['bbox']
        side = max(w, h)
        middle = np.array([x + w / 2, y + h / 2])
        expected = [*(middle - side / 2), *(middle + side / 2)]
        np.testing.assert_allclose(box, expected, atol=1e-4)


def evaluate(metric, infos, shift=0):
    """Scores of a model that predicts what it learns from the data set.

    Its joints are moved by some head sizes.
    """
    samples = []
    for info in infos:
        points = info['keypoints'].copy()
        points[..., 0] += shift * info['head_size'].item()
        samples.append(
            dict(
                gt_instances=dict(
                    keypoints=info['keypoints'],
                    keypoints_visible=info['keypoints_visible'] > 0,
                    head_size=info['head_size'],
                ),
                pred_instances=dict(keypoints=points),
            )
        )
    metric.process([], samples)
    return metric.evaluate(len(infos))


def test_mpii_head_size_and_evaluation(tool, tmp_path):
    """Scores 100 for the labels and 0 for what is a head size beside."""
    options = tool.Options(256, 192, 0.5, 0.5, 3)
    tool.build(tmp_path, 'mpii', 1, dict(train=1, val=5), options)
    dataset, _ = load_mpii_val(tmp_path)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = {
        number: tool.draw_picture(1, number, options)[1]
        for number in {info['img_id'] for info in infos}
    }
    sizes = [
        0.6
        * np.linalg.norm(label.person.head_box[1] - label.person.head_box[0])
        for _, people in sorted(labels.items())
        for label in people
    ]
    found = [info['head_size'].item() for info in infos]
    np.testing.assert_allclose(found, sizes)

    for shift, score in ((0, 100), (1, 0)):
        scores = evaluate(MpiiPCKAccuracy(), infos, shift)
        assert scores['PCK'] == pytest.approx(score)


def test_mpii_evaluation_of_small_pictures(mpii_val):
    """The 1 that MMPose adds to predictions counts, as the docstring says."""
    dataset, _ = mpii_val
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    scores = evaluate(MpiiPCKAccuracy(), infos)
    assert scores['PCK@0.1'] == 0
    scores = evaluate(PCKAccuracy(thr=0.1, norm_item='head'), infos)
    assert scores['PCKh'] == pytest.approx(1)


# The command


@pytest.mark.parametrize('layout', ['coco', 'mpii'])
def test_same_arguments_same_bytes(generate, layout):
    args = (*SMALL, '--layout', layout)
    one, _ = generate(*args, out='one')
    two, _ = generate(*args, out='two')
    assert files(one) == files(two)
    assert len(files(one)) == 9 + (4 if layout == 'mpii' else 3)
    other, _ = generate(*args, '--seed', 1, out='other')
    names = [name for name in files(one) if name.endswith('.jpg')]
    for name in names:
        assert files(one)[name] != files(other)[name]


def test_more_pictures_leave_the_first_ones(generate):
    few, _ = generate(*SMALL, out='few')
    many, _ = generate(*SMALL, '--num-train', 8, out='many')
    pictures = {k: v for k, v in files(few).items() if k.endswith('.jpg')}
    assert len(pictures) == 9
    assert pictures.items() < files(many).items()
    name = 'person_keypoints_train2017.json'
    one, two = (next(read(root, name)) for root in (few, many))
    assert two['images'][:5] == one['images']
    count = len(one['annotations'])
    assert two['annotations'][:count] == one['annotations']


def test_second_call_does_nothing(generate, tool, monkeypatch):
    out, said = generate(*SMALL)
    assert 'The drawn people are in' in said
    monkeypatch.setattr(tool, 'build', None)
    _, said = generate(*SMALL)
    assert said == f'{out} is there and finished.\n'
    with pytest.raises(SystemExit, match='other arguments'):
        generate(*SMALL, '--seed', 3)


def test_a_foreign_folder_is_left_alone(generate, tmp_path):
    file = tmp_path / 'out' / 'thesis.txt'
    file.parent.mkdir()
    file.write_text('mine')
    with pytest.raises(SystemExit, match='was not made by this script'):
        generate(*SMALL)
    assert [file] == list(tmp_path.rglob('*.txt'))
    file.unlink()
    out, _ = generate(*SMALL)  # empty, so it may be used
    assert (out / 'annotations').is_dir()


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError('disk full')])
def test_nothing_is_left_of_a_run_that_was_cut_off(
    generate, tool, tmp_path, monkeypatch, error
):
    original = tool.draw_picture

    def fail(seed, number, options):
        if number == 4:
            raise error
        return original(seed, number, options)

    monkeypatch.setattr(tool, 'draw_picture', fail)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        generate(*SMALL)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made(generate, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(SystemExit, match='cannot be written'):
        generate(*SMALL, out='file/out')


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--size', '256'), 'must be HxW, each 32 to 4096 pixels, got 256.'),
        (('--size', '256x16'), 'got 256x16.'),
        (('--size', '8000x8000'), 'got 8000x8000.'),
        (('--num-train', 0), '--num-train must be 1 to 99999999, got 0.'),
        (('--num-val', -1), '--num-val must be 1 to 99999999, got -1.'),
        (('--second-person', 1.1), 'must be 0 to 1, got 1.1.'),
        (('--occlusion', 'nan'), '--occlusion must be 0 to 1, got nan.'),
        (('--clutter', -2), '--clutter must be 0 to 1000, got -2.'),
        (('--seed', -1), '--seed must be 0 to 4294967295, got -1.'),
    ],
)
def test_bad_options_are_refused(generate, tmp_path, args, message):
    with pytest.raises(SystemExit, match=re.escape(message)):
        generate(*args)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_as_a_user_runs_it(run_tool, tmp_path):
    out = tmp_path / 'people'
    args = ('--num-train', 2, '--num-val', 1, '--size', '40x60')
    result = run_tool(TOOL, *args, '--out', out)
    assert f'The drawn people are in {out}.' in result.stdout
    assert len(list(out.glob('train2017/*.jpg'))) == 2
    result = run_tool(TOOL, '--size', 'big', check=False)
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout
