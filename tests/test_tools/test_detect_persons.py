"""Person boxes: kept low, in MMPose's format, faults said beforehand."""

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.models import BaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS

from ..factories import ROOT, load_tool, write_noise

TOOL = 'dataset_converters/detect_persons.py'
CONFIGS = sorted((ROOT / 'configs/detectors').glob('*.py'))
(TINY,) = (path for path in CONFIGS if 'demo' in path.stem)
HOST = Path(mmdet.__file__).parent / '.mim/configs'
# Two processes as torchrun would start them, but on the CPU.
RANK = """
import sys
import torch.distributed as dist
from tests.factories import load_tool
dist.init_process_group('gloo')
load_tool('dataset_converters/detect_persons.py').main()
dist.destroy_process_group()
"""
# Types are classes.
KNOWN = """
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import PackDetInputs
from mmdet.models import DetDataPreprocessor
preprocessor = dict(type=DetDataPreprocessor)
model = dict(type='KnownBoxes', data_preprocessor=preprocessor)
pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=PackDetInputs, meta_keys=('img_id', 'ori_shape'))]
metainfo = dict(classes=('cat', 'person'))
test_dataloader = dict(dataset=dict(
    type=CocoDataset, ann_file='', pipeline=pipeline, metainfo=metainfo))
"""
CAT, PERSON = 0, 1
LEFT, RIGHT = (0, 0, 20, 40), (40, 0, 20, 40)  # x, y, w, h


@MODELS.register_module()
class KnownBoxes(BaseDetector):
    """Finds what the test says: box, score and label by image id."""

    found = {}

    def predict(self, inputs, samples, rescale=True):
        for sample in samples:
            boxes, scores, labels = zip(*self.found[sample.img_id])
            x, y, w, h = torch.tensor(boxes, dtype=torch.float).T
            sample.pred_instances = InstanceData(
                bboxes=torch.stack((x, y, x + w, y + h), dim=1),
                scores=torch.tensor(scores),
                labels=torch.tensor(labels),
            )
        return samples

    loss = extract_feat = _forward = None


@register_backend('elsewhere', prefixes='elsewhere')
class Elsewhere(LocalBackend):
    """elsewhere://PATH, as a stand-in for an object store."""

    def get(self, path):
        return super().get(path.replace('elsewhere://', ''))

    def get_text(self, path, *args):
        return super().get_text(path.replace('elsewhere://', ''), *args)


@pytest.fixture(scope='module')
def tool():
    return load_tool(TOOL)


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

    def call(*args, config=TINY, checkpoint=weights, out='boxes.json'):
        out = tmp_path / 'out' / out
        words = [config, checkpoint, '--out', out, '--num-workers', 0, *args]
        monkeypatch.setattr('sys.argv', ['tool', *map(str, words)])
        tool.main()
        return out, capsys.readouterr().out

    return call


@pytest.fixture
def pictures(tmp_path):
    for i in range(6):
        write_noise(tmp_path / 'pictures' / f'{i + 11:04d}.png', 80, 96, i)
    return tmp_path / 'pictures'


@pytest.fixture
def find(detect, pictures, tmp_path, monkeypatch):
    """Run the tool with boxes that are found in the first picture."""
    config, weights = tmp_path / 'known.py', tmp_path / 'known.pth'
    config.write_text(KNOWN)
    torch.save(dict(state_dict={}), weights)

    def call(found, coco=None, *args, **kwargs):
        monkeypatch.setattr(KnownBoxes, 'found', {11: found})
        (pictures / 'ann.json').write_text(
            json.dumps(annotations() if coco is None else coco),
        )
        args = ('--img-root', pictures, '--ann', pictures / 'ann.json', *args)
        options = dict(config=config, checkpoint=weights, **kwargs)
        out, said = detect(*args, **options)
        return json.loads(out.read_text()), said

    return call


def annotations(*boxes, category=1, crowd=None, **changes):
    """Two people side by side in a picture, or other boxes."""
    boxes = boxes or (LEFT, RIGHT)
    return dict(
        images=[dict(id=11, file_name='0011.png')],
        categories=[
            dict(id=category, name='person'),
            dict(id=category + 1, name='cat'),
        ],
        annotations=[
            dict(
                id=i + 1,
                image_id=11,
                category_id=category,
                bbox=box,
                iscrowd=int(i == crowd),
                **changes,
            )
            for i, box in enumerate(boxes)
        ],
    )


