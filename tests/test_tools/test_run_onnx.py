"""What tools/deployment/run_onnx.py makes of a file of export_onnx.py."""

import json
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as DETECTORS
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from ..factories import (
    DETECTOR,
    ROOT,
    call,
    different_norms,
    draw_spots,
    fail_at_fourth,
    load_tool,
    run_main,
    write_film,
    write_noise,
    write_spot_model,
)

onnxruntime = pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')

TOOL = ROOT / 'tools' / 'deployment' / 'run_onnx.py'
# Two people, 20 to 30 pixels from the borders of their boxes.
PEOPLE = [
    [(45, 50), (70, 90), (50, 140)],
    [(190, 70), (150, 100), (185, 150)],
]
BOXES = [[20, 25, 80, 140], [125, 40, 90, 140]]
BY_HAND = [part for box in BOXES for part in ('--bbox', *box)]


@pytest.fixture(scope='module', params=['MSRA', 'UDP'])
def pose(request, tmp_path_factory):
    """Config, checkpoint and exported file of a model."""
    folder = tmp_path_factory.mktemp(request.param)
    model = write_spot_model(folder, udp=request.param == 'UDP')
    return *model, export(model, '--decode')


def export(model, *args):
    path = model[0].with_name('model.onnx')
    run_main('deployment/export_onnx.py', *model, '--out', path, *args)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the tool in this process: its results and what it printed."""

    handler = signal.getsignal(signal.SIGTERM)

    def run_tool(source, model, *args):
        out = tmp_path / 'out'
        argv = [TOOL.name, source, '--model', model, '--out', out, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        load_tool(TOOL).main()
        people = json.loads((out / 'predictions.json').read_bytes())
        return people, capsys.readouterr().out

    yield run_tool
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'in' / 'a.png'
    path.parent.mkdir()
    cv2.imwrite(str(path), draw_spots(240, 200, *PEOPLE))
    return path


def keypoints(people):
    return np.array([p['keypoints'] for p in people]).reshape(-1, 3, 3)


def test_the_spots_are_found(run, picture, pose):
    """Within a cell of a heatmap, which is 5.8 pixels of the picture here."""
    people, printed = run(picture, pose[2], *BY_HAND)
    assert 'Pictures: 1 of 1, people: 2' in printed
    found = keypoints(people)
    assert np.abs(found[..., :2] - PEOPLE).max() < 5.8
    assert found[..., 2].min() > 0.8
    assert [person['bbox'] for person in people] == BOXES
    drawn = cv2.imread(str(picture.parents[1] / 'out' / 'a.png'))
    changed = (drawn != cv2.imread(str(picture))).any(2)
    for x, y in found[..., :2].reshape(-1, 2).astype(int):
        assert changed[y, x - 1 : x + 2].all()
    # The link from red to blue is green.
    x, y = found[0, [0, 2], :2].mean(0).astype(int)
    assert drawn[y, x - 1 : x + 2, 1].max() > 100


def test_the_lines_of_the_docs(pose, tmp_path, monkeypatch, run, capsys):
    """As they are printed, for the same box."""
    docs = (ROOT / 'docs' / 'deploy.md').read_text(encoding='utf-8')
    (lines,) = (
        part.split('```')[0]
        for part in docs.split('```python\n')[1:]
        if 'onnxruntime' in part.split('```')[0]
    )
    picture = tmp_path / 'person.jpg'
    cv2.imwrite(str(picture), draw_spots(240, 200, *PEOPLE))
    (person,), _ = run(picture, pose[2], '--bbox', *BOXES[0])
    monkeypatch.chdir(pose[2].parent)
    (pose[2].parent / picture.name).write_bytes(picture.read_bytes())
    exec(lines, {})
    numbers = capsys.readouterr().out.replace('[', ' ').replace(']', ' ')
    found = np.array(numbers.split(), float)
    x, y, scores = np.array(person['keypoints']).reshape(3, 3).T
    np.testing.assert_allclose(found[:6], np.c_[x, y].ravel(), atol=0.01)
    np.testing.assert_allclose(found[6:], scores, atol=1e-4)


@pytest.mark.parametrize('film', [False, True])
def test_as_infer_writes(run, pose, tmp_path, film):
    """The keypoints within half a pixel, all else the same."""
    (tmp_path / 'in').mkdir()
    shift = np.array([3, 2])
    frames = [draw_spots(240, 200, *(PEOPLE + i * shift)) for i in range(3)]
    source = tmp_path / 'in'
    if film:
        source = write_film(source / 'clip.avi', frames)
    else:
        for i, frame in enumerate(frames):
            cv2.imwrite(str(source / f'{i}.jpg'), frame)
    args = [*BY_HAND, '--out', tmp_path / 'infer', '--device', 'cpu']
    run_main('infer.py', source, '--pose', *pose[:2], *args)
    people, _ = run(source, pose[2], *BY_HAND)
    expected = json.loads((tmp_path / 'infer/predictions.json').read_bytes())
    assert len(people) == len(expected) == 6
    assert np.abs(keypoints(people) - keypoints(expected)).max() < 0.5
    for found, other in zip(people, expected):
        del found['keypoints'], other['keypoints']
        assert found.pop('score') == pytest.approx(other.pop('score'))
        assert found == other
    names = [sorted(os.listdir(tmp_path / name)) for name in ('infer', 'out')]
    assert names[0] == names[1]
    if film:
        films = [
            cv2.VideoCapture(str(tmp_path / name / 'clip.mp4'))
            for name in ('infer', 'out')
        ]
        for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS):
            assert films[0].get(what) == films[1].get(what) > 0


def test_without_openmmlab(pose, picture, tmp_path):
    """A copy in another folder, where nothing else can be imported."""
    tool = tmp_path / 'device.py'
    tool.write_bytes(TOOL.read_bytes())
    hidden = 'mmpose_lossplus', 'mmengine', 'mmcv', 'mmdet', 'mmpose', 'torch'
    hidden += 'onnx', 'scipy', 'pandas', 'matplotlib', 'PIL', 'rich', 'yaml'
    code = 'import runpy, sys\n'
    code += f'sys.modules.update(dict.fromkeys({hidden}))\n'
    code += f'runpy.run_path({str(tool)!r}, run_name="__main__")'
    args = [picture, '--model', pose[2], *BY_HAND, '--out', tmp_path / 'out']
    call(sys.executable, '-c', code, *args, cwd=tmp_path)
    people = json.loads((tmp_path / 'out/predictions.json').read_bytes())
    assert np.abs(keypoints(people)[..., :2] - PEOPLE).max() < 5.8


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_rtmlib(run, picture, tmp_path, backend):
    """It takes RGB, and the plain file as it is, whose codec is UDP.

    Its crops are not UDP's, which makes half a pixel of a crop.
    """
    rtmlib = pytest.importorskip('rtmlib')
    pytest.importorskip(backend)
    model = write_spot_model(tmp_path, udp=True)
    people, _ = run(picture, export(model, '--decode'), *BY_HAND)
    file = str(export(model))
    meta = onnxruntime.InferenceSession(file).get_modelmeta()
    options = {
        name: json.loads(meta.custom_metadata_map[key])
        for name, key in (
            ('model_input_size', 'input_size'),
            ('mean', 'mean'),
            ('std', 'std'),
        )
    }
    pose = rtmlib.ViTPose(file, backend=backend, **options)
    image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    corners = [[x, y, x + w, y + h] for x, y, w, h in BOXES]
    points, scores = pose(image, bboxes=corners)
    found = keypoints(people)
    assert np.abs(points - found[..., :2]).max() < 1.5
    assert scores == pytest.approx(found[..., 2], abs=0.03)


@pytest.mark.parametrize('options', [['--normalize'], ['--flip-test']])
def test_other_exports(run, picture, tmp_path, options):
    """What is symmetric does not change by a flip test without a shift."""
    model = write_spot_model(tmp_path, udp=True)
    plain, _ = run(picture, export(model, '--decode'), *BY_HAND)
    other = export(model, '--decode', *options)
    people, _ = run(picture, other, *BY_HAND, '--overwrite')
    near = np.abs(keypoints(people) - keypoints(plain)).max()
    assert near < (0.01 if options == ['--normalize'] else 0.1)


def test_model_of_one_channel(run, picture, tmp_path):
    """Green is brightest, which is then all three keypoints."""
    config, weights = write_spot_model(tmp_path)
    text = config.read_text(encoding='utf-8')
    for before, after in (
        ('mean=[0, 0, 0], std=[255] * 3', 'bgr_to_rgb=False, **one'),
        ('model = dict(', 'one = dict(mean=[0], std=[255])\nmodel = dict('),
        ('in_channels=3', 'in_channels=1'),
        ("'LoadImage'", "'LoadImage', color_type='grayscale'"),
    ):
        assert before in text
        text = text.replace(before, after)
    config.write_text(text, encoding='utf-8')
    loaded = torch.load(weights)
    loaded['state_dict']['head.final_layer.weight'] = torch.ones(3, 1, 1, 1)
    torch.save(loaded, weights)
    model = export((config, weights), '--decode')
    people, _ = run(picture, model, *BY_HAND)
    found = keypoints(people)[..., :2]
    assert np.abs(found - np.array(PEOPLE)[:, 1:2]).max() < 5.8


def test_whole_pictures(run, pose, tmp_path):
    """What is no picture is named, the rest is done."""
    folder = tmp_path / 'in'
    write_noise(folder / '14.png', 64, 48)
    write_noise(folder / '7.jpg', 64, 48)
    (folder / '12.JPG').write_bytes(b'no picture')
    (folder / '13.png').touch()
    people, printed = run(folder, pose[2])
    assert [p['image_id'] for p in people] == [14, 7]
    assert [p['bbox'] for p in people] == [[0, 0, 64, 48]] * 2
    assert 'No box' in printed
    assert 'Skipped 2: 12.JPG (no pixels' in printed
    with pytest.raises(SystemExit, match='earlier run'):
        run(folder, pose[2])
    with pytest.raises(SystemExit, match='no results'):
        run(folder / '13.png', pose[2], '--overwrite')


@pytest.mark.parametrize('named', [False, True])
def test_boxes_of_a_file(run, pose, tmp_path, named):
    """The better of two that overlap, none of a low score.

    detect_persons.py counts pictures from 1, and lists their names.
    """
    stems = 'abc' if named else ['0', '02', '3']
    for stem in stems:
        write_noise(tmp_path / 'in' / f'{stem}.png', 240, 200)
    one, two = BOXES
    near = [one[0] + 1, *one[1:]]
    numbers = [2, 2, 2, 3]
    boxes = [
        dict(image_id=number, bbox=box, score=score)
        for number, box, score in zip(
            numbers, [one, near, two, one], [0.5, 0.9, 0.4, 0.3]
        )
    ]
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    if named:
        listed = [
            dict(id=i, file_name=f'{stem}.png')
            for i, stem in enumerate(stems, start=1)
        ]
        path = tmp_path / 'boxes.images.json'
        path.write_text(json.dumps(dict(images=listed)))
    args = ['--boxes', tmp_path / 'boxes.json']
    people, printed = run(tmp_path / 'in', pose[2], *args)
    assert [p['file_name'] for p in people] == [f'{stems[1]}.png'] * 2
    assert sorted(p['bbox'] for p in people) == [near, two]
    assert 'Pictures: 3 of 3, people: 2' in printed
    if named:  # Without the names, they could be of any.
        path.unlink()
        people, printed = run(tmp_path / 'in', pose[2], *args, '--overwrite')
        assert people == []
        assert 'No box of' in printed
    args += ['--overwrite', '--bbox-thr', '0.95']
    people, printed = run(tmp_path / 'in', pose[2], *args)
    assert people == []
    assert 'No box of' in printed


def test_boxes_of_frames(run, pose, tmp_path):
    """Those that infer.py wrote of a video, in which somebody comes late."""
    frames = [draw_spots(240, 200, *PEOPLE)] * 3
    film = write_film(tmp_path / 'clip.avi', frames)
    names = dict(file_name='clip.avi', time=0.1)
    boxes = [dict(names, image_id=i, bbox=b) for i in (1, 2) for b in BOXES]
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes[1:]))
    people, _ = run(film, pose[2], '--boxes', tmp_path / 'boxes.json')
    assert [p['image_id'] for p in people] == [1, 2, 2]
    assert people[0]['bbox'] == BOXES[1]
    assert people[0]['score'] == pytest.approx(
        np.mean(people[0]['keypoints'][2::3]), abs=1e-4
    )


@pytest.fixture(scope='module')
def det(tmp_path_factory):
    """Config, checkpoint and exported file of a detector."""
    folder = tmp_path_factory.mktemp('det')
    weights = folder / 'det.pth'
    cfg = Config.fromfile(DETECTOR)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        state = different_norms(DETECTORS.build(cfg.model)).state_dict()
    # So that some boxes are sure, and some are not.
    for name in state:
        if 'rtm_cls' in name and name.endswith('weight'):
            state[name] *= 10
    meta = dict(dataset_meta=dict(classes=('person',)))
    torch.save(dict(state_dict=state, meta=meta), weights)
    path = folder / 'detector.onnx'
    run_main('deployment/export_onnx.py', DETECTOR, weights, '--out', path)
    return DETECTOR, weights, path


@pytest.mark.parametrize('size', [(400, 130), (97, 301)])
def test_a_detector_finds_what_it_finds_in_infer(det, size):
    """By MMDet's inferencer and MMPose's NMS, in the same order."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    cfg = Config.fromfile(det[0])
    cfg.model.test_cfg.max_per_img = 9999
    host = load_tool('infer.py').PersonDetector(cfg, str(det[1]), 'cpu')
    expected = host.find(image, 0.5, 0.3)
    device = load_tool(TOOL).PersonDetector(det[2], 1, 0.5, 0.3)
    found = device.find({}, image)
    init_default_scope('mmpose')
    assert len(expected) > 20
    assert len(found) == len(expected)
    assert all(np.abs(found - box).max(1).min() < 0.01 for box in expected)


