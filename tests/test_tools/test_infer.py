"""Poses drawn and written by tools/infer.py, with models of random weights."""

import json
import os
import signal
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as DETECTORS
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import CheckpointLoader
from mmengine.structures import InstanceData
from mmpose.datasets.transforms import LoadImage
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS

from ..factories import ROOT, fail_at_fourth, load_tool, write_noise

POSE = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_res50_8xb64-210e_coco-256x192.py'
]
codec = dict(input_size=(192, 256), heatmap_size=(48, 64), {codec})
small = dict(in_channels=512, deconv_out_channels=(8, 8, 8))
model = dict(
    backbone=dict(depth=18, init_cfg=None),
    head=dict(out_channels={channels}, **small),
    test_cfg=dict(flip_test=False),
)
model['head']['decoder'] = dict(codec, _delete_=True)
"""
GRAY = """
model['backbone']['in_channels'] = 1
model['data_preprocessor'] = dict(mean=[120], std=[60], bgr_to_rgb=False)
pipeline = _base_.val_pipeline
pipeline[0]['color_type'] = 'grayscale'
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
(DETECTOR,) = (ROOT / 'configs' / 'detectors').glob('*_demo-person.py')
DET = f'_base_ = {str(DETECTOR)!r}'
DOG = dict(dataset_meta=dict(classes=('dog', 'person')))
CODECS = dict(
    msra="type='MSRAHeatmap', sigma=2",
    unbiased="type='MSRAHeatmap', sigma=2, unbiased=True",
    udp="type='UDPHeatmap', sigma=2",
    megvii="type='MegviiHeatmap', kernel_size=11",
    combined="type='UDPHeatmap', heatmap_type='combined'",
)


def write_model(folder, name, config, **meta):
    """Write a config and a checkpoint of its model."""
    path, checkpoint = folder / f'{name}.py', folder / f'{name}.pth'
    path.write_text(config, encoding='utf-8')
    cfg = Config.fromfile(path)
    torch.manual_seed(0)
    registry = DETECTORS if cfg.default_scope == 'mmdet' else MODELS
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        state = registry.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=meta), checkpoint)
    return str(path), str(checkpoint)


def pose_config(codec='msra'):
    channels = 51 if codec == 'combined' else 17
    return POSE.format(codec=CODECS[codec], channels=channels)


@pytest.fixture(scope='module')
def pose(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('m'), 'pose', pose_config())


@pytest.fixture(scope='module')
def det(pose):
    return write_model(Path(pose[0]).parent, 'det', DET, **DOG)


@pytest.fixture
def tool():
    # In the background, shells let processes ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handler = signal.getsignal(signal.SIGTERM)
    yield load_tool('infer.py')
    signal.signal(signal.SIGTERM, handler)
    init_default_scope('mmpose')  # a detector that fails leaves its own


