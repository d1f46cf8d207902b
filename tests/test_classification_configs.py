"""The configs on MMPretrain: what their names promise, and that they run."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner

from mmpose_lossplus.experiments import tables
from mmpose_lossplus.experiments.configs import batch_in_name, move_data

from .factories import (
    CLASSIFICATION,
    ROWS,
    needs_mmpretrain,
    read,
    write_noise,
)

pytestmark = needs_mmpretrain
each_config = pytest.mark.parametrize(
    'path', CLASSIFICATION, ids=lambda path: path.stem
)

NAME = re.compile(
    r'(?P<backbone>resnet\d+)_((?P<loss>[a-z]+)-)?(?P<more>([a-z]+[0-9p]*-)*)'
    r'(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e_(?P<data>[a-z0-9]+)'
)
BACKBONES = dict(
    resnet110=dict(type='BasicResNetCIFAR', depth=110),
    resnet50=dict(type='ResNet', depth=50),
)
FOCAL = dict(type='FocalLoss', gamma=2.0, alpha=0.5, loss_weight=2.0)
# Token -> the loss it promises.
LOSSES = {
    None: dict(type='CrossEntropyLoss'),
    'anchor': dict(type='ClassificationAnchorLoss', gamma=0.5),
    'bce': dict(type='ClassificationAnchorLoss', gamma=0),
    'focal': FOCAL,
    'ohem': dict(type='OHEMCrossEntropyLoss', rho=0.9),
}
DATA = dict(cifar10='CIFAR10', cifar100='CIFAR100', in1k='ImageNet')
CLASSES = dict(cifar10=10, cifar100=100, in1k=1000)


def options(more):
    """Arguments of the loss, and the epochs of warm-up, of a name's tokens."""
    loss, warm_up = {}, 0
    for token in filter(None, more.split('-')):
        key, number = re.fullmatch(r'([a-z]+)([0-9p]*)', token).groups()
        number = float(number.replace('p', '.') or 0)
        if key == 'warmup':
            warm_up = int(number)
        elif key in ('target', 'both'):
            loss['design'] = key
        else:
            loss[dict(static='static_anchor').get(key, key)] = number
    return loss, warm_up


@each_config
def test_name_matches_content(path):
    name = NAME.fullmatch(path.stem)
    assert name, f'{path.stem} does not follow the grammar of names'
    cfg = read(path)
    backbone = BACKBONES[name['backbone']]
    assert backbone.items() <= cfg.model.backbone.to_dict().items()
    loss, warm_up = options(name['more'])
    promised = {'loss_weight': 1.0, **LOSSES[name['loss']], **loss}
    assert dict(cfg.model.head.loss) == promised
    hooks = cfg.get('custom_hooks', [])
    assert len(hooks) == bool(warm_up)
    for hook in hooks:
        assert hook.type == 'mmpose.LossScheduleHook'
        expected = dict(ce_share=[(0, 1.0), (warm_up, 0.0)])
        assert hook.schedule == expected
    total = np.prod(batch_in_name(str(path)))
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    assert cfg.auto_scale_lr.base_batch_size == total
    assert cfg.train_cfg.max_epochs == int(name['epochs'])
    data, classes = DATA[name['data']], CLASSES[name['data']]
    assert cfg.model.head.num_classes == classes
    assert cfg.data_preprocessor.num_classes == classes
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.type == data
        assert f'{dataset.data_root}/'.startswith(cfg.data_root)


@each_config
def test_what_is_held_out(path):
    """Of CIFAR 5,000 training pictures, and what is best on them is tested."""
    cfg = read(path)
    train, val, test = (
        cfg[f'{part}_dataloader'].dataset for part in ('train', 'val', 'test')
    )
    if train.type == 'ImageNet':
        assert (train.split, val.split, test.split) == ('train', 'val', 'val')
        return
    assert (train.split, val.split, test.split) == ('train', 'train', 'test')
    assert (train.indices, val.indices) == (45000, -5000)
    assert 'indices' not in test
    assert cfg.default_hooks.checkpoint.save_best == 'accuracy/top1'
    assert [t.type for t in train.pipeline] == [
        'RandomCrop',
        'RandomFlip',
        'PackInputs',
    ]
    assert train.pipeline[0].padding == 4


# Epoch -> learning rate from it on.
RATES = dict(
    resnet110={0: 0.1, 160: 0.01, 180: 0.001},
    resnet50={0: 0.7, 30: 0.07, 60: 0.007, 80: 0.0007},
)


