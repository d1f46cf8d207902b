"""Person boxes: kept low, in MMPose's format, faults said beforehand."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.models import SingleStageDetector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.datasets.datasets import CocoDataset
from mmpose.datasets.transforms import LoadImage

from ..factories import ROOT, load_tool, run_in_processes, write_noise

TOOL = 'dataset_converters/detect_persons.py'
CONFIGS = sorted((ROOT / 'configs/detectors').glob('*.py'))
(TINY,) = (path for path in CONFIGS if 'demo' in path.stem)
HOST = Path(mmdet.__file__).parent / '.mim/configs'
CAT, PERSON = 0, 1
LEFT, RIGHT = (0, 0, 20, 40), (40, 0, 20, 40)  # x, y, w, h


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

    def call(
        *args,
        config=TINY,
        checkpoint=weights,
        out='boxes.json',
        overwrite=True,
    ):
        out = tmp_path / 'out' / out
        words = [config, checkpoint, '--out', out, '--num-workers', 0, *args]
        words += ['--overwrite'] * overwrite
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
    """Run the tool with boxes (x, y, w, h) that are found in a picture."""
    classes = dict(dataset_meta=dict(classes=('cat', 'person')))
    weights = save_weights(TINY, tmp_path / 'cats.pth', **classes)

    def call(found, coco=None, *args):
        def predict(self, inputs, samples, rescale=True):
            boxes, scores, labels = zip(*found)
            x, y, w, h = torch.tensor(boxes, dtype=torch.float).T
            samples[0].pred_instances = InstanceData(
                bboxes=torch.stack((x, y, x + w, y + h), dim=1),
                scores=torch.tensor(scores),
                labels=torch.tensor(labels),
            )
            return samples

        monkeypatch.setattr(SingleStageDetector, 'predict', predict)
        coco = annotations() if coco is None else coco
        (pictures / 'ann.json').write_text(json.dumps(coco))
        args = ('--img-root', pictures, '--ann', pictures / 'ann.json', *args)
        out, said = detect(*args, checkpoint=weights)
        return json.loads(out.read_text()), said

    return call


def annotations(*boxes, category=1, crowd=None, **changes):
    """Two people side by side in a picture, or other boxes."""
    names = ('person', 'cat')
    label = dict(image_id=11, category_id=category)
    return dict(
        images=[dict(id=11, file_name='0011.png')],
        categories=[
            dict(id=category + i, name=n) for i, n in enumerate(names)
        ],
        annotations=[
            dict(label, id=i + 1, bbox=box, iscrowd=int(i == crowd), **changes)
            for i, box in enumerate(boxes or (LEFT, RIGHT))
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
    'ids',
    [range(4), range(-2, 2), [0] * 4, [5] * 4, 'abcd', [None] * 4],
    ids=str,
)
def test_perfect_boxes_have_ap_1_whatever_their_ids(find, people, ids):
    """By pycocotools alone, it is 0.000 and 0.564 from 0 on."""
    boxes = [(8 * i, 0, 7, 20 + i) for i in range(people)]
    coco = annotations(*boxes, area=0)
    for ann, number in zip(coco['annotations'], ids):
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
    kept = [
        ([1, 2, 3, 4], 0.75),
        ([10, 20, 30.125, 76], 0.25),
        ([0, 7, 80, 89], 0.125),
    ]
    place = dict(image_id=11, category_id=1)
    expected = [dict(place, bbox=box, score=score) for box, score in kept]
    assert find(found)[0] == expected
    assert find(found, None, '--max-per-img', 2)[0] == expected[:2]
    assert find(found, None, '--score-thr', 0.2)[0] == expected[:2]


def test_a_thin_file_is_warned_of(find):
    boxes = [(LEFT, 0.9, PERSON)] * 5
    assert 'Warning' not in find([*boxes, (RIGHT, 0.001, PERSON)])[1]
    # Too few, and no low scores.
    assert 'Warning: the file looks thin' in find(boxes[:4])[1]
    assert 'Warning: the file looks thin' in find(boxes * 3)[1]


@pytest.mark.parametrize(
    ('part', 'changes', 'fault'),
    [
        ('images', [], r'images .*\[\]'),
        ('categories', 3, 'categories .* 3'),
        ('images', [dict(id=1, file_name='a')] * 2, '2 images with 1 '),
        ('images', dict(id='11'), "id of entry 0 of images .* '11'"),
        ('images', dict(file_name=None), 'file_name .* None'),
        ('images', dict(file_name='a.png'), 'a.png'),
        ('annotations', dict(image_id=12), 'image_id of entry 0 .* 12'),
        ('annotations', dict(category_id='1'), "category_id .* '1'"),
        ('annotations', dict(bbox=[1, 2, -3, 4]), 'bbox .* -3'),
        ('annotations', dict(bbox=[1, 2, 3, None]), 'bbox .* None'),
        ('annotations', dict(iscrowd=2), 'iscrowd .* 2'),
    ],
)
def test_wrong_annotations(find, tmp_path, part, changes, fault):
    """A fault is said before the detection."""
    coco = annotations()
    if isinstance(changes, dict):
        coco[part][0].update(changes)
    else:
        coco[part] = changes
    with pytest.raises(SystemExit, match=fault) as error:
        find([], coco)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_no_person_ap_without_people(find):
    """As of cats, or of test-dev's image list."""
    cats = annotations()
    cats['categories'].pop(0)
    for ann in cats['annotations']:
        ann['category_id'] = 2
    for coco in (cats, dict(images=cats['images'])):
        boxes, said = find([(LEFT, 0.5, PERSON)], coco)
        assert len(boxes) == 1
        assert 'no person AP' in said


