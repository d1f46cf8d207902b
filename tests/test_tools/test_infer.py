"""Poses drawn and written by tools/infer.py, with models of random weights."""

import json
import os
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmpose.registry import MODELS

from ..factories import load_tool, write_noise

POSE = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_res50_8xb64-210e_coco-256x192.py'
]
model = dict(
    backbone=dict(depth=18, init_cfg=None),
    head=dict(
        in_channels=512,
        deconv_out_channels=(8, 8, 8),
        decoder=dict(_delete_=True, {codec}),
        out_channels={channels},
    ),
    test_cfg=dict(flip_test=False),
)
"""
TTA = """
_base_ = './pose.py'
custom_imports = dict(imports=['mmpose_lossplus'])
model = dict(_delete_=True, type='MultiScaleTTA', module={{_base_.model}})
pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='GetBBoxCenterScale', padding=1.25)],
            [dict(type='TopdownAffine', input_size=(192, 256))],
            [dict(type='PackPoseInputs')],
        ],
    ),
]
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
DET = """
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
model = dict(
    backbone=dict(
        widen_factor=0.125, norm_cfg=dict(type='BN'), init_cfg=None
    ),
    neck=dict(
        in_channels=[32, 64, 128], out_channels=32, norm_cfg=dict(type='BN')
    ),
    bbox_head=dict(
        num_classes=2,
        in_channels=32,
        feat_channels=32,
        norm_cfg=dict(type='BN'),
    ),
    test_cfg=dict(max_per_img=5),
)
"""
SIZES = 'input_size=(192, 256), heatmap_size=(48, 64)'
CODECS = dict(
    msra=f"type='MSRAHeatmap', sigma=2, {SIZES}",
    unbiased=f"type='MSRAHeatmap', sigma=2, unbiased=True, {SIZES}",
    udp=f"type='UDPHeatmap', sigma=2, {SIZES}",
    megvii=f"type='MegviiHeatmap', kernel_size=11, {SIZES}",
    combined=f"type='UDPHeatmap', heatmap_type='combined', {SIZES}",
)


def write_model(folder, name, config, **meta):
    """Write a config and a checkpoint of its model."""
    path, weights = folder / f'{name}.py', folder / f'{name}.pth'
    path.write_text(config)
    cfg = Config.fromfile(path)
    scope = cfg.get('default_scope', 'mmpose')
    init_default_scope(scope)
    if scope == 'mmdet':
        from mmdet.registry import MODELS as models
    else:
        models = MODELS
    model = models.build(cfg.model)
    state = getattr(model, 'module', model).state_dict()
    init_default_scope('mmpose')
    torch.save(dict(state_dict=state, meta=meta), weights)
    return str(path), str(weights)


def pose_config(codec='msra'):
    channels = 51 if codec == 'combined' else 17
    return POSE.format(codec=CODECS[codec], channels=channels)


@pytest.fixture(scope='module')
def pose(tmp_path_factory):
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp('m'), 'pose', pose_config())


@pytest.fixture(scope='module')
def det(tmp_path_factory):
    """A detector to whom everything is a person, to none a dog."""
    pytest.importorskip('mmdet')
    torch.manual_seed(0)
    config, weights = write_model(
        tmp_path_factory.mktemp('m'),
        'det',
        DET,
        dataset_meta=dict(classes=('dog', 'person')),
    )
    checkpoint = torch.load(weights)
    for key, value in checkpoint['state_dict'].items():
        if 'rtm_cls' in key and key.endswith('bias'):
            value.copy_(torch.tensor([-9.0, 3.0]))
        elif 'rtm_reg' in key and key.endswith('bias'):
            value.fill_(2)  # cells to each side
    torch.save(checkpoint, weights)
    return config, weights


@pytest.fixture
def tool():
    yield load_tool('infer.py')
    init_default_scope('mmpose')  # a detector that fails leaves its own


@pytest.fixture
def infer(tool, monkeypatch, capsys, tmp_path, pose):
    """Run the tool in this process; what it printed, and its people."""

    def run(source, *args, pose=pose):
        out = tmp_path / 'out'
        argv = ['infer.py', source, '--out', out, '--device', 'cpu']
        argv += ['--pose', *pose, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        tool.main()
        people = json.loads((out / 'predictions.json').read_text())
        return capsys.readouterr().out, people, out

    return run


def see(tool, monkeypatch, *boxes):
    """Let the detector find these boxes, given for one call after another."""
    calls = iter(boxes)

    def detect(self, inputs, **kwargs):
        found = np.array(next(calls), np.float32).reshape(-1, 6)
        instances = InstanceData(
            bboxes=torch.from_numpy(found[:, :4]),
            scores=torch.from_numpy(found[:, 4]),
            labels=torch.from_numpy(found[:, 5]).long(),
        )
        sample = tool.PoseDataSample(pred_instances=instances)
        return dict(predictions=[sample])

    monkeypatch.setattr(tool.DetInferencer, '__call__', detect)


def write_video(path, frames=5, fps=7, width=160, height=96):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, (width, height)
    )
    for i in range(frames):
        writer.write(np.full((height, width, 3), 40 * i, np.uint8))
    writer.release()
    return path


