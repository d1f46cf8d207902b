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
    more = dict(one, data_root='data/coco_more/')
    combined = dict(type='CombinedDataset', datasets=[one, more])
    dataset = dict(data_root='data/coco', bbox_file=f'data/coco/{BOXES}')
    metric = dict(ann_file='data/coco/annotations/b.json')
    dump = dict(type='DumpResults', out_file_path='out.pkl')
    return Config(
        dict(
            data_root='data/coco/',
            train_dataloader=dict(dataset=combined),
            test_dataloader=dict(dataset=dataset),
            val_evaluator=metric,
            test_evaluator=[metric, dump],
        )
    )


@pytest.mark.parametrize('new', ['/ssd/coco', '/ssd/coco/'])
def test_every_path_below_moves(cfg, new):
    cfg.merge_from_dict(configs.move_data(cfg, dict(data_root=new)))
    assert cfg.data_root == '/ssd/coco/'
    files = [path for _, path, _ in configs.data_files(cfg.to_dict())]
    assert files == [
        '/ssd/coco/annotations/a.json',
        # A neighbour whose name begins in the same way stays.
        'data/coco_more/annotations/a.json',
        f'/ssd/coco/{BOXES}',
        *['/ssd/coco/annotations/b.json'] * 2,
    ]
    assert cfg.test_dataloader.dataset.data_root == '/ssd/coco/'
    assert cfg.test_evaluator[1].out_file_path == 'out.pkl'


def test_explicit_options_win(cfg):
    explicit = {
        'test_dataloader.dataset.bbox_file': None,
        'val_evaluator.ann_file': 'mine.json',
    }
    moved = configs.move_data(cfg, dict(explicit, data_root='/ssd'))
    assert explicit.items() <= moved.items()
    assert moved['test_dataloader.dataset.data_root'] == '/ssd/'


@pytest.mark.parametrize(
    ('old', 'options'),
    [
        ('data/coco', {'train_cfg.max_epochs': 1}),
        ('', dict(data_root='/ssd')),
        (None, dict(data_root='/ssd')),
    ],
)
def test_nothing_to_move(cfg, old, options):
    cfg.data_root = old
    assert configs.move_data(cfg, options) == options


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_files_of_the_papers_move_and_can_be_got(path):
    cfg = read(path)
    old = cfg.data_root
    assert f'"{old}' in json.dumps(cfg.to_dict())
    for kind, file, _ in configs.data_files(cfg.to_dict()):
        assert 'correct the path' not in configs.missing_file(kind, file)
    cfg.merge_from_dict(configs.move_data(cfg, dict(data_root='/ssd/data')))
    assert f'"{old}' not in json.dumps(cfg.to_dict())


COCO = 'annotations/person_keypoints_val2017.json'


@pytest.mark.parametrize(
    ('path', 'advice'),
    [
        (f'data/coco/{COCO}', 'mim download'),
        ('/ssd/annotations/instances_train2017.json', 'mim download'),
        (f'data/demo/{COCO}', 'prepare_demo'),
        ('data/mpii/annotations/mpii_val_det.json', 'mpii_from_detections'),
        ('data/mpii/annotations/mpii_test.json', 'mpii_test_to_json'),
        ('data/mpii/annotations/mpii_gt_val.mat', 'mim download'),
        ('data/lsp/annotations/lsp_train.json', 'lsp_to_coco'),
        (
            f'data/people/{COCO}',
            'draw_people.py' if configs.DRAW_PEOPLE.exists() else 'mim',
        ),
        # Files of the user, whatever their folders are called.
        ('data/my_coco_format/train.json', 'correct the path'),
        ('people counting/demo/mpii/lsp.json', 'correct the path'),
        ('coco/mine_person_keypoints_val2017.json.gz', 'correct the path'),
    ],
)
def test_advice_by_the_name_of_the_file(path, advice):
    text = configs.missing_file('annotation', path)
    assert advice in text.split(path)[1]


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
    default = dict(data_root='store://coco', ann_file='x.json')
    cfg = Config(dict(train_dataloader=dict(default, **dataset)))
    text = configs.missing_data(cfg, ['train_dataloader', 'val_dataloader'])
    assert ('store://coco/x.json' in (text or '')) == missing


def test_class_of_a_component():
    kinds = ('CocoMetric', 'mmpose.CocoMetric', CocoMetric, 'NoSuch', None)
    found = [configs.component_class(dict(type=x), METRICS) for x in kinds]
    assert found == [CocoMetric, CocoMetric, CocoMetric, None, None]


def test_what_has_no_effect_is_not_in_the_hash():
    content = dict(b=1, a=dict(c=[1, 2]))
    same = dict(a=dict(c=[1, 2]), b=1, work_dir='x', launcher='slurm')
    digest = configs.config_hash(Config(content))
    assert re.fullmatch('[0-9a-f]{12}', digest)
    assert configs.config_hash(Config(same)) == digest
    assert configs.config_hash(Config(dict(content, b=2))) != digest


def test_batch_in_the_name():
    batch = configs.batch_in_name
    assert batch('td-hm_x_fmse-4xb6-200e_coco.py') == (4, 6)
    assert batch('a/td-hm_x_8xb64-210e_coco.py') == (8, 64)
    assert batch('my_config.py') is None