def test_detected_people(run, pose, det, picture):
    """Their poses; and each file in its place."""
    args = ['--det', det[2], '--bbox-thr', '0.4']
    people, printed = run(picture, pose[2], *args)
    assert len(people) > 1
    assert 'No box' not in printed
    for model, args, message in (
        (det[2], [], 'it is a detector'),
        (pose[2], ['--det', pose[2]], 'detector .* it is no detector'),
        (pose[2], ['--det', 'none.onnx'], 'detector none.onnx'),
    ):
        with pytest.raises(SystemExit, match=message):
            run(picture, model, *args, '--overwrite')


@pytest.mark.parametrize(
    ('fault', 'said'),
    [
        (signal.SIGINT, 'Stopped'),
        (signal.SIGTERM, 'Stopped'),
        (OSError(28, 'No space left'), 'No space left'),
    ],
)
def test_what_is_done_is_kept(run, pose, tmp_path, monkeypatch, fault, said):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for i in range(5):
        write_noise(tmp_path / 'in' / f'{i}.png', 64, 48)
    fail_at_fourth(monkeypatch, Path, 'write_bytes', fault)
    with pytest.raises(SystemExit, match=said):
        run(tmp_path / 'in', pose[2])
    people = json.loads((tmp_path / 'out/predictions.json').read_bytes())
    assert [p['image_id'] for p in people] == [0, 1, 2]


