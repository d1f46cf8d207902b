"""Configs of a comparison: what is shared, stretched, scored and refused."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmpose.registry import MODELS

from mmpose_lossplus import SigmoidConv2d
from mmpose_lossplus.experiments import comparison
from mmpose_lossplus.experiments.losses import LOSSES, final_layer_part
from mmpose_lossplus.experiments.scores import take_score

from ..factories import CONFIGS, ROOT

DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'


def changed(tmp_path, text, name='any_1xb16.py'):
    config = tmp_path / name
    config.write_text(f'_base_ = {str(DEMO)!r}\n{text}\n')
    return config


def shared(config=DEMO, options=(), **kwargs):
    return comparison.shared_config(str(config), list(options), **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda p: p.stem)
def test_every_config_takes_every_loss_it_can(config):
    losses = dict(LOSSES)
    if config.stem.endswith('ms6-256x256'):
        with pytest.raises(ValueError, match='MultiScaleTTA'):
            shared(config)
        return
    cfg = shared(config)
    assert take_score(cfg) in ('coco/AP', 'PCK', 'lsp/PCK')
    if '_cpm_' in config.stem:  # its backbone predicts
        with pytest.raises(ValueError, match='no final layer'):
            comparison.loss_configs(losses, cfg)
        for name in ('anchor', 'bce', 'focal'):
            del losses[name]
    cfgs, notes = comparison.loss_configs(losses, cfg)
    assert notes == []
    for name, cfg in cfgs.items():
        with torch.device('meta'):  # no numbers, which take most of the time
            part = MODELS.build(final_layer_part(cfg))
        layers = [type(m) for m in part.modules()]
        logits = name in ('anchor', 'bce', 'focal')
        assert (SigmoidConv2d in layers) == logits
        assert len(cfg.val_evaluator) == 7


def test_what_all_trainings_share():
    cfg = shared(epochs=15)
    # Every third of the training, as in the config.
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=15, val_interval=5)
    assert cfg.model.test_cfg.output_heatmaps
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == 50  # iterations
    assert cosine.T_max == 15
    assert 'mmpose_lossplus' in cfg.custom_imports.imports


@pytest.mark.parametrize(
    'hooks', ['{}', 'dict(_delete_=True)', 'dict(checkpoint=None)', 'None']
)
def test_checkpoint_hook(tmp_path, hooks):
    cfg = shared(changed(tmp_path, f'default_hooks = {hooks}'))
    take_score(cfg)
    hook = dict(cfg.default_hooks.checkpoint)
    hook.pop('_scope_', None)
    kept = dict(interval=1, by_epoch=True, max_keep_ckpts=2)
    assert hook == dict(kept, type='CheckpointHook')


@pytest.mark.parametrize(
    ('option', 'named'),
    [
        ('train_cfg.by_epoch=False', 'by_epoch.*False'),
        ('val_evaluator=None', 'val_evaluator'),
    ],
)
def test_configs_that_cannot_be_compared(option, named):
    with pytest.raises(ValueError, match=named):
        shared(options=[option])


@pytest.mark.parametrize(
    ('name', 'options', 'size'),
    [
        ('any_8xb32.py', [], 256),
        ('any_8xb32.py', ['auto_scale_lr.base_batch_size=7'], 7),
        ('any.py', [], 512),
    ],
)
def test_batch_that_the_rate_is_for(tmp_path, name, options, size):
    text = 'auto_scale_lr = dict(base_batch_size=512)'
    cfg = shared(changed(tmp_path, text, name), options)
    assert cfg.auto_scale_lr.base_batch_size == size


def test_types_that_are_classes(tmp_path):
    """As in MMEngine's pure-Python configs."""
    cfg = Config.fromfile(DEMO)
    cfg.default_hooks.checkpoint.save_best = None
    cfg.val_evaluator = [dict(type='PCKAccuracy'), dict(type='SideSwaps')]
    text = cfg.pretty_text
    config = tmp_path / 'any_1xb16.py'
    for name, module in dict(
        CheckpointHook='mmengine.hooks',
        MSRAHeatmap='mmpose.codecs',
        PCKAccuracy='mmpose.evaluation.metrics',
        SideSwaps='mmpose_lossplus',
        DepthwiseDeconvAttentionHead='mmpose_lossplus',
    ).items():
        text = text.replace(f"type='{name}'", f'type={name}')
        text = f'from {module} import {name}\n{text}'
    config.write_text(text)
    cfg = shared(config)
    assert take_score(cfg) == 'PCK'
    cfgs, _ = comparison.loss_configs(LOSSES, cfg)
    config.write_text(cfgs['mse'].pretty_text)
    written = Config.fromfile(config)
    hook = dict(written.default_hooks.checkpoint)
    assert comparison.component_class(hook, comparison.HOOKS) is CheckpointHook
    # SideSwaps is there once.
    types = [x.type.split('.')[-1] for x in written.val_evaluator]
    assert types[0] == 'PCKAccuracy'
    assert len(types) == len(set(types)) == 7


