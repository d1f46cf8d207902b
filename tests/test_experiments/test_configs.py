"""Reading configs, and the files that they name."""

import json
import re

import pytest
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmpose.evaluation import CocoMetric
from mmpose.registry import METRICS

from mmpose_lossplus.experiments import configs

from ..factories import CONFIGS, read

BOXES = 'person_detection_results/boxes.json'


@pytest.fixture
def cfg():
    """Paths at all the places where configs have them."""
    one = dict(data_root='data/coco/', ann_file='annotations/a.json')
    dataset = dict(data_root='data/coco', bbox_file=f'data/coco/{BOXES}')
    ann_file = dict(ann_file='data/coco/annotations/b.json')
    return Config(
        dict(
            data_root='data/coco/',
            train_dataloader=dict(
                dataset=dict(
                    type='CombinedDataset',
                    datasets=[one, dict(one, data_root='data/coco_more/')],
                )
            ),
            test_dataloader=dict(dataset=dataset),
            val_evaluator=ann_file,
            test_evaluator=[
                ann_file,
                dict(type='DumpResults', out_file_path='out.pkl'),
            ],
        )
    )


@pytest.mark.parametrize('new', ['/ssd/coco', '/ssd/coco/'])
def test_every_path_below_moves(cfg, new):
    options = configs.move_data(cfg, dict(data_root=new))
    cfg.merge_from_dict(options)
    first, second = cfg.train_dataloader.dataset.datasets
    assert first.data_root == '/ssd/coco/'
    # A neighbour whose name begins in the same way stays.
    assert second.data_root == 'data/coco_more/'
    # Relative to the dataset's data_root, and so moved with it.
    assert first.ann_file == 'annotations/a.json'
    dataset = dict(data_root='/ssd/coco/', bbox_file=f'/ssd/coco/{BOXES}')
    assert cfg.test_dataloader.dataset == dataset
    assert cfg.val_evaluator.ann_file == '/ssd/coco/annotations/b.json'
    assert cfg.test_evaluator[0].ann_file == '/ssd/coco/annotations/b.json'
    assert cfg.test_evaluator[1].out_file_path == 'out.pkl'
    assert cfg.data_root == '/ssd/coco/'


def test_explicit_options_win(cfg):
    explicit = {
        'test_dataloader.dataset.bbox_file': None,
        'val_evaluator.ann_file': 'mine.json',
        'data_root': '/ssd',
    }
    cfg.merge_from_dict(configs.move_data(cfg, explicit))
    assert cfg.test_dataloader.dataset.bbox_file is None
    assert cfg.val_evaluator.ann_file == 'mine.json'
    assert cfg.test_dataloader.dataset.data_root == '/ssd/'


@pytest.mark.parametrize(
    ('change', 'options'),
    [
        (dict(), {'train_cfg.max_epochs': 1}),
        (dict(data_root=''), dict(data_root='/ssd')),
        (dict(data_root=None), dict(data_root='/ssd')),
    ],
)
def test_nothing_to_move(cfg, change, options):
    cfg.merge_from_dict(change)
    assert configs.move_data(cfg, options) == options


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_no_path_of_a_config_stays(path):
    cfg = read(path)
    old = cfg.data_root
    assert f'"{old}' in json.dumps(cfg.to_dict())
    cfg.merge_from_dict(configs.move_data(cfg, dict(data_root='/ssd/data')))
    assert f'"{old}' not in json.dumps(cfg.to_dict())


def test_files_of_a_config(cfg):
    assert list(configs.data_files(cfg.to_dict())) == [
        ('annotation', 'data/coco/annotations/a.json'),
        ('annotation', 'data/coco_more/annotations/a.json'),
        ('box', f'data/coco/{BOXES}'),
        ('annotation', 'data/coco/annotations/b.json'),
        ('annotation', 'data/coco/annotations/b.json'),
    ]


@pytest.mark.parametrize(
    ('path', 'advice'),
    [
        (
            'data/coco/annotations/person_keypoints_val2017.json',
            'mim download',
        ),
        ('/ssd/annotations/instances_train2017.json', 'mim download'),
        (
            'data/demo/annotations/person_keypoints_val2017.json',
            'prepare_demo',
        ),
        ('data/mpii/annotations/mpii_val_det.json', 'mpii_from_detections'),
        ('data/mpii/annotations/mpii_test.json', 'mpii_test_to_json'),
        ('data/mpii/annotations/mpii_gt_val.mat', 'mim download'),
        ('data/lsp/annotations/lsp_train.json', 'lsp_to_coco'),
        (
            'data/people/annotations/person_keypoints_val2017.json',
            'draw_people.py' if configs.DRAW_PEOPLE.exists() else 'mim',
        ),
        # Files of the user, whatever their folders are called.
        ('data/my_coco_format/train.json', 'correct the path'),
        ('people counting/demo/mpii/lsp.json', 'correct the path'),
        ('coco/mine_person_keypoints_val2017.json.gz', 'correct the path'),
        ('x/my_det.json', 'correct the path'),
    ],
)
def test_advice_by_the_name_of_the_file(path, advice):
    text = configs.missing_file('annotation', path)
    assert path in text
    assert advice in text.split(path)[1]


def test_every_file_of_the_papers_can_be_got():
    for path in CONFIGS:
        for kind, file in configs.data_files(read(path).to_dict()):
            assert 'correct the path' not in configs.missing_file(kind, file)


class Store(LocalBackend):
    """An object store that has one object in one bucket."""

    def __init__(self, bucket='a'):
        self.bucket = bucket

    def exists(self, filepath):
        return (self.bucket, filepath) == ('b', 'store://coco/x.json')


register_backend('store', Store, prefixes='store', force=True)


@pytest.mark.parametrize(
    ('dataset', 'missing'),
    [
        (dict(backend_args=dict(backend='store', bucket='b')), False),
        (dict(backend_args=dict(backend='store')), True),
        (dict(), True),
        # Absolute, and one for HTTP can only get.
        (dict(ann_file='https://example.com/x.json'), False),
    ],
)
def test_data_in_another_file_backend(dataset, missing):
    dataset = dict(
        dict(data_root='store://coco', ann_file='x.json'), **dataset
    )
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    text = configs.missing_data(cfg, ['train_dataloader', 'val_dataloader'])
    assert bool(text) == missing
    if missing:
        assert 'store://coco/x.json' in text


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('CocoMetric', CocoMetric),
        ('mmpose.CocoMetric', CocoMetric),
        (CocoMetric, CocoMetric),
        ('NoSuchMetric', None),
        (None, None),
    ],
)
def test_class_of_a_component(kind, expected):
    assert configs.component_class(dict(type=kind), METRICS) is expected


def test_what_has_no_effect_is_not_in_the_hash():
    content = dict(b=1, a=dict(c=[1, 2]))
    same = dict(a=dict(c=[1, 2]), b=1, work_dir='x', launcher='slurm')
    digest = configs.config_hash(Config(content))
    assert re.fullmatch('[0-9a-f]{12}', digest)
    assert configs.config_hash(Config(same)) == digest
    assert configs.config_hash(Config(dict(content, b=2))) != digest


@pytest.mark.parametrize(
    ('name', 'batch'),
    [
        ('td-hm_x_fmse-4xb6-200e_coco.py', (4, 6)),
        ('a/td-hm_x_8xb64-210e_coco.py', (8, 64)),
        ('my_config.py', None),
    ],
)
def test_batch_in_the_name(name, batch):
    assert configs.batch_in_name(name) == batch