@pytest.mark.parametrize(
    ('boxes', 'ap'),
    [
        ([(0.9, LEFT), (0.1, RIGHT)], '1.000'),
        # Precision 1 at the 51 recalls up to 0.5, of 101.
        ([(0.9, LEFT)], '0.505'),
        # In the crowd: neither right nor wrong.
        ([(0.95, (0, 50, 30, 30)), (0.9, LEFT), (0.1, RIGHT)], '1.000'),
        # A false one after all others costs nothing; before them, half
        # the precision at the first and two thirds at the second person.
        ([(0.9, LEFT), (0.5, RIGHT), (0.1, (70, 0, 9, 9))], '1.000'),
        ([(0.9, (70, 0, 9, 9)), (0.5, LEFT), (0.1, RIGHT)], '0.667'),
        ([(0.0001, LEFT)], '0.000'),  # below the threshold
    ],
)
def test_person_ap(find, boxes, ap):
    labels = (LEFT, RIGHT, (0, 50, 80, 40))
    coco = annotations(*labels, crowd=2, category=7)
    found, said = find([(box, score, PERSON) for score, box in boxes], coco)
    assert f'person AP {ap}' in said
    assert {box['category_id'] for box in found} <= {1}


@pytest.mark.parametrize('people', [1, 4])
@pytest.mark.parametrize(
    'numbers',
    [range(10), range(1, 11), [0] * 10, [5] * 10, 'abcdefghij', [None] * 10],
    ids=['from 0', 'from 1', 'all 0', 'all 5', 'text', 'none'],
)
def test_perfect_boxes_have_ap_1_whatever_their_ids(find, people, numbers):
    """By pycocotools alone, it is 0.000, 0.252, 0.564, 0.811 from 0 on."""
    boxes = [(8 * i, 0, 7, 20 + i) for i in range(people)]
    coco = annotations(*boxes, area=0)
    for ann, number in zip(coco['annotations'], numbers):
        ann['id'] = number
    _, said = find([(box, 0.9, PERSON) for box in boxes], coco)
    assert 'person AP 1.000, AP50 1.000, AR 1.000' in said


def test_boxes_of_people_only(find):
    """By hand: highest score first; no empty box, and nothing outside the
    picture, which is 80 wide and 96 high.
    """
    found = [
        ((10, 20, 30.125, 80), 0.25, PERSON),
        ((0, 0, 5, 5), 0.96875, CAT),
        ((1, 2, 3, 4), 0.75, PERSON),
        ((3, 3, 0, 6), 0.5, PERSON),
        ((-7, 7, 93, 99), 0.125, PERSON),
        ((2, 2, 6, 7), 0.0005, PERSON),
    ]
    expected = [
        dict(image_id=11, category_id=1, bbox=list(box), score=score)
        for box, score in (
            ((1, 2, 3, 4), 0.75),
            ((10, 20, 30.125, 76), 0.25),
            ((0, 7, 80, 89), 0.125),
        )
    ]
    assert find(found)[0] == expected
    assert find(found, None, '--max-per-img', 2)[0] == expected[:2]
    assert find(found, None, '--score-thr', 0.2)[0] == expected[:2]


def test_a_thin_file_is_warned_of(find):
    boxes = [(LEFT, 0.9, PERSON)] * 5
    assert 'Warning' not in find([*boxes, (RIGHT, 0.001, PERSON)])[1]
    # Too few, and no low scores.
    assert 'Warning: the file looks thin' in find(boxes[:4])[1]
    assert 'Warning: the file looks thin' in find(boxes * 3)[1]


def change(part, field, value):
    """The annotations with another value in the last entry of a part."""
    coco = annotations()
    coco[part][-1][field] = value
    return coco


@pytest.mark.parametrize(
    ('coco', 'fault'),
    [
        ([], 'images'),
        ({**annotations(), 'images': []}, r'images .*\[\]'),
        ({**annotations(), 'categories': 3}, 'categories .* 3'),
        ({**annotations(), 'annotations': {'a': 1}}, 'annotations .*a'),
        (change('images', 'id', '11'), "id of entry 0 of images .* '11'"),
        (change('images', 'file_name', None), 'file_name .* None'),
        (change('images', 'file_name', 'a.png'), 'a.png'),
        (change('annotations', 'image_id', 12), 'image_id of entry 1 .* 12'),
        (change('annotations', 'category_id', '1'), "category_id .* '1'"),
        (change('annotations', 'category_id', 0), 'category_id .* 0'),
        (change('annotations', 'bbox', [1, 2, 3]), r'bbox .* \[1, 2, 3\]'),
        (change('annotations', 'bbox', [1, 2, -3, 4]), 'bbox .* -3'),
        (change('annotations', 'bbox', [1, 2, 3, None]), 'bbox .* None'),
        (change('annotations', 'iscrowd', 2), 'iscrowd .* 2'),
        (
            {**annotations(), 'images': annotations()['images'] * 2},
            '2 images with 1 different ids',
        ),
    ],
)
def test_a_fault_of_the_annotations_is_said_before(
    find, tmp_path, monkeypatch, coco, fault
):
    monkeypatch.setattr(KnownBoxes, 'predict', None)
    with pytest.raises(SystemExit, match=fault) as error:
        find([], coco)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('key', ['annotations', 'categories'])