GAMMA = dict(gamma=[(0, 1), (9, 2)])


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (dict(type='MultiStepLR', milestones=[20, 40]), [10, 20]),
        (dict(type='MultiStepLR', milestones=[20], by_epoch=False), [20]),
        (dict(type='mmdet.PipelineSwitchHook', switch_epoch=50), 25),
        (dict(type='YOLOXPoseModeSwitchHook', num_last_epochs=20), 10),
        (dict(type='EMAHook', begin_epoch=10, interval=4), 5),
        (dict(type='RTMOModeSwitchHook', epoch_attributes={40: 1}), {20: 1}),
        (
            dict(type='LossScheduleHook', schedule=GAMMA),
            dict(gamma=[(0, 1), (4, 2)]),
        ),
        (dict(type='LossScheduleHook', schedule=GAMMA, by_epoch=False), GAMMA),
    ],
)
def test_schedules_are_stretched(given, expected):
    key = 'param_scheduler' if 'milestones' in given else 'custom_hooks'
    _, name, *rest = given
    for parts in ([given], given)[: 2 if key == 'param_scheduler' else 1]:
        cfg = Config({'train_cfg': dict(max_epochs=60), key: parts})
        comparison.stretch_schedule(cfg, 30)
        found = cfg[key] if parts is given else cfg[key][0]
        assert found[name] == expected
        assert all(found[other] == given[other] for other in rest)


def test_schedule_of_another_loss():
    hook = dict(type='LossScheduleHook', schedule=dict(gamma=[(0, 1.0)]))
    cfg = shared()
    cfg.model.head.loss = dict(type='AnchorLoss')
    cfg.custom_hooks = [hook]
    losses = {name: LOSSES[name] for name in ('mse', 'anchor')}
    cfgs, (note,) = comparison.loss_configs(losses, cfg)
    assert cfgs['mse'].custom_hooks == []
    assert cfgs['anchor'].custom_hooks == [hook]
    assert re.search('mse.*gamma', note)


def test_trainings_side_by_side(monkeypatch):
    monkeypatch.setattr(comparison.os, 'environ', {})
    monkeypatch.setattr(comparison.os, 'cpu_count', lambda: 8)
    monkeypatch.setattr(comparison.torch.cuda, 'device_count', lambda: 2)
    assert comparison.environment(0, 1) == {}
    for slot, gpu in enumerate('010'):
        env = dict(OMP_NUM_THREADS='2', CUDA_VISIBLE_DEVICES=gpu)
        assert comparison.environment(slot, 3) == env
    given = dict(OMP_NUM_THREADS='3', CUDA_VISIBLE_DEVICES='5,7')
    monkeypatch.setattr(comparison.os, 'environ', given)
    expected = dict(given, CUDA_VISIBLE_DEVICES='7')
    assert comparison.environment(1, 2) == expected


def with_people(root, *places):
    """The demo with four boxes, all keypoints of each at one place in it."""
    file = root / 'annotations/person_keypoints_val2017.json'
    content = json.loads(file.read_text())
    for ann, place in zip(content['annotations'], places):
        ann.update(bbox=[20, 20, 20, 10], area=100)
        ann['keypoints'] = [20 + 20 * place, 20 + 10 * place, 2] * 17
    path = root / 'four.json'
    path.write_text(json.dumps(content))
    cfg = shared(options=[f'data_root={root}/'])
    cfg.val_dataloader.dataset.ann_file = path.name
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.val_evaluator.ann_file = str(path)
    return cfg


def test_constant_prediction(coco_data):
    """Three of four people are where the median is, PCK forgives no more."""
    cfg = with_people(coco_data, 0.5, 0.5, 0.5, 1.0)
    cfg.val_evaluator = dict(type='PCKAccuracy', thr=0.2)
    expected = dict(PCK=pytest.approx(0.75))
    assert comparison.constant_scores(cfg) == expected
    # That of several data sets tells them apart by name, and stays as it is.
    cfg.val_evaluator = dict(
        type='MultiDatasetEvaluator',
        metrics=[cfg.val_evaluator],
        datasets=[dict(type='CocoDataset')],
    )
    cfg.default_hooks.checkpoint.save_best = None
    assert take_score(cfg) == 'PCK'
    assert comparison.constant_scores(cfg)['PCK'] == expected['PCK']
    cfgs, _ = comparison.loss_configs(dict(mse=LOSSES['mse']), cfg)
    assert cfgs['mse'].val_evaluator == cfg.val_evaluator