@pytest.mark.parametrize(
    ('names', 'ids'),
    [
        ('000000000785.jpg 12.PNG notes.txt', [785, 12]),
        ('015601864.jpg', [15601864]),
        ('7.jpg a.jpg b.jpg', [1, 2, 3]),
        ('01.jpg 1.png', [1, 2]),
    ],
)
def test_ids_in_a_folder(tool, tmp_path, names, ids):
    for name in names.split():
        (tmp_path / name).touch()
    listed = tool.list_folder(str(tmp_path))
    expected = zip(ids, names.split())
    assert listed == [dict(id=i, file_name=name) for i, name in expected]


def load_in_mmpose(boxes, ann, folder):
    return CocoDataset(
        ann_file=str(ann),
        bbox_file=str(boxes),
        data_prefix=dict(img=str(folder)),
        test_mode=True,
        pipeline=[LoadImage()],
    )


def test_a_folder(detect, pictures):
    """Boxes and image list are what MMPose takes."""
    (pictures / '0013.png').write_text('no picture')
    (pictures / '0014.png').write_bytes(b'')
    write_noise(pictures / '0017.jpg', 80, 96)
    cut_off = (pictures / '0017.jpg').read_bytes()[:-900]
    (pictures / '0017.jpg').write_bytes(cut_off)
    out, said = detect('--img-root', pictures, '--batch-size', 2)
    listed, ids = out.with_suffix('.images.json'), [11, 12, 15, 16]
    images = json.loads(listed.read_text())['images']
    assert [image['id'] for image in images] == ids
    assert {(i['width'], i['height']) for i in images} == {(80, 96)}
    boxes = json.loads(out.read_text())
    assert list(dict.fromkeys(box['image_id'] for box in boxes)) == ids
    dataset = load_in_mmpose(out, listed, pictures)
    assert len(dataset) == len(boxes)
    x, y, w, h = boxes[-1]['bbox']
    entry = dataset[len(boxes) - 1]
    assert entry['img'].shape == (96, 80, 3)
    assert entry['bbox'][0] == pytest.approx([x, y, x + w, y + h], abs=1e-4)
    assert entry['bbox_score'] == pytest.approx(boxes[-1]['score'])
    assert f'{len(boxes)} boxes in 4 images' in said
    assert '3 of 7 images' in said
    assert '0013.png, 0014.png, 0017.jpg' in said
    assert sorted(out.parent.iterdir()) == [listed, out]