def test_no_person_ap_without_people(find, key):
    """As of test-dev's image list, or of cats."""
    coco = annotations()
    del coco['annotations']
    if key == 'categories':
        coco = annotations(category=0)
        for ann in coco['annotations']:
            ann['category_id'] = 1
    boxes, said = find([(LEFT, 0.5, PERSON)], coco)
    assert len(boxes) == 1
    assert 'no person AP' in said


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
    listed = tool.list_folder(str(tmp_path))
    assert [image['id'] for image in listed] == ids
    listed = [image['file_name'] for image in listed]
    assert listed == sorted(name for name in names if name != 'notes.txt')


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
    (pictures / '0014.png').write_bytes(b'')
    out, said = detect('--img-root', pictures, '--batch-size', 2)
    ids = [11, 12, 15, 16]
    images = json.loads(out.with_suffix('.images.json').read_text())['images']
    assert [image['id'] for image in images] == ids
    assert {(i['width'], i['height']) for i in images} == {(80, 96)}
    boxes = json.loads(out.read_text())
    assert list(dict.fromkeys(box['image_id'] for box in boxes)) == ids
    dataset = load_in_mmpose(out, out.with_suffix('.images.json'), pictures)
    assert len(dataset) == len(boxes)
    x, y, w, h = boxes[-1]['bbox']
    entry = dataset[len(boxes) - 1]
    assert entry['img'].shape == (96, 80, 3)
    assert entry['bbox'][0] == pytest.approx([x, y, x + w, y + h], abs=1e-4)
    assert entry['bbox_score'] == pytest.approx(boxes[-1]['score'])
    assert f'{len(boxes)} boxes in 4 images' in said
    assert '2 of 6 images' in said
    assert '0013.png, 0014.png' in said
    assert sorted(path.name for path in out.parent.iterdir()) == [
        'boxes.images.json',
        'boxes.json',
    ]


def test_an_object_store(detect, pictures):
    local, _ = detect('--img-root', pictures, out='local.json')
    ann = f'elsewhere://{local.with_suffix(".images.json")}'
    out, _ = detect('--img-root', f'elsewhere://{pictures}', '--ann', ann)
    assert out.read_bytes() == local.read_bytes()


def test_a_failure_leaves_an_older_file_alone(find, tmp_path):
    boxes, _ = find([(LEFT, 0.5, PERSON)])
    with pytest.raises(ValueError, match='unpack'):
        find([])  # in KnownBoxes
    assert json.loads((tmp_path / 'out/boxes.json').read_text()) == boxes


@pytest.mark.parametrize(
    'config',
    [
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
        'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco',
        'rtmdet/rtmdet_s_8xb32-300e_coco',
        'yolox/yolox_s_8xb8-300e_coco',
        'detr/detr_r50_8xb2-150e_coco',
    ],
)
def test_threshold_reaches_every_kind_of_detector(tool, config):
    path = str(HOST / f'{config}.py')
    before = Config.fromfile(path).model.test_cfg
    after = tool.read_detector_config(path, 0.002).model.test_cfg
    if 'detr' in config:  # without NMS
        assert before == after
    else:
        head = after.get('rcnn', after)
        assert head.score_thr == 0.002
        assert head.get('max_per_img', 1e5) >= 1e5
        assert head.nms.get('min_score', 0.002) == 0.002


@pytest.mark.slow
def test_two_processes_share_the_images(weights, pictures, tmp_path):
    """And give the file that one gives."""
    (pictures / '0013.png').write_text('no picture')
    script = ROOT / 'tools' / TOOL
    args = [TINY, weights, '--img-root', pictures, '--batch-size', 1, '--out']
    args = [str(arg) for arg in args]
    whole, out = tmp_path / 'whole.json', tmp_path / 'boxes.json'
    subprocess.check_call([sys.executable, str(script), *args, str(whole)])
    ranks = dict(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT='29517')
    ranks['PYTHONPATH'] = str(ROOT)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, '-c', RANK, *args, str(out)],
                    env={**os.environ, **ranks, 'RANK': str(rank)},
                    cwd=tmp_path,
                )
            )
            for rank in range(2)
        ]
        assert [process.wait() for process in processes] == [0, 0]
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob('*.partial*'))


def edited(tmp_path, text, base=TINY):
    path = tmp_path / 'edited.py'
    path.write_text(f'_base_ = {str(base)!r}\n{text}\n')
    return dict(config=path)


POSE = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'
)