def other_models(folder, model):
    """Files that cannot be used, and words of what is said of them."""
    text, plain, high = map(folder.joinpath, ('t.onnx', 'p.onnx', 'h.onnx'))
    text.write_text('no model')
    value = onnx.helper.make_tensor_value_info('image', 1, [1])
    node = onnx.helper.make_node('Identity', ['image'], ['image2'])
    out = onnx.helper.make_tensor_value_info('image2', 1, [1])
    graph = onnx.helper.make_graph([node], 'graph', [value], [out])
    opset = onnx.helper.make_opsetid('', 14)
    options = dict(opset_imports=[opset], ir_version=8)
    other = onnx.helper.make_model(graph, **options)
    plain.write_bytes(other.SerializeToString())
    other.opset_import[0].version = 99
    high.write_bytes(other.SerializeToString())
    newer = folder / 'n.onnx'
    other.opset_import[0].version, other.ir_version = 14, 99
    newer.write_bytes(other.SerializeToString())
    return [
        (folder / 'none.onnx', 'none.onnx'),
        (text, 'cannot load it'),
        (plain, 'its metadata'),
        (high, 'too old'),
        (newer, 'too old'),
        (export(model), 'heatmaps: .*--decode'),
    ]


def test_bad_models(run, picture, tmp_path):
    for model, message in other_models(tmp_path, write_spot_model(tmp_path)):
        with pytest.raises(SystemExit, match=message) as stop:
            run(picture, model)
        assert '\n' not in str(stop.value)


def test_bad_input(run, pose, picture, tmp_path):
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('{"image_id": 3}')
    empty = tmp_path / 'empty.json'
    empty.write_text('[{"image_id": 3, "bbox": [1, 2, 0, 4]}]')
    none, text = tmp_path / 'none', tmp_path / 'notes.txt'
    text.write_text('no video')
    for source, args, message in (
        (none, [], 'does not exist'),
        (text, [], 'no video'),
        (picture, ['--boxes', boxes], 'boxes.json cannot be used'),
        (picture, ['--boxes', empty], 'no width or height'),
        (picture, ['--boxes', none], 'none cannot be used'),
        (picture, ['--bbox', '1', '1', '0', '5'], '2'),
        (picture, ['--out', picture.parent], 'name another'),
    ):
        with pytest.raises(SystemExit, match=message):
            run(source, pose[2], *args)
    assert not (tmp_path / 'out').exists()