def test_an_object_store(detect, pictures):
    local, _ = detect('--img-root', pictures, out='local.json')
    ann = f'elsewhere://{local.with_suffix(".images.json")}'
    out, _ = detect('--img-root', f'elsewhere://{pictures}', '--ann', ann)
    assert out.read_bytes() == local.read_bytes()


def test_a_failure_leaves_an_older_file_alone(find, tmp_path):
    boxes, _ = find([(LEFT, 0.5, PERSON)])
    with pytest.raises(ValueError, match='unpack'):
        find([])  # in predict
    assert json.loads((tmp_path / 'out/boxes.json').read_text()) == boxes


def test_an_older_file_is_replaced_on_demand(detect, pictures):
    out, _ = detect('--img-root', pictures, overwrite=False)
    out.write_text('old')
    with pytest.raises(SystemExit, match=r'boxes\.json .* --overwrite'):
        detect('--img-root', pictures, overwrite=False)
    assert out.read_text() == 'old'
    detect('--img-root', pictures)
    assert json.loads(out.read_text())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('done', [0, 3])
def test_what_is_done_is_kept(
    tool, detect, pictures, tmp_path, monkeypatch, number, done
):
    """Beside an older file of all, which stays."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handler = signal.getsignal(signal.SIGTERM)
    whole, _ = detect('--img-root', pictures, '--batch-size', 1)
    boxes = json.loads(whole.read_text())
    people, calls = tool.PersonBoxes.people, iter(range(9))

    def interrupted(self, sample):
        if next(calls) == done:
            os.kill(os.getpid(), number)
        return people(self, sample)

    monkeypatch.setattr(tool.PersonBoxes, 'people', interrupted)
    with pytest.raises(SystemExit, match=f'after {done} images'):
        detect('--img-root', pictures, '--batch-size', 1)
    signal.signal(signal.SIGTERM, handler)
    assert json.loads(whole.read_text()) == boxes
    part = tmp_path / 'out' / 'boxes.part.json'
    assert part.exists() == bool(done)
    assert not list(part.parent.glob('*.partial*'))
    if done:
        assert json.loads(part.read_text()) == [
            box for box in boxes if box['image_id'] < 11 + done
        ]


@pytest.mark.parametrize(
    'config',
    [
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
        'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco',
        'rtmdet/rtmdet_s_8xb32-300e_coco',
        'yolox/yolox_s_8xb8-300e_coco',
    ],
)
def test_threshold_reaches_every_kind_of_detector(tool, config):
    path = str(HOST / f'{config}.py')
    cfg = tool.read_detector_config(path, 0.002)
    head = cfg.model.test_cfg.get('rcnn', cfg.model.test_cfg)
    assert head.score_thr == 0.002
    assert head.get('max_per_img', 1e5) >= 1e5
    assert head.nms.get('min_score', 0.002) == 0.002


def detect_in_group(rank, number, folder):
    """Run the tool in a process of a group, on the CPU."""
    data = folder.parent
    words = [TINY, data / 'tiny.pth', '--img-root', data / 'pictures']
    words += ['--out', data / 'boxes.json', '--batch-size', 1]
    sys.argv = ['tool', *map(str, words)]
    load_tool(TOOL).main()


@pytest.mark.slow
def test_two_processes_share_the_images(detect, pictures, tmp_path):
    """And give the file that one gives."""
    (pictures / '0013.png').write_text('no picture')
    whole, _ = detect('--img-root', pictures, '--batch-size', 1)
    save_weights(TINY, tmp_path / 'tiny.pth')
    (tmp_path / 'group').mkdir()
    run_in_processes(detect_in_group, 2, tmp_path / 'group')
    assert (tmp_path / 'boxes.json').read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob('*.partial*'))


@pytest.fixture
def wrong(pictures, monkeypatch):
    """A folder of files that are of no use, as working directory."""
    monkeypatch.chdir(pictures)
    owl = "dataset=dict(metainfo=dict(classes=('owl',)))"
    for name, text in (
        ('none', 'del model'),
        ('nix', "model = dict(backbone=dict(type='Nix'))"),
        ('two', 'model = dict(bbox_head=dict(num_classes=2))'),
        ('owl', f'test_dataloader = dict({owl})'),
    ):
        Path(f'{name}.py').write_text(f'_base_ = {str(TINY)!r}\n{text}\n')
    Path('pose.py').write_text(f'_base_ = {POSE!r}')
    cats = dict(dataset_meta=dict(classes=('cat', 'dog')))
    save_weights(TINY, Path('cats.pth'), **cats)
    Path('ann.json').write_text('{}')
    Path('empty').mkdir()
    Path('empty', 'a.png').touch()
    return pictures


POSE = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py'
)
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason='has a GPU')


@pytest.mark.parametrize(
    ('args', 'fault'),
    [
        (dict(config='no.py'), r'no\.py'),
        (dict(config='none.py'), r'none\.py'),
        (dict(config='nix.py'), r'nix\.py .*Nix'),
        (dict(config='pose.py'), 'TopdownPoseEst'),
        (dict(config='two.py'), r'two\.py: size mismatch for bbox_head'),
        (dict(checkpoint='no.pth'), r'no\.pth'),
        (dict(checkpoint=TINY), r'demo-person\.py'),
        # The checkpoint's classes count, and if it has none the config's.
        (dict(checkpoint='cats.pth'), '2: cat, dog'),
        (dict(config='owl.py'), '1: owl'),
        (dict(out='boxes.pkl'), r'boxes\.pkl'),
        ('--score-thr 1.5', '2'),  # argparse's exit status
        ('--batch-size 0', '2'),
        ('--max-per-img 0', '2'),
        ('--img-root nowhere', 'nowhere'),
        (f'--img-root {ROOT / "configs"}', 'configs has no pictures'),
        ('--img-root empty', r'1 pictures.*a\.png'),
        ('--ann no.json', r'no\.json'),
        ('--ann ann.json --out ann.json', r'ann\.json'),
        ('--out ann.json/boxes.json', r'ann\.json'),
        pytest.param('--launcher pytorch', '--launcher pytorch', marks=NO_GPU),
    ],
)
def test_refused(detect, wrong, tmp_path, args, fault):
    """In one sentence, before anything is detected or written."""
    words, files = (args.split(), {}) if isinstance(args, str) else ((), args)
    with pytest.raises(SystemExit, match=fault) as error:
        detect('--img-root', wrong, *words, **files)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()
    assert Path('ann.json').read_text() == '{}'


@pytest.mark.slow
def test_as_a_user_runs_it(run_tool, weights, pictures, tmp_path):
    """In a locale that is not UTF-8."""
    ann = tmp_path / 'ann.json'
    coco = dict(annotations(), info=dict(description='\u4eba'))
    coco['images'] += [dict(id=12, file_name='\u4eba.png')]
    ann.write_text(json.dumps(coco, ensure_ascii=False), encoding='utf-8')
    said = run_tool(
        *(TOOL, TINY, weights, '--img-root', pictures, '--ann', ann),
        *('--out', tmp_path / 'boxes.json'),
        env=dict(LC_ALL='C', PYTHONUTF8='0'),
    ).stdout
    assert 'person AP 0.' in said
    assert '1 of 2 images' in said
    (pictures / '0011.png').rename(pictures / '\u4eba.png')
    out = tmp_path / 'all.json'
    run_tool(
        *(TOOL, TINY, weights, '--img-root', pictures, '--out', out),
        env=dict(LC_ALL='C', PYTHONUTF8='0'),
    )
    listed = json.loads(out.with_suffix('.images.json').read_bytes())
    assert listed['images'][-1]['file_name'] == '\u4eba.png'


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
