"""Labels are where the picture has them, and MMPose trains on them."""

from pathlib import Path

import draw_people as tool
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

LIGHT = np.array((0.4, -0.5))
KNEE = np.array([111, 169])
ALL = set(tool.JOINTS)


def person(view=(0, 0, 0), seed=None, **angles):
    """200 pixels high; at attention, or in any pose and view of a seed."""
    rng = np.random.default_rng(seed)
    pose = {**dict.fromkeys(tool.ANGLES, 0), **angles}, tool.turn(*view)
    body = tool.pose(*(pose if seed is None else tool.sample_pose(rng)))
    colours = tool.sample_colours(rng)
    return tool.dress(*body, colours, 1, 200, np.array([100, 120]))


def draw(*people, objects=(), size=(256, 200), grey=0):
    image = np.full((*size, 3), grey, np.uint8)
    return tool.draw(people, objects, image, LIGHT), image.astype(int)


def joints(ann, v):
    return {j for j, x in zip(tool.JOINTS, ann['keypoints'][2::3]) if x == v}


def test_joints_are_those_projected_by_hand():
    """From the front, and a bent leg from the side, the toes to the right."""
    points = person().points
    np.testing.assert_allclose(points['left_wrist'], (123, 128.4))
    np.testing.assert_allclose(points['left_knee'], KNEE)
    points = person((0, 90, 0), right_knee_flexion=90).points
    np.testing.assert_allclose(points['right_ankle'], (50.8, 169))
    assert points['nose'][0] > points['left_ear'][0]


@pytest.mark.parametrize('seed', range(4))
def test_limbs_are_drawn_between_the_labelled_joints(seed):
    grid = np.stack(np.meshgrid(np.arange(200), np.arange(256)), axis=-1)
    names = {number: part for part, number in tool.IDS.items()}
    drawn = person(seed=seed)
    for number, shapes in drawn.parts:
        radii = tool.PARTS[names[number]]
        if len(radii) == 2 and number != tool.IDS['head']:
            mask = np.zeros((256, 200), np.uint8)
            tool.paint(np.zeros((256, 200, 3)), mask, shapes[0], 1, LIGHT)
            # The hull of two discs is the union of all discs between them.
            ends = [(*drawn.points[k], 200 * r) for k, r in radii.items()]
            discs = np.linspace(*ends, 30)
            gaps = [np.hypot(*(grid - d[:2]).T).T - d[2] for d in discs]
            assert mask[np.min(gaps, axis=0) < -0.5].all()
            assert not mask[np.min(gaps, axis=0) > 1].any()


def test_boxes_and_areas_are_of_pixels_that_hide_the_background():
    (ann,), dark = draw(person(seed=6))
    _, bright = draw(person(seed=6), grey=255)
    ys, xs = np.nonzero((bright - dark < 128).all(axis=-1))
    box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    assert ann['bbox'] == pytest.approx(box, abs=2)
    assert ann['area'] == pytest.approx(len(xs), rel=0.03)


def test_visibility():
    arms = dict(left_shoulder_flexion=60, right_shoulder_flexion=60)
    (front,), _ = draw(person(**arms))
    (profile,), _ = draw(person((0, 90, 0), **arms))
    (cut,), _ = draw(person(), size=(140, 200))
    (far, near), _ = draw(person(), person())
    assert joints(front, 2) == joints(near, 2) == joints(far, 1) == ALL
    assert joints(profile, 1) == {j for j in ALL if j.startswith('left')}
    assert joints(cut, 0) == {j for j in ALL if 'knee' in j or 'ankle' in j}
    assert (far['bbox'], far['area']) == (near['bbox'], near['area'])
    # Of radius 8, beside the knee and over it.
    for shift, hidden in ((9.5, set()), (6.5, {'left_knee'})):
        disc = [*KNEE + (shift, 0), 8]
        ball = tool.Shape(np.array([disc]), np.zeros(3))
        (ann,), _ = draw(person(), objects=[ball])
        assert joints(ann, 1) == hidden


def test_second_person_and_occlusion_are_at_their_rates():
    def annotate(*rates):
        rngs = map(np.random.default_rng, range(30))
        return [tool.draw_picture(rng, (64, 48), *rates, 3)[1] for rng in rngs]

    alone, two, hidden = annotate(0, 0), annotate(1, 0), annotate(0, 1)
    assert sum(map(len, alone)) == sum(map(len, hidden)) == 30
    # Most of the second ones can be recognized, not all.
    assert 45 < sum(map(len, two)) < 60
    seen = [sum(len(joints(a, 2)) for a, *_ in x) for x in (alone, hidden)]
    assert seen[1] < seen[0] - 30


def run(monkeypatch, out, *args):
    args = ('--num-train', '4', '--num-val', '2', '--size', '96', '64', *args)
    monkeypatch.setattr('sys.argv', ['draw', '--out', str(out), *args])
    tool.main()
    return {f.relative_to(out): f.read_bytes() for f in out.rglob('*.*')}


def test_same_seed_same_bytes(monkeypatch, tmp_path, capsys):
    one = run(monkeypatch, tmp_path / 'one')
    assert run(monkeypatch, tmp_path / 'two') == one
    pictures = {k: v for k, v in one.items() if k.suffix == '.jpg'}
    assert len(pictures) == 6
    more = run(monkeypatch, tmp_path / 'more', '--num-train', '5')
    assert pictures.items() < more.items()
    other = run(monkeypatch, tmp_path / 'other', '--seed', '1')
    assert not pictures.items() & other.items()
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / 'one')
    assert 'one is there already' in capsys.readouterr().err


def test_config_trains_and_validates(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path / 'data')
    (path,) = Path(__file__).parent.glob('td-hm*.py')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({'work_dir': str(tmp_path), 'train_cfg.max_epochs': 1})
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.dataset.data_root = str(tmp_path / 'data')
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter > 0
    rng = np.random.default_rng((0, tool.FIRST_VAL + 1))
    _, (ann, *_) = tool.draw_picture(rng, (96, 64), 0.3, 0.3, 6)
    info = runner.val_dataloader.dataset.get_data_info(0)
    labels = np.c_[info['keypoints'][0], info['keypoints_visible'][0]]
    flags = np.reshape(ann['keypoints'], (17, 3)).clip(max=(96, 96, 1))
    np.testing.assert_allclose(labels, flags, rtol=1e-5)
