"""File names are promises, and every config builds what it says."""

import ast
import re
import subprocess
import sys

import pytest
from mmengine.config import Config
from mmpose.registry import MODELS

from .conftest import ROOT

CONFIGS = sorted(
    path
    for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name != '_base_'
)
BACKBONES = {
    'res50': dict(type='ResNet', depth=50),
    'hourglass2': dict(type='HourglassNet', num_stacks=2),
    'hourglass8': dict(type='HourglassNet', num_stacks=8),
    'mobilenetv3': dict(type='MobileNetV3', arch='big'),
}
HEADS = {
    'dwattn': 'DepthwiseDeconvAttentionHead',
    None: ('HeatmapHead', 'CPMHead'),
}
LOSSES = {
    'amse': 'AsymmetricMSELoss',
    'rmse': 'RegularizedMSELoss',
    'fmse': 'FocusedMSELoss',
    'hmw': 'HeatmapWeightingMSELoss',
    'anchor': 'AnchorLoss',
    None: 'KeypointMSELoss',
}
DATA = {'coco': 'CocoDataset', 'mpii': 'MpiiDataset', 'demo': 'CocoDataset'}
NAME = re.compile(
    r'td-hm_(?P<backbone>[a-z0-9]+)(-(?P<head>[a-z]+))?'
    r'_((?P<loss>[a-z]+)-)?(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e'
    r'_(?P<data>[a-z]+)-(?P<height>\d+)x(?P<width>\d+)'
)

each_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)


def plain(codec):
    return {key: codec[key] for key in codec if key != '_scope_'}


def covers(cfg, expected):
    return {key: cfg[key] for key in expected} == expected


@each_config
def test_name_matches_content(path):
    name = NAME.fullmatch(path.stem)
    assert name, f'{path.stem} does not follow the grammar of names'
    cfg = Config.fromfile(path)
    model = cfg.model
    assert covers(model.backbone, BACKBONES[name['backbone']])
    assert model.head.type in HEADS[name['head']]
    assert model.head.loss.type == LOSSES[name['loss']]
    batch = int(name['batch'])
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == batch * int(name['gpus'])
    assert cfg.train_cfg.max_epochs == int(name['epochs'])
    assert cfg.train_dataloader.dataset.type == DATA[name['data']]
    size = (int(name['width']), int(name['height']))
    assert cfg.codec.input_size == size


@each_config
def test_one_codec(path):
    """A codec that reached only some of its places trains on nonsense."""
    cfg = Config.fromfile(path)
    steps = cfg.train_dataloader.dataset.pipeline
    encoders = [s.encoder for s in steps if s.type == 'GenerateTarget']
    codec = plain(cfg.codec)
    assert [plain(encoder) for encoder in encoders] == [codec]
    assert plain(cfg.model.head.decoder) == codec
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        sizes = [
            step.input_size
            for step in loader.dataset.pipeline
            if step.type == 'TopdownAffine'
        ]
        assert sizes == [cfg.codec.input_size]
    if cfg.model.head.type == 'CPMHead':
        assert cfg.model.head.num_stages == cfg.model.backbone.num_stacks


@each_config
def test_schedule_fits_the_training(path):
    cfg = Config.fromfile(path)
    for schedule in cfg.param_scheduler:
        for milestone in schedule.get('milestones', []):
            assert milestone < cfg.train_cfg.max_epochs
        if schedule.type == 'CosineAnnealingLR':
            assert schedule.T_max == cfg.train_cfg.max_epochs


@each_config
def test_final_layer_fits_the_loss(path):
    head = Config.fromfile(path).model.head
    loss = MODELS.get(head.loss.type)
    takes_logits = getattr(loss, 'takes_logits', False)
    final_layer = head.get('final_layer', {}).get('type', 'Conv2d')
    assert takes_logits == (final_layer == 'SigmoidConv2d')


@each_config
def test_docstring_and_length(path):
    """Short, or with a reason for its length."""
    source = path.read_text()
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring
    code = source.replace(docstring, '').strip().splitlines()
    if len(code) > 18:  # 15 and the quotes of the docstring
        assert 'Longer than its siblings because' in docstring


def test_stems_are_unique():
    """mim finds configs by base name."""
    stems = [path.stem for path in CONFIGS]
    assert len(stems) == len(set(stems))
    assert not [stem for stem in stems if '.' in stem]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_model_builds(path):
    cfg = Config.fromfile(path)
    cfg.model.backbone.init_cfg = None
    MODELS.build(cfg.model)


def test_loading_a_config_registers_everything(tmp_path):
    """The import in the base file is enough, from any folder."""
    code = (
        'import sys; from mmengine.config import Config;'
        'cfg = Config.fromfile(sys.argv[1]);'
        'from mmpose.registry import MODELS;'
        'print(MODELS.get(cfg.model.head.loss.type).__module__)'
    )
    config = next(p for p in CONFIGS if '_amse-' in p.stem)
    module = subprocess.run(
        [sys.executable, '-c', code, str(config)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()[-1]
    assert module.startswith('mmpose_lossplus.')


def test_learning_rate_of_the_papers():
    """The schedules as printed, by the epochs at which they change."""
    import torch
    from mmpose.registry import PARAM_SCHEDULERS

    published = {
        'amse': {0: 1e-3, 89: 1e-3, 90: 1e-4, 119: 1e-4, 120: 1e-5},
        'fmse': {0: 1e-6, 9: 1e-6, 10: 1e-3, 100: 1e-5, 150: 1e-6, 199: 1e-6},
        'anchor': {
            0: 1e-3,
            99: 1e-3,
            100: 5e-4,
            120: 1e-4,
            140: 5e-5,
            160: 1e-5,
        },
        'hmw': {169: 5e-4, 170: 5e-5, 200: 5e-6},
    }
    for loss, rates in published.items():
        path = next(
            p
            for p in CONFIGS
            if f'_{loss}-' in p.stem and p.parent.name != 'demo'
        )
        cfg = Config.fromfile(path)
        optimizer = torch.optim.SGD(
            [torch.zeros(1)], lr=cfg.optim_wrapper.optimizer.lr
        )
        schedulers = [
            PARAM_SCHEDULERS.build(
                s, default_args=dict(optimizer=optimizer, epoch_length=1)
            )
            for s in cfg.param_scheduler
            if s.get('by_epoch', True)
        ]
        for epoch in range(cfg.train_cfg.max_epochs):
            if epoch in rates:
                rate = optimizer.param_groups[0]['lr']
                assert rate == pytest.approx(rates[epoch]), (loss, epoch)
            for scheduler in schedulers:
                scheduler.step()