def read_video(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, frame = video.read()
        if not good:
            return frames, video.get(cv2.CAP_PROP_FPS)
        frames.append(frame)


def test_picture(infer, tmp_path):
    """Without a detector, the picture is the box."""
    source = tmp_path / 'a.png'
    write_noise(source, 160, 96)
    printed, people, out = infer(source, '--kpt-thr', '-9', '--draw-bbox')
    assert 'each picture is taken for the box of one person' in printed
    assert 'Pictures: 1, people: 1, ' in printed
    (person,) = people
    assert person['bbox'] == [0, 0, 160, 96]
    assert len(person['keypoints']) == 51
    assert (person['image_id'], person['file_name']) == (0, 'a.png')
    assert person['category_id'] == 1
    assert sorted(os.listdir(out)) == ['a.png', 'predictions.json']
    drawn = cv2.imread(str(out / 'a.png'))
    before = cv2.imread(str(source))
    assert drawn.shape == before.shape
    assert (drawn[0, 80] == (0, 255, 0)).all()  # of the box
    # Each keypoint within the picture is a disc of one colour.
    points = np.array(person['keypoints']).reshape(17, 3)
    x, y = points[np.abs(points[:, :2] - (80, 48)).max(1) < 40][-1, :2]
    x, y = int(x), int(y)
    assert (drawn[y, x] == drawn[y, x + 1]).all()
    assert (before[y, x] != before[y, x + 1]).any()


def test_folder(infer, tmp_path):
    folder = tmp_path / 'pictures'
    for name in ('000000000785.jpg', '000000000036.jpg', 'sub/7.jpg'):
        write_noise(folder / name, 64, 48)
    (folder / '12.JPG').write_bytes(b'no picture')
    (folder / '13.png').touch()
    (folder / 'notes.txt').write_text('14')
    printed, people, out = infer(folder)
    assert 'Skipped 2 unreadable: 12.JPG, 13.png' in printed
    assert 'Pictures: 2, people: 2, ' in printed
    assert [p['image_id'] for p in people] == [36, 785]
    assert sorted(os.listdir(out)) == [
        *('000000000036.jpg', '000000000785.jpg', 'predictions.json')
    ]


def test_numbers(tool, tmp_path):
    """Names that are not numbers, or not of one picture, do not count."""
    for name in ('b.png', '9.png', '1.jpg', '01.jpg', '1.png'):
        write_noise(tmp_path / name, 8, 8)

    def numbers(*names):
        pictures = [tmp_path / name for name in names]
        return [number for number, _, _ in tool.read_pictures(pictures)]

    assert numbers('1.jpg', '9.png') == [1, 9]
    assert numbers('9.png', 'b.png') == [0, 1]
    assert numbers('01.jpg', '1.jpg', '9.png') == [0, 1, 2]


def test_coco_numbers(tool, shared_data):
    folder = shared_data / 'coco_sample'
    images = json.loads((folder / 'test_coco.json').read_text())['images']
    read = list(tool.read_pictures(tool.find_pictures(folder)))
    assert {(image['id'], image['file_name']) for image in images} == {
        (number, name) for number, name, _ in read
    }
    sizes = {
        image['id']: (image['height'], image['width']) for image in images
    }
    assert all(sizes[i] == image.shape[:2] for i, _, image in read)


def test_score(tool):
    """0.8 of the box times the mean of 0.5 and 0.7, not of 0.1."""
    people = InstanceData(
        keypoints=np.array([[[1, 2], [3, 4], [5, 6.0]]]),
        keypoint_scores=np.array([[0.5, 0.1, 0.7]]),
        bboxes=np.array([[10, 20, 40, 60.0]]),
        bbox_scores=np.array([0.8]),
    )
    (person,) = tool.results(3, 'x.jpg', people)
    assert person['score'] == pytest.approx(0.48)
    assert person['bbox'] == [10, 20, 30, 40]
    assert person['keypoints'] == [1, 2, 0.5, 3, 4, 0.1, 5, 6, 0.7]
    people.keypoint_scores[:] = 0.1
    assert tool.results(3, 'x.jpg', people)[0]['score'] == 0


def test_video_with_frames_without_people(
    tool, infer, det, monkeypatch, tmp_path
):
    """The host takes the whole frame for a person where there is none."""
    source = write_video(tmp_path / 'clip.avi')
    box = [20, 10, 60, 90, 0.9, 1]
    see(
        *(tool, monkeypatch),
        *([box], [], [box, [90, 10, 120, 90, 0.6, 1]]),
        [[20, 10, 60, 90, 0.29, 1], [20, 10, 60, 90, 0.9, 0]],
        [box, [21, 10, 60, 90, 0.8, 1]],
    )
    printed, people, out = infer(source, '--det', *det, '--heatmaps')
    assert [p['image_id'] for p in people] == [0, 2, 2, 4]
    assert {p['file_name'] for p in people} == {'clip.avi'}
    assert people[0]['bbox'] == [20, 10, 40, 80]
    assert 'Frames: 5, people: 4, ' in printed
    assert sorted(os.listdir(out)) == ['clip.mp4', 'predictions.json']
    frames, fps = read_video(out / 'clip.mp4')
    assert len(frames) == 5
    assert fps == 7
    assert frames[0].shape == (192, 160, 3)
    # Nobody is drawn in the second, of grey 40.
    assert np.abs(frames[1][:90].astype(int) - 40).max() < 10
    assert np.abs(frames[0][:90].astype(int)).max() > 100


def test_detector(infer, det, tmp_path):
    """A real one, whose second class is the person."""
    source = tmp_path / 'a.jpg'
    write_noise(source, 64, 64)
    _, people, _ = infer(
        *(source, '--det', *det, '--bbox-thr', '0.9', '--nms-thr', '0')
    )
    boxes = np.array([p['bbox'] for p in people])
    assert 0 < len(boxes) <= 5
    assert (boxes[:, :2] + boxes[:, 2:] <= 64.01).all()
    # Two cells to each side, the finest of 8 pixels in 640.
    assert (np.abs(boxes[:, 2:] / 3.2 - 1) < 0.02).all(1).any()
    checkpoint = torch.load(det[1])
    checkpoint['meta']['dataset_meta']['classes'] = ('person', 'dog')
    torch.save(checkpoint, tmp_path / 'dogs.pth')
    printed, people, _ = infer(source, '--det', det[0], tmp_path / 'dogs.pth')
    assert people == []
    assert 'people: 0' in printed


@pytest.mark.parametrize('codec', ['msra', 'unbiased', 'udp', 'megvii'])
def test_heatmaps_are_where_the_keypoints_are(
    tool, det, monkeypatch, tmp_path, codec
):
    """Peaks at whole cells of a heatmap, of 11.7 pixels here.

    Most decoders give these cells back exactly, so the overlay has to have a
    peak within a pixel of each keypoint.
    """
    config, weights = write_model(tmp_path, codec, pose_config(codec))
    args = (Config.fromfile(det[0]), det[1], 0.3, 'cpu')
    inferencer = tool.PoseInferencer(
        *(Config.fromfile(config), weights),
        *(tool.PersonDetector(*args), 'cpu'),
    )
    x, y = np.meshgrid(np.arange(48), np.arange(64))
    cells = [(6 + 9 * (k % 5), 6 + 14 * (k // 5)) for k in range(17)]
    heatmaps = torch.tensor(
        np.array(
            [
                (1 - k / 40) * np.exp(-((x - i) ** 2 + (y - j) ** 2) / 4.5)
                for k, (i, j) in enumerate(cells)
            ]
        )
    ).float()
    model = inferencer.model
    monkeypatch.setattr(
        *(model.head, 'forward'), lambda feats: heatmaps[None].clone()
    )
    see(tool, monkeypatch, [[300, 40, 500, 640, 0.9, 1]])
    image = np.zeros((700, 1000, 3), np.uint8)
    sample, drawn = inferencer.infer(
        *(image, 0.3, 0.3), draw_heatmap=True, draw_bbox=False, kpt_thr=9
    )
    assert drawn.shape == (1400, 1000, 3)
    (keypoints,) = sample.pred_instances.keypoints
    (heatmap,) = sample.pred_fields.heatmaps
    assert heatmap.shape == (700, 1000)
    # 1.25 * 600 pixels are 64 cells, or the 63 between the first and last.
    step = 750 / (63 if codec == 'udp' else 64)
    # MegviiHeatmap moves a keypoint by a quarter of a cell in any case.
    near = 1 + step / 4 if codec == 'megvii' else 1
    first, last = keypoints[0], keypoints[15]
    assert (last - first)[1] == pytest.approx(3 * 14 * step, abs=2 * near)
    for k, (u, v) in enumerate(keypoints):
        left, top = int(u) - 30, int(v) - 30
        window = heatmap[top : top + 61, left : left + 61]
        j, i = np.unravel_index(window.argmax(), window.shape)
        assert abs(left + i - u) <= near
        assert abs(top + j - v) <= near
        assert window.max() == pytest.approx(1 - k / 40, rel=0.03)
    # The first is the highest: its colour is there and nowhere else.
    below = drawn[700:]
    j, i = np.unravel_index(heatmap.argmax(), heatmap.shape)
    j, i = np.nonzero((below == below[j, i]).all(-1))
    assert np.abs((i.mean(), j.mean()) - first).max() <= near + 1
    assert np.abs((i, j) - first[:, None]).max() < 30


def test_heatmaps_of_two_people(tool, det, pose, monkeypatch):
    """Each in its place, the higher where they overlap."""
    args = (Config.fromfile(det[0]), det[1], 0.3, 'cpu')
    inferencer = tool.PoseInferencer(
        *(Config.fromfile(pose[0]), pose[1]),
        *(tool.PersonDetector(*args), 'cpu'),
    )
    maps = torch.zeros(2, 17, 64, 48)
    maps[0, :, 32, 24], maps[1, :, 32, 24] = 1.0, 0.5
    monkeypatch.setattr(
        *(inferencer.model.head, 'forward'), lambda feats: maps.clone()
    )
    boxes = [[30, 60, 90, 140, 0.9, 1], [140, 60, 200, 140, 0.8, 1]]
    see(tool, monkeypatch, boxes)
    sample, _ = inferencer.infer(
        *(np.zeros((200, 240, 3), np.uint8), 0.3, 0.3), draw_heatmap=True
    )
    (heatmap,) = sample.pred_fields.heatmaps
    assert heatmap[100, 60] == pytest.approx(1)
    # OpenCV 5 interpolates less exactly.
    assert heatmap[100, 170] == pytest.approx(0.5, abs=1e-5)
    assert heatmap[100, 115] == 0
    assert sample.pred_instances.keypoints[:, 0].tolist() == [
        *([60, 100], [170, 100])
    ]


def test_multi_scale_tta(infer, pose, tmp_path):
    """With the plain test's crop alone, it is the plain test."""
    source = tmp_path / 'a.png'
    write_noise(source, 160, 96)
    _, plain, _ = infer(source)
    config = os.path.join(os.path.dirname(pose[0]), 'tta.py')
    with open(config, 'w') as file:
        file.write(TTA)
    _, merged, out = infer(source, '--heatmaps', pose=(config, pose[1]))
    for a, b in zip(plain, merged):
        np.testing.assert_allclose(a['keypoints'], b['keypoints'], atol=1e-3)
    assert cv2.imread(str(out / 'a.png')).shape == (192, 160, 3)


def ends_with(infer, tmp_path, message, *args, **kwargs):
    with pytest.raises(SystemExit) as error:
        infer(*args, **kwargs)
    assert message in error.value.code
    assert '\n' not in error.value.code
    assert error.value.code.count('. ') == 0
    assert not (tmp_path / 'out').is_dir()


def test_bad_inputs(infer, tmp_path):
    (tmp_path / 'empty').mkdir()
    for name in ('a.txt', 'a.jpg', 'a.mp4', 'bad/1.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'nothing of the kind')
    for name, message in (
        ('none.jpg', 'none.jpg does not exist'),
        ('empty', 'empty has no picture (.jpg, '),
        ('a.txt', 'a.txt is neither a folder nor a picture (.jpg, '),
        ('a.jpg', 'a.jpg can be read: no pixels'),
        ('bad', 'No picture of'),
        ('a.mp4', 'a.mp4 cannot be read by OpenCV'),
    ):
        ends_with(infer, tmp_path, message, tmp_path / name)


def test_bad_models(infer, pose, det, tmp_path):
    source = tmp_path / 'a.png'
    write_noise(source, 64, 48)
    garbage = tmp_path / 'garbage.pth'
    garbage.write_bytes(b'no checkpoint')
    broken = tmp_path / 'broken.py'
    broken.write_text('model = dict(')
    empty = tmp_path / 'empty.py'
    empty.write_text('x = 1')
    deeper = tmp_path / 'deeper.py'
    deeper.write_text(pose_config().replace('depth=18', 'depth=34'))
    for models, message in (
        (('none.py', pose[1]), 'config none.py does not exist'),
        ((pose[0], 'none.pth'), 'checkpoint none.pth does not exist'),
        ((broken, pose[1]), 'broken.py cannot be read: SyntaxError'),
        ((empty, pose[1]), 'empty.py has no model'),
        ((pose[0], garbage), 'garbage.pth cannot be used with'),
        ((deeper, pose[1]), f'fit {deeper}: it lacks'),
        ((pose[0], det[1]), f'fit {pose[0]}: it lacks'),
        (det, 'is not of a top-down pose model'),
    ):
        ends_with(infer, tmp_path, message, source, pose=models)
    # The fitting part of a deeper model would be taken for the whole.
    deep = write_model(tmp_path, 'deeper', deeper.read_text())
    message = f'fit {pose[0]}: it has'
    models = (pose[0], deep[1])
    ends_with(infer, tmp_path, message, source, pose=models)

    state = torch.load(det[1])
    state['meta'] = dict(dataset_meta=dict(classes=('cat', 'dog')))
    torch.save(state, tmp_path / 'cats.pth')
    for models, message in (
        (('none.py', det[1]), 'config none.py does not exist'),
        ((det[0], 'none.pth'), 'checkpoint none.pth does not exist'),
        ((det[0], pose[1]), f'fit {det[0]}: it lacks'),
        (pose, 'is not of a detector'),
        ((det[0], tmp_path / 'cats.pth'), 'no class "person" but cat, dog'),
    ):
        ends_with(infer, tmp_path, message, source, '--det', *models)


def test_bad_options(tool, infer, tmp_path, monkeypatch):
    source = tmp_path / 'in' / 'a.png'
    write_noise(source, 64, 48)
    file = tmp_path / 'file'
    file.touch()
    for args, message in (
        (('--out', source.parent), 'would be overwritten'),
        (('--out', file), 'cannot be written'),
        (('--out', file / 'below'), 'cannot be written'),
        (('--device', 'abacus'), '--device abacus cannot be used'),
    ):
        ends_with(infer, tmp_path, message, source, *args)
    combined = write_model(tmp_path, 'combined', pose_config('combined'))
    message = '--heatmaps needs a model with one heatmap per keypoint'
    ends_with(infer, tmp_path, message, source, '--heatmaps', pose=combined)
    monkeypatch.setattr(tool, 'DetInferencer', object)
    message = '--det needs MMDetection'
    ends_with(infer, tmp_path, message, source, '--det', 'a', 'b')


def test_all_or_nothing(tool, infer, tmp_path, monkeypatch):
    """A disk that is full leaves what an earlier run wrote."""
    for name in 'ab':
        write_noise(tmp_path / 'in' / f'{name}.png', 64, 48)
    _, _, out = infer(tmp_path / 'in')
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    write = tool.write_picture

    def fill(path, drawn):
        if path.name == 'b.png':
            raise OSError(28, 'No space left on device')
        write(path, np.zeros_like(drawn))

    monkeypatch.setattr(tool, 'write_picture', fill)
    with pytest.raises(SystemExit, match='No space left on device'):
        infer(tmp_path / 'in')
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    # OpenCV says nothing when it cannot write a video.
    monkeypatch.setattr(tool.cv2, 'VideoWriter_fourcc', lambda *_: 0)
    with pytest.raises(SystemExit, match='0 of 2 frames'):
        infer(write_video(tmp_path / 'clip.avi', frames=2))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


@pytest.mark.slow
def test_as_a_user(run_tool, pose, det, tmp_path):
    """One sentence, no stack trace; MMEngine's own lines may be before it."""
    write_noise(tmp_path / 'a.png', 64, 48)
    (tmp_path / 'a.mp4').write_bytes(b'no video')
    args = ('--pose', *pose, '--device', 'cpu', '--out', tmp_path / 'out')
    result = run_tool('infer.py', tmp_path / 'a.mp4', *args, check=False)
    assert result.returncode == 1
    assert result.stdout.strip().split('\n') == [
        f'The video {tmp_path / "a.mp4"} cannot be read by OpenCV.'
    ]
    swapped = ('--pose', pose[0], det[1], *args[3:])
    result = run_tool('infer.py', tmp_path / 'a.png', *swapped, check=False)
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout
    assert 'does not fit' in result.stdout.strip().split('\n')[-1]
    assert not (tmp_path / 'out').exists()
    result = run_tool('infer.py', tmp_path / 'a.png', *args, '--det', *det)
    assert (tmp_path / 'out' / 'a.png').exists()
    assert f'are in {tmp_path / "out"}' in result.stdout