@each_config
def test_learning_rate(path):
    """By epochs, after 400 iterations of a tenth, or 5 epochs of warm-up."""
    cfg = read(path)
    expected = RATES[path.stem.partition('_')[0]]
    sgd = cfg.optim_wrapper.optimizer
    assert (sgd.type, sgd.momentum, sgd.weight_decay) == ('SGD', 0.9, 1e-4)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=sgd.lr)
    length = 100  # of an epoch
    schedulers = [
        PARAM_SCHEDULERS.build(
            schedule,
            default_args=dict(optimizer=optimizer, epoch_length=length),
        )
        for schedule in copy.deepcopy(cfg.param_scheduler)
    ]
    rates = []
    for i in range(cfg.train_cfg.max_epochs * length):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            if not scheduler.by_epoch or (i + 1) % length == 0:
                scheduler.step()
    rate = expected[0]
    for epoch in range(5, cfg.train_cfg.max_epochs):
        rate = expected.get(epoch, rate)
        assert rates[epoch * length] == pytest.approx(rate), epoch
    if cfg.model.backbone.type == 'ResNet':
        assert rates[0] < 1e-3 < rates[240] < 0.35 < rates[400] < 0.7
    else:
        assert rates[0] == rates[398] == pytest.approx(0.01)
        assert rates[400] == pytest.approx(0.1)


@each_config
def test_docstring_and_inheritance(path):
    source = path.read_text(encoding='utf-8')
    docstring = source.split('"""')[1]
    assert docstring.startswith('Anchor Loss paper, table')
    lines = [x for x in source.split('"""')[2].splitlines() if x.strip()]
    assert len(lines) <= 15 or 'Longer than its siblings' in docstring
    named = set(re.findall(r'A-1|\d', docstring.partition(':')[0]))
    used = {
        table.id.rpartition('table')[2]
        for table, row in ROWS
        if row.config == path.stem
    }
    assert named == used

    def ancestors(file):
        bases = [b for b in Config._get_base_files(str(file)) if '::' not in b]
        ours = [b for b in bases if '_base_' not in b]
        return 1 + sum(ancestors(file.parent / b) for b in ours)

    assert ancestors(path) <= 3


@pytest.fixture(scope='module')
def cifar_data(tmp_path_factory):
    """Noise in the layouts of CIFAR-10 and CIFAR-100."""
    root, rng = tmp_path_factory.mktemp('cifar'), np.random.default_rng(0)

    def write(folder, names, key):
        (root / folder).mkdir()
        for name in names:
            data = rng.integers(0, 256, (8, 3072), dtype=np.uint8)
            entry = {'data': data, key: [*range(8)]}
            (root / folder / name).write_bytes(pickle.dumps(entry))

    batches = [f'data_batch_{i}' for i in range(1, 6)]
    write('cifar-10-batches-py', [*batches, 'test_batch'], 'labels')
    write('cifar-100-python', ['train', 'test'], 'fine_labels')
    return root


@pytest.fixture(scope='module')
def imagenet_data(tmp_path_factory):
    """A picture of noise as each of ImageNet's classes, in its layout."""
    root = tmp_path_factory.mktemp('imagenet')
    write_noise(root / 'noise.JPEG', 96, 80)
    for part in ('train', 'val'):
        for i in range(1000):
            folder = root / part / f'n{i:08d}'
            folder.mkdir(parents=True)
            (folder / 'noise.JPEG').symlink_to(root / 'noise.JPEG')
    return root


@pytest.fixture
def made_up(monkeypatch, cifar_data, imagenet_data):
    """Where the made-up data of a set are; those of CIFAR have no sums."""
    from mmpretrain.datasets import CIFAR10, CIFAR100

    for cls in (CIFAR10, CIFAR100):
        for name in ('train_list', 'test_list'):
            files = [[file, None] for file, _ in getattr(cls, name)]
            monkeypatch.setattr(cls, name, files)
    roots = dict(ImageNet=imagenet_data)
    return lambda data: roots.get(data, cifar_data)


@pytest.mark.slow
@each_config
def test_trains_an_iteration_and_tests_a_batch(path, made_up, tmp_path):
    cfg = read(path)
    changes = {
        'data_root': str(made_up(cfg.train_dataloader.dataset.type)),
        'work_dir': str(tmp_path),
        'experiment_name': tmp_path.name,
        'train_cfg.max_epochs': 1,
        'default_hooks.checkpoint.save_optimizer': False,
        'optim_wrapper.type': 'OptimWrapper',  # mixed precision needs a GPU
    }
    cfg.optim_wrapper.pop('loss_scale', None)
    for part, indices in dict(train=4, val=-2, test=2).items():
        changes[f'{part}_dataloader.batch_size'] = 4
        changes[f'{part}_dataloader.num_workers'] = 0
        changes[f'{part}_dataloader.persistent_workers'] = False
        changes[f'{part}_dataloader.dataset.indices'] = indices
    cfg.merge_from_dict(move_data(cfg, changes))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    metrics = runner.test()
    for column in ('top-1', 'top-5'):
        assert 0 <= tables.result(metrics, column) <= 100
    assert -100 <= metrics['separation/gap'] <= 100
    loss = runner.model.head.loss_module
    if cfg.get('custom_hooks'):
        assert loss.ce_share == 1.0


@each_config
def test_model_builds(path):
    cfg = read(path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        MODELS.build(cfg.model)
