"""Person boxes: kept low, in MMPose's format, and the same after a crash."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import cv2
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS

from ..factories import ROOT, load_tool, write_noise

SCRIPT = ROOT / 'tools/dataset_converters/detect_persons.py'
DETECTORS = ROOT / 'configs/detectors'
CONFIGS = sorted(DETECTORS.glob('*.py'))
(TINY,) = DETECTORS.glob('rtmdet-*demo*.py')
# Two processes as torchrun would start them, but on the CPU.
RANK = """
import sys
import torch.distributed as dist
sys.path.insert(0, sys.argv.pop(1))
import detect_persons
dist.init_process_group('gloo')
detect_persons.main()
dist.destroy_process_group()
"""


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/detect_persons.py')


@pytest.fixture(autouse=True)
def scope():
    """The tool makes MMDet's scope the default one, for good."""
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


def save_weights(config, path, **meta):
    """Random weights of a detector."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config.fromfile(config).model)
    weights = model.state_dict()
    for name in weights:
        # Else RTMDet's boxes would be empty, or of the other classes.
        if re.search(r'rtm_(reg|cls).*bias', name):
            weights[name][slice(None) if 'reg' in name else 0] = 1
    torch.save(dict(state_dict=weights, meta=meta), path)
    return path


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return save_weights(TINY, tmp_path_factory.mktemp('weights') / 'tiny.pth')


@pytest.fixture
def detect(tool, weights, tmp_path, monkeypatch, capsys):
    """Run the tool in this process."""

    def run(*args, config=TINY, checkpoint=weights, out='boxes.json'):
        out = tmp_path / 'out' / out
        words = [config, checkpoint, '--device', 'cpu', '--out', out]
        words += ['--num-workers', 0, *args]
        monkeypatch.setattr('sys.argv', ['tool', *map(str, words)])
        tool.main()
        said = capsys.readouterr().out.split('ETA:     0s\n')[-1]
        return out, said

    return run


@pytest.fixture
def pictures(tmp_path):
    for i in range(6):
        write_noise(tmp_path / 'pictures' / f'{i + 11:04d}.png', 64, 48, i)
    return tmp_path / 'pictures'


def test_thresholds_reach_every_kind_of_detector(tool):
    for config, key in (
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'rcnn'),
        ('faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco', 'rcnn'),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', 'rcnn'),
        ('rtmdet/rtmdet_s_8xb32-300e_coco', None),
        ('retinanet/retinanet_r50_fpn_1x_coco', None),
        ('yolox/yolox_s_8xb8-300e_coco', None),
    ):
        path = Path(os.path.dirname(sys.modules['mmdet'].__file__))
        path = path / f'.mim/configs/{config}.py'
        cfg = tool.read_config(str(path), 0.002, 0.7)
        head = cfg.model.test_cfg
        head = head[key] if key else head
        assert head.score_thr == 0.002
        assert head.nms.iou_threshold == 0.7
        assert head.get('max_per_img', 1e5) >= 1e5
        assert head.nms.get('min_score', 0.002) == 0.002


def test_a_detector_without_nms_keeps_its_limit(tool):
    test_cfg = ConfigDict(max_per_img=100)  # as DETR's
    tool.set_thresholds(test_cfg, 0.002, None)
    assert test_cfg == dict(max_per_img=100)
    with pytest.raises(ValueError, match='--nms-thr is 0.5.*no NMS'):
        tool.set_thresholds(test_cfg, 0.002, 0.5)


def test_boxes_of_people_only(tool):
    """By hand: corners to x, y, w, h; highest score first; no empty
    box, and nothing outside the picture, which is 60 wide and 75 high.
    """
    sample = DetDataSample(
        metainfo=dict(ori_shape=(75, 60)),
        pred_instances=InstanceData(
            bboxes=torch.tensor(
                [
                    [10.0, 20.0, 40.126, 80.0],
                    [0.0, 0.0, 5.0, 5.0],
                    [1.0, 2.0, 4.0, 6.0],
                    [3.0, 3.0, 3.001, 9.0],
                    [-7.0, 7.0, 63.0, 78.0],
                    [2.0, 2.0, 8.0, 9.0],
                ]
            ),
            labels=torch.tensor([2, 0, 2, 2, 2, 2]),
            scores=torch.tensor([0.25, 0.99, 0.75, 0.5, 0.125, 0.0005]),
        ),
    )
    expected = [
        [1.0, 2.0, 3.0, 4.0, 0.75],
        [10.0, 20.0, 30.13, 55.0, 0.25],
        [0.0, 7.0, 60.0, 68.0, 0.125],
    ]
    assert tool.person_boxes(sample, 2, 0.001, 100) == expected
    # The third of them is the empty one.
    assert tool.person_boxes(sample, 2, 0.001, 3) == expected[:2]
    assert tool.person_boxes(sample, 1, 0.001, 100) == []


@pytest.mark.parametrize(
    ('names', 'ids'),
    [
        (['000000000785.jpg', '12.PNG', 'notes.txt'], [785, 12]),
        (['015601864.jpg'], [15601864]),
        (['b.jpg', 'a.jpg', '7.jpg'], [1, 2, 3]),
        (['01.jpg', '1.png'], [1, 2]),
    ],
)
def test_ids_in_a_folder(tool, tmp_path, names, ids):
    for name in names:
        (tmp_path / name).touch()
    listed = tool.list_folder(tmp_path)
    assert [image['id'] for image in listed] == ids
    listed = [image['file_name'] for image in listed]
    assert listed == sorted(name for name in names if name != 'notes.txt')


def test_what_was_being_written_is_lost_and_no_more(tool, tmp_path):
    """Cut off at any byte."""
    path = tmp_path / 'boxes.json.partial.0'
    lines = [b'"stamp"\n', b'[0, [null]]\n', b'[2, [{"boxes": []}]]\n']
    whole = b''.join(lines)
    ends = [len(b''.join(lines[:n])) for n in range(4)]
    content = [[], [], [(0, [None])], [(0, [None]), (2, [{'boxes': []}])]]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        batches, size = tool.read_partial(path, 'stamp')
        count = sum(end <= length for end in ends) - 1
        assert size == ends[count]
        assert list(batches.items()) == content[count]
    # Blocks that never reached the disk.
    path.write_bytes(whole[: ends[2]] + bytes(9) + b'\n' + lines[2])
    assert tool.read_partial(path, 'stamp')[1] == ends[2]
    with pytest.raises(ValueError, match='partial.0 is of a run with another'):
        tool.read_partial(path, 'other')


def annotations(category=1, **more):
    """Two people side by side, and a crowd below them, in image 3."""
    boxes = [[0, 0, 20, 40], [40, 0, 20, 40], [0, 50, 80, 40]]
    return dict(
        images=[dict(id=3, file_name='x.jpg', width=100, height=100)],
        categories=[dict(id=category, name='person')],
        annotations=[
            dict(
                id=i + 1,
                image_id=3,
                category_id=category,
                bbox=box,
                area=box[2] * box[3],
                iscrowd=int(i == 2),
                **more,
            )
            for i, box in enumerate(boxes)
        ],
    )


def found(*boxes):
    return [
        dict(image_id=3, category_id=1, bbox=list(box), score=score)
        for score, box in boxes
    ]


LEFT, RIGHT = (0, 0, 20, 40), (40, 0, 20, 40)


@pytest.mark.parametrize('category', [1, 7])
@pytest.mark.parametrize(
    ('boxes', 'ap'),
    [
        (found((0.9, LEFT), (0.1, RIGHT)), '1.000'),
        # Precision 1 at the 51 recalls up to 0.5, of 101.
        (found((0.9, LEFT)), '0.505'),
        # In the crowd: neither right nor wrong.
        (found((0.95, (0, 50, 30, 30)), (0.9, LEFT), (0.1, RIGHT)), '1.000'),
        # A false one after all others costs nothing; before them, half
        # the precision at the first and two thirds at the second person.
        (found((0.9, LEFT), (0.5, RIGHT), (0.1, (70, 0, 9, 9))), '1.000'),
        (found((0.9, (70, 0, 9, 9)), (0.5, LEFT), (0.1, RIGHT)), '0.667'),
        ([], '0.000'),
    ],
)
def test_person_ap(tool, category, boxes, ap):
    said = tool.evaluate(annotations(category), boxes)
    assert said.startswith(f'person AP {ap}')


def test_no_person_ap_without_annotations(tool):
    testdev = {**annotations(), 'annotations': []}
    cats = {**annotations(), 'categories': [dict(id=1, name='cat')]}
    without_area = annotations()
    del without_area['annotations'][1]['area']
    del testdev['annotations']
    for coco in ({}, testdev, cats, without_area):
        said = tool.evaluate(coco, found((0.9, LEFT)))
        assert said.startswith('no person AP: there are no annotations')


def test_a_thin_file_is_warned_of(tool):
    enough = found(*[(0.9, LEFT), (0.001, RIGHT)] * 11)
    assert tool.thinness(enough, 1) is None
    assert '1.1 boxes per image' in tool.thinness(enough, 20)
    high = tool.thinness(found(*[(0.3, LEFT)] * 22), 1)
    assert 'no score below 0.300' in high
    assert 'per image' not in high
    assert '0.0 boxes per image' in tool.thinness([], 5)


def load_in_mmpose(boxes, ann, folder):
    with DefaultScope.overwrite_default_scope('mmpose'):
        return DATASETS.build(
            dict(
                type='CocoDataset',
                ann_file=str(ann),
                bbox_file=str(boxes),
                data_prefix=dict(img=str(folder)),
                test_mode=True,
                pipeline=[dict(type='LoadImage')],
            )
        )


def test_a_folder(detect, pictures):
    """Boxes and image list are what MMPose takes."""
    (pictures / '0013.png').write_text('no picture')
    out, said = detect('--img-root', pictures)
    ids = [11, 12, 14, 15, 16]
    images = json.loads(out.with_suffix('.images.json').read_text())['images']
    assert [image['id'] for image in images] == ids
    assert {(i['width'], i['height']) for i in images} == {(64, 48)}
    boxes = json.loads(out.read_text())
    assert list(dict.fromkeys(box['image_id'] for box in boxes)) == ids
    dataset = load_in_mmpose(out, out.with_suffix('.images.json'), pictures)
    assert len(dataset) == len(boxes)
    x, y, w, h = boxes[-1]['bbox']
    entry = dataset[len(boxes) - 1]
    assert entry['img'].shape == (48, 64, 3)
    assert entry['bbox'][0] == pytest.approx([x, y, x + w, y + h], abs=1e-4)
    assert entry['bbox_score'] == pytest.approx(boxes[-1]['score'])

    assert f'{len(boxes)} boxes in 5 images' in said
    assert '1 of 6 images could not be read' in said
    assert 'no boxes: 0013.png' in said
    assert 'no person AP' in said
    (pictures / '0013.png').unlink()
    without, said = detect('--img-root', pictures, out='without.json')
    assert 'could not be read' not in said
    listed = without.with_suffix('.images.json').read_text()
    assert listed == out.with_suffix('.images.json').read_text()


def test_annotated_images(detect, coco_data):
    ann = coco_data / 'annotations/person_keypoints_val2017.json'
    root = coco_data / 'val2017'
    out, said = detect('--ann', ann, '--img-root', root, '--score-thr', 0)
    boxes = json.loads(out.read_text())
    assert {box['image_id'] for box in boxes} == {1, 2, 3, 4}
    assert 'person AP 0.' in said
    assert not out.with_suffix('.images.json').exists()
    assert len(load_in_mmpose(out, ann, root)) == len(boxes)

    # Half of the scores, and fewer people per image.
    middle = sorted(box['score'] for box in boxes)[len(boxes) // 2]
    args = ('--ann', ann, '--img-root', root)
    out, said = detect(*args, '--score-thr', middle, out='high.json')
    high = json.loads(out.read_text())
    assert 0 < len(high) < len(boxes)
    assert min(box['score'] for box in high) >= round(middle, 6)
    out, said = detect(*args, '--max-per-img', 3, out='three.json')
    three = json.loads(out.read_text())
    assert len(three) == 12
    best = [box['score'] for box in boxes if box['image_id'] == 1][:3]
    assert [b['score'] for b in three if b['image_id'] == 1] == best
    assert 'Warning: the file looks thin (3.0 boxes per image' in said


def test_nms_threshold_reaches_the_model(detect, pictures):
    def count(thr):
        out, _ = detect('--img-root', pictures, '--nms-thr', thr)
        return len(json.loads(out.read_text()))

    assert count(0.05) < count(0.9)


def test_image_list_of_test_dev(detect, coco_data):
    ann = coco_data / 'annotations/image_info_test-dev2017.json'
    _, said = detect('--ann', ann, '--img-root', coco_data / 'test2017')
    assert 'in 4 images' in said
    assert 'no person AP' in said


def cut_off(tool, monkeypatch, batches):
    """Stop the tool when it has written so many batches."""
    calls = []

    class Bar(tool.ProgressBar):
        def update(self, num_tasks):
            super().update(num_tasks)
            calls.append(num_tasks)
            if len(calls) == batches:
                raise KeyboardInterrupt

    monkeypatch.setattr(tool, 'ProgressBar', Bar)


@pytest.mark.parametrize(
    ('batches', 'lost'), [(1, 5), (2, 5), (3, 5), (2, 0), (3, 0)]
)
def test_goes_on_after_being_cut_off(
    tool, detect, pictures, monkeypatch, batches, lost
):
    """With the last line whole or lacking its end."""
    (pictures / '0012.png').write_text('no picture')
    args = ('--img-root', pictures, '--batch-size', 2)
    whole, _ = detect(*args, out='whole.json')
    with monkeypatch.context() as patch:
        cut_off(tool, patch, batches)
        with pytest.raises(SystemExit) as error:
            detect(*args)
    assert str(error.value) == 'Cut off; the same command goes on from here.'
    out = whole.with_name('boxes.json')
    partial = out.with_name('boxes.json.partial.0')
    assert not out.exists()
    assert partial.exists()
    content = partial.read_bytes()
    partial.write_bytes(content[: len(content) - lost])
    seen = []
    getitem = tool.Images.__getitem__
    monkeypatch.setattr(
        tool.Images,
        '__getitem__',
        lambda self, i: seen.append(i) or getitem(self, i),
    )
    again, said = detect(*args)
    assert seen == list(range(2 * (batches - bool(lost)), 6))
    assert again == out
    assert out.read_bytes() == whole.read_bytes()
    listed = out.with_suffix('.images.json').read_bytes()
    assert listed == whole.with_suffix('.images.json').read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == [
        'boxes.images.json',
        'boxes.json',
        'whole.images.json',
        'whole.json',
    ]


@pytest.mark.parametrize(
    'change', [['--score-thr', 0.01], ['--max-per-img', 9], ['--nms-thr', 0.6]]
)
def test_does_not_mix_runs(tool, detect, pictures, monkeypatch, change):
    args = ('--img-root', pictures)
    with monkeypatch.context() as patch:
        cut_off(tool, patch, 1)
        with pytest.raises(SystemExit, match='Cut off'):
            detect(*args)
    with pytest.raises(SystemExit, match='is of a run with another config'):
        detect(*args, *change)
    write_noise(pictures / '0099.png', 64, 48)
    with pytest.raises(SystemExit, match='is of a run with another config'):
        detect(*args)


def command(weights, *args):
    words = [sys.executable, SCRIPT, TINY, weights, '--device', 'cpu', *args]
    return [str(word) for word in words]


@pytest.mark.slow
def test_killed_and_started_again(weights, pictures, tmp_path):
    args = ('--img-root', pictures, '--batch-size', 1, '--out')
    for i in range(100):
        write_noise(pictures / f'{i + 100}.png', 64, 48, i)
    whole, out = tmp_path / 'whole.json', tmp_path / 'boxes.json'
    subprocess.check_call(command(weights, *args, whole))
    process = subprocess.Popen(command(weights, *args, out))
    partial = tmp_path / 'boxes.json.partial.0'
    while not partial.exists() or partial.read_bytes().count(b'\n') < 20:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    said = subprocess.check_output(command(weights, *args, out), text=True)
    assert re.search(r'\d\d of 106 batches were done before', said)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_two_processes_share_the_images(weights, pictures, tmp_path):
    """And give the file that one gives, even after one of two was lost."""
    (pictures / '0013.png').write_text('no picture')
    args = ('--img-root', pictures, '--batch-size', 1, '--out')
    whole, out = tmp_path / 'whole.json', tmp_path / 'boxes.json'
    subprocess.check_call(command(weights, *args, whole))
    driver = tmp_path / 'driver.py'
    driver.write_text(RANK)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        *(sys.executable, str(driver), str(SCRIPT.parent)),
                        *command(weights, *args, out)[2:],
                    ],
                    env={
                        **os.environ,
                        'RANK': str(rank),
                        'WORLD_SIZE': '2',
                        'MASTER_ADDR': '127.0.0.1',
                        'MASTER_PORT': '29517',
                    },
                )
            )
            for rank in range(2)
        ]
        assert [process.wait() for process in processes] == [0, 0]
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob('*.partial*'))


def no_detector(tmp_path):
    path = tmp_path / 'pose.py'
    path.write_text(
        "_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/"
        "td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'\n"
    )
    return path


def edited(tmp_path, text):
    path = tmp_path / 'edited.py'
    path.write_text(f'_base_ = {str(TINY)!r}\n{text}\n')
    return path


@pytest.mark.parametrize(
    ('case', 'sentence'),
    [
        (lambda p: dict(config='none.py'), 'The config none.py does not'),
        (lambda p: dict(config=edited(p, 'x = (')), 'is not the config of a'),
        (lambda p: dict(config=edited(p, 'del model')), 'is not the config'),
        (
            lambda p: dict(
                config=edited(p, "model = dict(backbone=dict(type='Nix'))")
            ),
            r'edited\.py cannot be built: .*Nix',
        ),
        (
            lambda p: dict(config=no_detector(p)),
            "is not a detector of MMDet's, its model is TopdownPoseEst",
        ),
        (
            lambda p: dict(
                config=edited(p, 'model = dict(bbox_head=dict(num_classes=2))')
            ),
            r'does not fit .*edited\.py: size mismatch for bbox_head',
        ),
        (
            lambda p: dict(
                config=edited(
                    p,
                    'model = dict(backbone=dict(_delete_=True,'
                    "type='ResNet', depth=18, out_indices=(1, 2, 3)),"
                    'neck=dict(in_channels=[128, 256, 512]))',
                )
            ),
            r'does not fit .*edited\.py: size mismatch for neck',
        ),
        (lambda p: dict(checkpoint='no.pth'), 'checkpoint no.pth does not'),
        (
            lambda p: dict(checkpoint=TINY),
            r'demo-person\.py is not a checkpoint',
        ),
        (lambda p: dict(out='boxes.pkl'), 'must be a file FILE.json'),
    ],
)
def test_bad_detector_is_one_sentence(
    detect, pictures, tmp_path, case, sentence
):
    with pytest.raises(SystemExit, match=sentence) as error:
        detect('--img-root', pictures, **case(tmp_path))
    assert str(error.value).count('\n') == 0
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('args', 'sentence'),
    [
        (['--score-thr', 1.5], r'--score-thr is 1.5, must be in \[0, 1\]'),
        (['--nms-thr', -1], '--nms-thr is -1.0'),
        (['--batch-size', 0], '--batch-size is 0'),
        (['--max-per-img', 0], '--max-per-img is 0'),
        (['--device', 'tpu'], '--device tpu cannot be used'),
        (['--img-root', 'nowhere'], '--img-root nowhere is not a folder'),
        (['--ann', 'none.json'], 'none.json cannot be read: No such file'),
    ],
)
def test_bad_option_is_one_sentence(
    detect, pictures, tmp_path, args, sentence
):
    with pytest.raises(SystemExit, match=sentence) as error:
        detect('--img-root', pictures, *args)
    assert str(error.value).count('\n') == 0
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ('no json', 'is not a COCO-style annotation file'),
        ('[]', 'is not a COCO-style annotation file'),
        ('{"images": [{"id": 1}]}', "KeyError.'file_name'"),
        ('{"images": []}', 'lists 0 images'),
        (
            '{"images": [{"id": 1, "file_name": "0011.png"},'
            '{"id": 1, "file_name": "0012.png"}]}',
            'lists 2 images, must be at least 1 and each once',
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.png"}]}',
            'None of the 1 images .* such as a.png, is in .*pictures',
        ),
    ],
)
def test_bad_annotations_are_one_sentence(
    detect, pictures, tmp_path, content, sentence
):
    ann = tmp_path / 'ann.json'
    ann.write_text(content)
    with pytest.raises(SystemExit, match=sentence):
        detect('--img-root', pictures, '--ann', ann)
    with pytest.raises(SystemExit, match='--out and --ann are both'):
        detect('--img-root', pictures, '--ann', ann, '--out', ann)
    assert ann.read_text() == content
    assert not (tmp_path / 'out').exists()


def test_a_folder_without_pictures(detect, tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(SystemExit, match='has no pictures') as error:
        detect('--img-root', tmp_path)
    assert not (tmp_path / 'out').exists()
    assert '.jpg' in str(error.value)


def test_no_picture_can_be_read(detect, pictures, tmp_path):
    for path in pictures.iterdir():
        path.write_bytes(b'')
    with pytest.raises(SystemExit, match='None of the 6 pictures can be read'):
        detect('--img-root', pictures)
    assert not list((tmp_path / 'out').iterdir())


def test_output_cannot_be_written(detect, pictures, tmp_path):
    (tmp_path / 'out').write_text('a file where the folder should be')
    with pytest.raises(SystemExit, match='boxes.json cannot be written'):
        detect('--img-root', pictures)


def test_no_person_among_the_classes(detect, pictures, tmp_path):
    """The checkpoint's classes count, and if it has none the config's."""
    cats = dict(dataset_meta=dict(classes=('cat', 'dog')))
    weights = save_weights(TINY, tmp_path / 'cats.pth', **cats)
    with pytest.raises(SystemExit, match='no class person among its 2: cat'):
        detect('--img-root', pictures, checkpoint=weights)
    config = edited(
        tmp_path,
        "owl = dict(metainfo=dict(classes=('owl',)))\n"
        'test_dataloader = dict(dataset=owl)',
    )
    with pytest.raises(SystemExit, match='no class person among its 1: owl'):
        detect('--img-root', pictures, config=config)
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_no_traceback(run_tool, weights, tmp_path):
    """As a user sees it, several GPUs where there is none included."""
    args = (TINY, weights, '--img-root', tmp_path, '--out', 'b.json')
    tool = 'dataset_converters/detect_persons.py'
    result = run_tool(tool, *args, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert 'has no pictures' in result.stdout.splitlines()[-1]
    assert 'Traceback' not in result.stdout
    if not torch.cuda.is_available():
        result = run_tool(
            tool, *args, '--launcher', 'pytorch', cwd=tmp_path, check=False
        )
        assert result.stdout.strip() == (
            '--launcher pytorch needs GPUs, found none.'
        )


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_real_pictures(detect, shared_data, tmp_path, config):
    """Every config, with random weights."""
    sample = shared_data / 'coco_sample'
    weights = save_weights(config, tmp_path / 'random.pth')
    ann = sample / 'test_coco.json'
    out, said = detect(
        *('--ann', ann, '--img-root', sample, '--batch-size', 2),
        config=config,
        checkpoint=weights,
    )
    boxes = json.loads(out.read_text())
    shapes = {
        image['id']: cv2.imread(str(sample / image['file_name'])).shape
        for image in json.loads(ann.read_text())['images']
    }
    assert boxes
    for box in boxes:
        x, y, w, h = box['bbox']
        height, width = shapes[box['image_id']][:2]
        assert -0.01 <= x < x + w <= width + 0.01
        assert -0.01 <= y < y + h <= height + 0.01
        assert 0.001 <= box['score'] <= 1
    assert len(load_in_mmpose(out, ann, sample)) == len(boxes)
    assert 'person AP 0.' in said