@pytest.mark.parametrize(
    ('case', 'fault'),
    [
        (lambda p: dict(config='none.py'), 'none.py'),
        (lambda p: edited(p, 'del model'), r'edited\.py'),
        (
            lambda p: edited(p, "model = dict(backbone=dict(type='Nix'))"),
            r'edited\.py .*Nix',
        ),
        (lambda p: edited(p, '', POSE), 'TopdownPoseEst'),
        (
            lambda p: edited(p, 'model = dict(bbox_head=dict(num_classes=2))'),
            r'edited\.py: size mismatch for bbox_head',
        ),
        (lambda p: dict(checkpoint='no.pth'), r'no\.pth'),
        (lambda p: dict(checkpoint=TINY), r'demo-person\.py'),
        (lambda p: dict(out='boxes.pkl'), r'boxes\.pkl'),
    ],
)
def test_bad_detector_is_one_sentence(detect, pictures, tmp_path, case, fault):
    with pytest.raises(SystemExit, match=fault) as error:
        detect('--img-root', pictures, **case(tmp_path))
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('args', 'fault'),
    [
        (['--score-thr', 1.5], '2'),  # argparse's exit status
        (['--batch-size', 0], '2'),
        (['--max-per-img', 0], '2'),
        (['--img-root', 'nowhere'], 'nowhere'),
        (['--img-root', ROOT / 'configs'], 'configs has no pictures'),
        (['--ann', 'none.json'], r'none\.json'),
    ],
)
def test_bad_option_is_refused(detect, pictures, tmp_path, args, fault):
    with pytest.raises(SystemExit, match=fault):
        detect('--img-root', pictures, *args)
    assert not (tmp_path / 'out').exists()


def test_bad_files_are_refused(detect, pictures, tmp_path):
    ann = pictures / 'ann.json'
    ann.write_text('{}')
    with pytest.raises(SystemExit, match=str(ann)):
        detect('--img-root', pictures, '--ann', ann, '--out', ann)
    assert ann.read_text() == '{}'
    (tmp_path / 'out').write_text('a file where the folder should be')
    with pytest.raises(SystemExit, match=r'boxes\.json'):
        detect('--img-root', pictures)
    for path in pictures.iterdir():
        path.write_bytes(b'')
    with pytest.raises(SystemExit, match='6 pictures'):
        detect('--img-root', pictures)


def test_no_person_among_the_classes(detect, pictures, tmp_path):
    """The checkpoint's classes count, and if it has none the config's."""
    cats = dict(dataset_meta=dict(classes=('cat', 'dog')))
    weights = save_weights(TINY, tmp_path / 'cats.pth', **cats)
    with pytest.raises(SystemExit, match='2: cat, dog'):
        detect('--img-root', pictures, checkpoint=weights)
    owl = (
        "owl = dict(metainfo=dict(classes=('owl',)))\n"
        'test_dataloader = dict(dataset=owl)'
    )
    with pytest.raises(SystemExit, match='1: owl'):
        detect('--img-root', pictures, **edited(tmp_path, owl))


@pytest.mark.slow
def test_as_a_user_runs_it(run_tool, weights, pictures, tmp_path):
    """In a locale that is not UTF-8; several GPUs where there is none."""
    ann = tmp_path / 'ann.json'
    coco = dict(annotations(), info=dict(description='\u4eba'))
    coco['images'] += [dict(id=12, file_name='\u4eba.png')]
    ann.write_text(json.dumps(coco, ensure_ascii=False), encoding='utf-8')
    args = (TINY, weights, '--img-root', pictures, '--out', 'b.json')
    c_locale = dict(LC_ALL='C', PYTHONUTF8='0')
    where = dict(cwd=tmp_path, env=c_locale)
    said = run_tool(TOOL, *args, '--ann', ann, **where).stdout
    assert 'person AP 0.' in said
    assert '1 of 2 images' in said
    refused = run_tool(TOOL, *args, '--ann', 'no', check=False, **where)
    assert refused.returncode == 1
    assert 'Traceback' not in refused.stdout
    if not torch.cuda.is_available():
        words = (*args, '--launcher', 'pytorch')
        refused = run_tool(TOOL, *words, check=False, **where)
        assert refused.stdout.startswith('--launcher pytorch')


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_real_pictures(detect, shared_data, tmp_path, config):
    """Every config, with random weights."""
    sample = shared_data / 'coco_sample'
    ann = sample / 'test_coco.json'
    out, said = detect(
        *('--ann', ann, '--img-root', sample, '--batch-size', 2),
        config=config,
        checkpoint=save_weights(config, tmp_path / 'random.pth'),
    )
    boxes = json.loads(out.read_text())
    assert boxes
    assert min(box['score'] for box in boxes) >= 0.001
    assert len(load_in_mmpose(out, ann, sample)) == len(boxes)
    assert 'person AP 0.' in said