@pytest.fixture
def infer(tool, monkeypatch, capsys, tmp_path, pose):
    """Run the tool in this process; what it printed, and its people."""

    def run_infer(source, *args, pose=pose):
        out = tmp_path / 'out'
        argv = ['infer.py', '--out', out, '--device', 'cpu']
        argv += ['--pose', *pose, source, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        tool.main()
        people = (out / 'predictions.json').read_text(encoding='utf-8')
        return capsys.readouterr().out, json.loads(people), out

    return run_infer


@pytest.fixture
def picture(tmp_path):
    write_noise(tmp_path / 'in' / 'a.png', 160, 96)
    return tmp_path / 'in' / 'a.png'


def write_video(path, frames=5, fps=7, codec='MJPG', corner=False):
    """Frames of grey, brighter one by one, the first quarter red."""
    fourcc = cv2.VideoWriter_fourcc(*codec)
    writer = cv2.VideoWriter(str(path), fourcc, fps, (160, 96))
    for i in range(frames):
        frame = np.full((96, 160, 3), 40 * i, np.uint8)
        if corner:
            frame[:48, :80] = 0, 0, 255
        writer.write(frame)
    writer.release()
    return path


def read_video(path):
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = np.stack([video.read()[1] for _ in range(count)])
    return frames, video.get(cv2.CAP_PROP_FPS)


def test_picture(infer, picture):
    """Without a detector, the picture is the box."""
    printed, people, out = infer(picture, '--kpt-thr', '-9', '--draw-bbox')
    assert 'Pictures: 1 of 1, people: 1\n' in printed
    (person,) = people
    assert person['bbox'] == [0, 0, 160, 96]
    assert len(person['keypoints']) == 51
    assert (person['image_id'], person['file_name']) == (0, 'a.png')
    assert person['category_id'] == 1
    assert sorted(os.listdir(out)) == ['a.png', 'predictions.json']
    drawn, before = cv2.imread(str(out / 'a.png')), cv2.imread(str(picture))
    assert (drawn[0, 80] == (0, 255, 0)).all()  # of the box
    assert (drawn[1:-1, 1:-1] != before[1:-1, 1:-1]).any()


def test_boxes_by_hand(infer, picture):
    """Each is a person, even if they overlap; no keypoint is sure."""
    boxes = [10, 20, 30, 40], [12, 20, 30, 40]
    args = [arg for box in boxes for arg in ('--bbox', *box)]
    printed, people, out = infer(picture, *args, '--kpt-thr', '9')
    assert [person['bbox'] for person in people] == [*boxes]
    assert 'Of 2 no keypoint reaches --kpt-thr 9.0' in printed
    drawn = cv2.imread(str(out / 'a.png'))
    assert (drawn == cv2.imread(str(picture))).all()


def test_folder(infer, tmp_path):
    """What is no picture is named, the rest is done, and not done over."""
    folder = tmp_path / 'pictures'
    for name in ('000000000785.jpg', '000000000036.jpg', 'sub/7.jpg'):
        write_noise(folder / name, 64, 48)
    # OpenCV 4 warps up to 32767 pixels, OpenCV 5 this too.
    write_noise(folder / '14.png', 40000, 8)
    (folder / '12.JPG').write_bytes(b'no picture')
    (folder / '13.png').touch()
    write_noise(folder / '16.jpg', 64, 48)
    cut_off = (folder / '16.jpg').read_bytes()[:-900]
    (folder / '16.jpg').write_bytes(cut_off)
    (folder / 'notes.txt').write_text('15', encoding='utf-8')
    printed, people, out = infer(folder)
    wide = '14.png (' not in printed
    assert [p['image_id'] for p in people] == [36, 785] + [14] * wide
    assert f'Pictures: {2 + wide} of 6, people: {2 + wide}\n' in printed
    skipped = printed[printed.index(f'Skipped {4 - wide}: ') :]
    assert '12.JPG (' in skipped
    assert '13.png (' in skipped
    assert '16.jpg (' in skipped
    names = ['000000000036.jpg', '000000000785.jpg', 'predictions.json']
    assert sorted(os.listdir(out)) == names[:2] + ['14.png'] * wide + names[2:]
    with pytest.raises(SystemExit, match=str(out)):
        infer(folder / names[0])
    with pytest.raises(SystemExit, match='no results'):
        infer(folder / '13.png', '--overwrite')
    _, people, _ = infer(folder / names[0], '--overwrite')
    assert len(people) == 1


@pytest.mark.slow
def test_names_in_a_locale_that_is_not_utf8(run_tool, pose, tmp_path):
    """They are what they are elsewhere, in both places."""
    write_noise(tmp_path / 'in' / 'a.png', 64, 48)
    (tmp_path / 'in' / 'a.png').rename(tmp_path / 'in' / '\u4eba.png')
    (tmp_path / 'in' / '\u56fe.png').touch()
    out = tmp_path / '\u753b'
    said = run_tool(
        *('infer.py', tmp_path / 'in', '--pose', *pose, '--out', out),
        env=dict(LC_ALL='C', PYTHONUTF8='0'),
    ).stdout
    assert 'Pictures: 1 of 2' in said
    (person,) = json.loads((out / 'predictions.json').read_bytes())
    assert person['file_name'] == '\u4eba.png'
    assert (out / '\u4eba.png').exists()


def test_numbers(tool):
    """Names that are not of one picture do not count."""
    paths = [Path(name) for name in ('01.jpg', '1.jpg', '9.png')]
    numbers = [names['image_id'] for names, _ in tool.list_pictures(paths)]
    assert numbers == [0, 1, 2]


def test_score(tool):
    """0.8 of the box times the mean of 0.5 and 0.7, not of 0.1."""
    people = InstanceData(
        keypoints=np.array([[[1, 2], [3, 4], [5, 6.0]]]),
        keypoint_scores=np.array([[0.5, 0.1, 0.7]]),
        bboxes=np.array([[10, 20, 40, 60.0]]),
        bbox_scores=np.array([0.8]),
    )
    (person,) = tool.results(dict(image_id=3), people)
    assert person['image_id'] == 3
    assert person['score'] == pytest.approx(0.48)
    assert person['bbox'] == [10, 20, 30, 40]
    assert person['keypoints'] == [1, 2, 0.5, 3, 4, 0.1, 5, 6, 0.7]
    people.keypoint_scores[:] = 0.1
    assert tool.results({}, people)[0]['score'] == 0


def test_video_with_frames_without_people(
    tool, infer, det, monkeypatch, tmp_path
):
    """The host takes the whole frame for a person where there is none."""
    source = write_video(tmp_path / 'clip.avi')
    box, far = [20, 10, 60, 90, 0.9, 1], [90, 10, 120, 90, 0.6, 1]
    low, dog = [20, 10, 60, 90, 0.29, 1], [20, 10, 60, 90, 0.9, 0]
    near = [21, 10, 60, 90, 0.8, 1]
    found = iter([[box], [], [box, far], [low, dog], [box, near]])

    def detect(self, inputs, **kwargs):
        boxes = torch.tensor(next(found), dtype=torch.float).reshape(-1, 6)
        instances = InstanceData(
            bboxes=boxes[:, :4], scores=boxes[:, 4], labels=boxes[:, 5].long()
        )
        sample = tool.PoseDataSample(pred_instances=instances)
        return dict(predictions=[sample])

    monkeypatch.setattr(tool.DetInferencer, '__call__', detect)
    printed, people, out = infer(source, '--det', *det, '--heatmaps')
    assert [p['image_id'] for p in people] == [0, 2, 2, 4]
    times = [p['time'] for p in people]
    assert times == pytest.approx([0, 2 / 7, 2 / 7, 4 / 7], abs=1e-3)
    assert people[0]['file_name'] == 'clip.avi'
    assert people[0]['bbox'] == [20, 10, 40, 80]
    assert 'Frames: 5 of 5, people: 4\n' in printed
    assert sorted(os.listdir(out)) == ['clip.mp4', 'predictions.json']
    frames, fps = read_video(out / 'clip.mp4')
    assert fps == 7
    assert frames.shape == (5, 192, 160, 3)
    # Nobody is drawn in the second, of grey 40.
    assert np.abs(frames[1, :90].astype(int) - 40).max() < 10
    assert np.abs(frames[0, :90].astype(int)).max() > 100


def turn_mp4(source, degrees):
    """As a phone writes it, with a matrix for the display."""
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    before, after = (
        struct.pack('>9i', a << 16, b << 16, 0, c << 16, d << 16, *end)
        for a, b, c, d in ((1, 0, 0, 1), (cos, sin, -sin, cos))
        for end in [(0, 0, 0, 1 << 30)]
    )
    head, track = source.split(b'tkhd')
    assert before in track
    return head + b'tkhd' + track.replace(before, after, 1)


def turn_matroska(source, degrees, path=('18538067', '1654ae6b', 'ae', 'e0')):
    """With ProjectionPoseRoll, which is counterclockwise, in its Video."""
    if not path:
        roll = bytes.fromhex('767584') + struct.pack('>f', -degrees)
        return source + bytes.fromhex('7670') + bytes([128 + len(roll)]) + roll
    new, place = b'', 0

    def number(keep):  # the leading zeros say how many bytes follow
        nonlocal place
        length = 9 - source[place].bit_length()
        text = source[place : place + length]
        place += length
        value = int.from_bytes(text, 'big')
        return text if keep else value - (1 << 7 * length)

    while place < len(source):
        name, size = number(True), number(False)
        body = source[place : place + size]
        place += len(body)
        if name.hex() == path[0]:
            body = turn_matroska(body, degrees, path[1:])
        new += name + b'\x01' + len(body).to_bytes(7, 'big') + body
    return new


@pytest.mark.parametrize('ending', ['mp4', 'mov', 'mkv', 'webm'])
@pytest.mark.parametrize(
    ('degrees', 'size', 'corner'),
    [(90, (96, 160), 1), (180, (160, 96), 3), (270, (96, 160), 2)],
)
def test_turned_video(tool, tmp_path, ending, degrees, size, corner):
    """The first quarter goes round clockwise."""
    codec = 'VP80' if ending == 'webm' else 'mp4v'
    source = tmp_path / f'clip.{ending}'
    write_video(source, frames=2, codec=codec, corner=True)
    turn = turn_mp4 if ending in ('mp4', 'mov') else turn_matroska
    source.write_bytes(turn(source.read_bytes(), degrees))
    film = tool.Film(source, tmp_path)
    ((_, frame), _) = film.read()
    width, height = size
    assert frame.shape == (height, width, 3)
    quarters = frame[height // 4 :: height // 2, width // 4 :: width // 2]
    red = (quarters[..., 2] > 150) & (quarters[..., 0] < 90)
    assert np.flatnonzero(red).tolist() == [corner]


def test_drawn_film_is_upright(infer, tmp_path):
    source = write_video(tmp_path / 'clip.mp4', codec='mp4v', corner=True)
    source.write_bytes(turn_mp4(source.read_bytes(), 90))
    _, people, out = infer(source, '--kpt-thr', '9')
    assert people[0]['bbox'] == [0, 0, 96, 160]
    assert read_video(out / 'clip.mp4')[0].shape == (5, 160, 96, 3)


def test_slow_video(infer, tmp_path):
    """A header that says 10 frames a second, of which there are 1.8."""
    source = write_video(tmp_path / 'clip.mkv', fps=10, codec='mp4v')
    unit = bytes.fromhex('2ad7b183')  # nanoseconds of a tick
    tick, slow = (unit + n.to_bytes(3, 'big') for n in (10**6, 5_600_000))
    assert source.read_bytes().count(tick) == 1
    source.write_bytes(source.read_bytes().replace(tick, slow))
    _, people, out = infer(source, '--kpt-thr', '9')
    assert [p['time'] for p in people] == [0, 0.56, 1.12, 1.68, 2.24]
    frames, fps = read_video(out / 'clip.mp4')
    assert len(frames) / fps == pytest.approx(2.8)


def test_video_without_a_rate(tool, tmp_path):
    """Pictures in a row, for which FFmpeg takes 25 a second."""
    source = tmp_path / 'clip.mjpeg'
    picture = np.zeros((48, 64, 3), np.uint8)
    source.write_bytes(cv2.imencode('.jpg', picture)[1].tobytes() * 3)
    film = tool.Film(source, tmp_path)
    # OpenCV 4 counts in ticks of 1/1024 s.
    np.testing.assert_allclose(film.times, np.arange(4) / 25, atol=1e-3)
    times = [names['time'] for names, _ in film.read()]
    assert times == pytest.approx([0, 0.04, 0.08], abs=1e-3)


def test_irregular_video(tool, tmp_path, monkeypatch):
    """Each frame is shown from its time on, however many that are."""
    source = write_video(tmp_path / 'in.mp4', fps=10, codec='mp4v')
    film = tool.Film(source, tmp_path)
    np.testing.assert_allclose(film.times, np.arange(6) / 10, atol=1e-6)
    film.path = tmp_path / 'out.mp4'
    film.times = np.array([0, 0.3, 0.32, 0.5, 1.2, 1.9])
    for names, frame in film.read():
        film.write(names, frame)
    film.release()
    shown = (read_video(film.path)[0][:, 80, 120, 0] / 40).round()
    assert shown.tolist() == [0] * 3 + [2] * 2 + [3] * 7 + [4] * 7
    # A backend that knows no times.
    monkeypatch.setattr(tool.cv2, 'CAP_PROP_POS_MSEC', -1)
    times = tool.Film(source, tmp_path).times
    np.testing.assert_allclose(times, np.arange(6) / 10)


@pytest.mark.parametrize(
    ('film', 'fault', 'said'),
    [
        (False, signal.SIGINT, 'Stopped'),
        (True, signal.SIGTERM, 'Stopped'),
        (False, OSError(28, 'No space left'), 'No space left'),
    ],
)
def test_what_is_done_is_kept(
    tool, infer, tmp_path, monkeypatch, film, fault, said
):
    source = tmp_path / ('clip.avi' if film else 'in')
    for i in range(5):
        write_noise(tmp_path / 'in' / f'{i}.png', 64, 48)
    owner = tool.Film if film else tool.Path
    name = 'write' if film else 'write_bytes'
    fail_at_fourth(monkeypatch, owner, name, fault)
    with pytest.raises(SystemExit, match=said):
        infer(write_video(source) if film else source)
    people = json.loads((tmp_path / 'out/predictions.json').read_bytes())
    assert [p['image_id'] for p in people] == [0, 1, 2]
    names = ['clip.mp4'] if film else ['0.png', '1.png', '2.png']
    assert sorted(os.listdir(tmp_path / 'out')) == [*names, 'predictions.json']
    if film:
        assert len(read_video(tmp_path / 'out' / 'clip.mp4')[0]) == 3


def test_video_that_cannot_be_written(tool, infer, tmp_path, monkeypatch):
    """OpenCV does not say so by itself."""
    monkeypatch.setattr(tool.cv2, 'VideoWriter_fourcc', lambda *_: 0)
    with pytest.raises(SystemExit, match='clip.mp4'):
        infer(write_video(tmp_path / 'clip.avi', frames=2))


def test_model_of_one_channel(infer, picture, tmp_path):
    """The config's loader makes pictures grey, and frames are made so."""
    gray = write_model(tmp_path, 'gray', pose_config() + GRAY)
    _, people, _ = infer(picture, pose=gray)
    assert len(people) == 1
    source = write_video(tmp_path / 'clip.avi', frames=2)
    _, people, _ = infer(source, '--overwrite', pose=gray)
    assert len(people) == 2


@pytest.mark.parametrize(
    'loader',
    [
        "'LoadImage', imdecode_backend='pillow'",
        "'LoadImage', color_type='unchanged'",
        # MMCV's and MMDet's take one of files and frames.
        "'LoadImageFromFile'",
        "'mmdet.LoadImageFromNDArray'",
    ],
)
def test_loaders(infer, picture, tmp_path, loader):
    """A colour picture is the same for all, from a file or as a frame."""
    config = f"""
{pose_config()}
pipeline = _base_.val_pipeline
pipeline[0] = dict(type={loader})
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
    _, plain, _ = infer(picture)
    other = write_model(tmp_path, 'other', config)
    _, people, _ = infer(picture, '--overwrite', pose=other)
    places = [x[0]['keypoints'] for x in (plain, people)]
    np.testing.assert_allclose(*places, atol=1e-2)
    source = write_video(tmp_path / 'clip.avi', frames=2)
    _, plain, _ = infer(source, '--overwrite')
    _, people, _ = infer(source, '--overwrite', pose=other)
    places = [x[1]['keypoints'] for x in (plain, people)]
    np.testing.assert_allclose(*places, atol=1e-2)


def test_pictures_are_decoded_once(tool, infer, picture, monkeypatch):
    """However many people there are."""
    calls, decode = [], tool.mmcv.imfrombytes
    for module in (tool.mmcv, tool.mmcv.image.io):

        def counted(*args, **kwargs):
            calls.append(args)
            return decode(*args, **kwargs)

        monkeypatch.setattr(module, 'imfrombytes', counted)
    box = ('--bbox', '10', '10', '50', '60')
    _, people, _ = infer(picture, *box, *box, *box)
    assert len(people) == 3
    assert len(calls) == 1


def test_picture_that_the_loader_makes_grey(infer, picture, tmp_path):
    """Of which a model of colours makes an error of indices."""
    config = f"""
{pose_config()}
pipeline = _base_.val_pipeline
pipeline[0]['color_type'] = 'unchanged'
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
    other = write_model(tmp_path, 'other', config)
    grey = picture.with_name('grey.png')
    cv2.imwrite(str(grey), np.full((48, 64), 99, np.uint8))
    printed, people, _ = infer(picture.parent, pose=other)
    assert [person['file_name'] for person in people] == ['a.png']
    assert 'Skipped 1: grey.png (' in printed


def test_any_top_down_config(tool, pose):
    """Types that are classes, no variables of MMPose's at the top."""
    cfg = Config.fromfile(pose[0])
    cfg.model.type = TopdownPoseEstimator
    cfg.test_dataloader.dataset.pipeline[0].type = LoadImage
    for name in ('data_mode', 'dataset_type', 'visualizer'):
        cfg.pop(name)
    inferencer = tool.PoseInferencer(cfg, pose[1], 'cpu')
    frame, box = np.zeros((48, 64, 3), np.uint8), np.array([[0, 0, 64, 48, 1]])
    sample = inferencer.predict(frame, (48, 64), box, [])
    assert sample.pred_instances.keypoints.shape == (1, 17, 2)


def test_multi_scale_tta(infer, picture, pose, tmp_path):
    """With the plain test's crop alone, it is the plain test; its checkpoint
    may lie anywhere that MMEngine can read from."""
    _, plain, _ = infer(picture)
    cfg = Config.fromfile(pose[0])
    cfg.model = dict(type='MultiScaleTTA', module=cfg.model)
    load, *crop, pack = cfg.test_dataloader.dataset.pipeline
    branches = [[transform] for transform in crop]
    tta = dict(type='TestTimeAug', transforms=[*branches, [pack]])
    cfg.test_dataloader.dataset.pipeline = [load, tta]
    config = tmp_path / 'tta.py'
    cfg.dump(config)
    CheckpointLoader.register_scheme(
        'store://', lambda *_: torch.load(pose[1]), force=True
    )
    args = ('--heatmaps', '--overwrite')
    _, merged, out = infer(picture, *args, pose=(config, 'store://pose.pth'))
    for a, b in zip(plain, merged):
        np.testing.assert_allclose(a['keypoints'], b['keypoints'], atol=1e-3)
    assert cv2.imread(str(out / 'a.png')).shape == (192, 160, 3)


def fixed_maps(tool, monkeypatch, pose, maps):
    """An inferencer whose head gives these maps."""
    inferencer = tool.PoseInferencer(Config.fromfile(pose[0]), pose[1], 'cpu')
    head = inferencer.model.head
    monkeypatch.setattr(head, 'forward', lambda feats: maps.clone())
    return inferencer


@pytest.mark.parametrize('codec', ['msra', 'unbiased', 'udp', 'megvii'])
def test_heatmaps_are_where_the_keypoints_are(
    tool, monkeypatch, tmp_path, codec
):
    """Peaks at whole cells of a heatmap, of 11.7 pixels here.

    Most decoders give these cells back exactly, so the overlay has to have a
    peak within a pixel of each keypoint.
    """
    x, y = np.meshgrid(np.arange(48), np.arange(64))
    maps = [
        (1 - k / 40) * np.exp(-((x - i) ** 2 + (y - j) ** 2) / 4.5)
        for k in range(17)
        for i, j in [(6 + 9 * (k % 5), 6 + 14 * (k // 5))]
    ]
    maps = torch.tensor(np.array([maps])).float()
    pose = write_model(tmp_path, codec, pose_config(codec))
    inferencer = fixed_maps(tool, monkeypatch, pose, maps)
    box = np.array([[300, 40, 500, 640, 0.9]])
    shown = list(range(17))
    image = np.zeros((700, 1000, 3), np.uint8)
    sample = inferencer.predict(image, (700, 1000), box, shown)
    (keypoints,) = sample.pred_instances.keypoints
    (heatmap,) = sample.pred_fields.heatmaps
    assert heatmap.shape == (700, 1000)
    # 1.25 * 600 pixels are 64 cells, or the 63 between the first and last.
    step = 750 / (63 if codec == 'udp' else 64)
    # MegviiHeatmap moves a keypoint by a quarter of a cell in any case.
    near = 1 + step / 4 if codec == 'megvii' else 1
    height = keypoints[15, 1] - keypoints[0, 1]
    assert height == pytest.approx(3 * 14 * step, abs=2 * near)
    for k, (u, v) in enumerate(keypoints):
        left, top = int(u) - 30, int(v) - 30
        window = heatmap[top : top + 61, left : left + 61]
        j, i = np.unravel_index(window.argmax(), window.shape)
        assert abs(left + i - u) <= near
        assert abs(top + j - v) <= near
        assert window.max() == pytest.approx(1 - k / 40, rel=0.03)
    drawn = inferencer.draw(image, sample, kpt_thr=9)
    assert drawn.shape == (1400, 1000, 3)
    # The scale is to the right, its top the highest value.
    assert (drawn[700, -1] == (0, 0, 128)).all()


def test_heatmaps_of_two_people(tool, pose, monkeypatch):
    """Each in its place, the higher where they overlap; of one keypoint."""
    maps = torch.zeros(2, 17, 64, 48)
    maps[0, :, 32, 24], maps[1, :, 32, 24] = 1.0, 0.5
    maps[:, 3] *= 0.2
    inferencer = fixed_maps(tool, monkeypatch, pose, maps)
    boxes = np.array([[30, 60, 90, 140, 0.9], [140, 60, 200, 140, 0.8]])
    image = np.zeros((200, 240, 3), np.uint8)
    for name, high in (('', 1), ('nose', 1), ('left_ear', 0.2)):
        shown = tool.shown_keypoints(inferencer, name)
        sample = inferencer.predict(image, (200, 240), boxes, shown)
        (heatmap,) = sample.pred_fields.heatmaps
        assert heatmap[100, 60] == pytest.approx(high)
        # OpenCV 5 interpolates less exactly.
        assert heatmap[100, 170] == pytest.approx(high / 2, abs=1e-5)
        assert heatmap[100, 115] == 0
        places = sample.pred_instances.keypoints[:, 0].tolist()
        assert places == [[60, 100], [170, 100]]


@pytest.fixture(scope='module')
def wrong(pose, det):
    """A folder of models and of what is none."""
    folder = Path(pose[0]).parent
    write_noise(folder / 'a.png', 64, 48)
    for name in ('a.mp4', 'empty/a.txt', 'broken.py', 'broken.pth'):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text('model = dict(', encoding='utf-8')
    deeper = pose_config().replace('depth=18', 'depth=34')
    write_model(folder, 'deeper', deeper)
    write_model(folder, 'combined', pose_config('combined'))
    meta = dict(dataset_meta=dict(classes=('cat', 'dog')))
    write_model(folder, 'cats', DET, **meta)
    return folder


@pytest.mark.parametrize(
    ('args', 'word'),
    [
        ('none.jpg', 'none.jpg'),
        ('a.mp4', 'a.mp4'),
        ('empty', 'empty'),
        ('a.png --pose none.py pose.pth', 'none.py'),
        ('a.png --pose pose.py none.pth', 'none.pth'),
        ('a.png --pose broken.py pose.pth', 'broken.py'),
        ('a.png --pose pose.py broken.pth', 'broken.pth'),
        # The fitting part of a deeper model would be taken for the whole.
        ('a.png --pose pose.py deeper.pth', 'deeper.pth'),
        ('a.png --pose det.py det.pth', 'det.py'),
        ('a.png --det det.py pose.pth', 'pose.pth'),
        ('a.png --det pose.py pose.pth', 'pose.py'),
        ('a.png --det det.py cats.pth', 'cat, dog'),
        ('a.png --out .', '--out .'),
        ('a.png --out a.png/below', 'a.png/below'),
        ('a.png --device abacus', 'abacus'),
        ('a.png --heatmaps wing', 'wing'),
        ('a.png --pose combined.py combined.pth --heatmaps', 'UDPHeatmap'),
        ('a.png --bbox 1 2 0 4', '[1.0, 2.0, 0.0, 4.0]'),
        ('a.png --bbox 1 2 inf 4', 'inf'),
    ],
)
def test_refused(infer, wrong, tmp_path, monkeypatch, capsys, args, word):
    """One sentence with what was given, and no results."""
    monkeypatch.chdir(wrong)
    with pytest.raises(SystemExit) as error:
        infer(*args.split())
    assert word in f'{error.value}{capsys.readouterr().err}'
    assert error.value.code
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()
