"""Grids of penalties while a model is trained."""

import sys
import types

import cv2
import pytest
import torch
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from mmpose.registry import HOOKS, VISBACKENDS

import mmpose_lossplus
from mmpose_lossplus.hooks import penalty_visualization_hook as module

from ..factories import NUMBERS, People, people_model

LOSSES = ('KeypointMSELoss', 'AsymmetricMSELoss', 'AnchorLoss')


class Recorder(LocalVisBackend):
    """Keep what is drawn."""

    images = []

    def add_image(self, name, image, step=0, **kwargs):
        self.images.append((name, step, image))
        super().add_image(name, image, step, **kwargs)


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(Recorder, 'images', [])
    VISBACKENDS.register_module(module=Recorder, force=True)
    yield Recorder.images
    VISBACKENDS._module_dict.pop('Recorder')


def runner(work_dir, loss, hooks=(), max_epochs=3, backend='LocalVisBackend'):
    """A runner of two iterations an epoch."""
    return Runner(
        people_model(loss),
        str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=People(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        custom_hooks=list(hooks),
        visualizer=dict(
            type='PoseLocalVisualizer',
            name=f'people_{next(NUMBERS)}',
            vis_backends=[dict(type=backend)],
        ),
        randomness=dict(seed=0),
        default_scope='mmpose',
        experiment_name=f'people_{next(NUMBERS)}',
    )


def hook(**kwargs):
    return dict(type='PenaltyVisualizationHook', **kwargs)


@pytest.mark.parametrize('loss', LOSSES)
def test_the_training_is_the_same(loss, tmp_path):
    """Weights and statistics, bit by bit, with dropout and augmentation."""
    without = runner(tmp_path / 'without', loss).train().state_dict()
    with_hook = runner(tmp_path / 'with', loss, [hook(interval=1)])
    with_hook = with_hook.train().state_dict()
    assert len(list((tmp_path / 'with').glob('*/vis_data/vis_image/*'))) == 6
    assert not list((tmp_path / 'without').glob('*/vis_data/vis_image'))
    assert without.keys() == with_hook.keys()
    assert any('running_mean' in name for name in without)
    for name, value in without.items():
        assert torch.equal(with_hook[name], value), name


def test_files_and_steps(tmp_path, recorded):
    settings = hook(interval=2, num_samples=1, keypoints=['tail', 3])
    runner(tmp_path, 'AnchorLoss', [settings], backend='Recorder').train()
    assert [(name, step) for name, step, _ in recorded] == [
        ('penalty', step) for step in (2, 4, 6)
    ]
    for _, step, image in recorded:
        (file,) = tmp_path.glob(f'*/vis_data/vis_image/penalty_{step}.png')
        assert (cv2.imread(str(file))[..., ::-1] == image).all()
        assert image.std() > 20


def test_samples_and_keypoints(tmp_path, monkeypatch):
    """Those that were asked for, at most those of the batch."""
    seen = []
    monkeypatch.setattr(
        module, 'draw_penalties', lambda rows: seen.append(rows) or []
    )
    backend = types.SimpleNamespace(add_image=lambda *args, **kwargs: None)
    for num_samples, keypoints in ((1, ['tail', 3]), (9, None)):
        settings = hook(
            interval=2, num_samples=num_samples, keypoints=keypoints
        )
        run = runner(tmp_path, 'AnchorLoss', [settings], max_epochs=1)
        monkeypatch.setattr(run.visualizer, 'add_image', backend.add_image)
        run.train()
    one, all_of_batch = seen
    assert [row.label.split('\n')[1].split(' ')[0] for row in one] == [
        *('tail', 'right_ear')
    ]
    assert len(all_of_batch) == 2
    assert list(one[0].penalties) == ['AnchorLoss']
    assert 0 < one[0].prediction.min() < one[0].prediction.max() < 1


def test_other_iterations_cost_nothing(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        module, 'penalty_rows', lambda *args, **kwargs: calls.append(args)
    )
    runner(tmp_path, 'KeypointMSELoss', [hook(interval=7)]).train()
    assert not calls


def test_main_process_only(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    runner(tmp_path, 'KeypointMSELoss', [hook(interval=1)], 1).train()
    assert not list(tmp_path.glob('*/vis_data/vis_image'))


def test_tensorboard(tmp_path, monkeypatch):
    """Its backend gets the grid; the writer is one of this test."""
    images = []

    class Writer:
        def __init__(self, log_dir):
            pass

        def add_image(self, name, image, step, dataformats):
            images.append((name, image.shape[2], step, dataformats))

        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    fake = types.ModuleType('torch.utils.tensorboard')
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', fake)
    backend = 'TensorboardVisBackend'
    runner(tmp_path, 'KeypointMSELoss', [hook(interval=2)], 1, backend).train()
    assert images == [('penalty', 3, 2, 'HWC')]


@pytest.mark.parametrize('loss', LOSSES)
def test_a_diverged_training_goes_on(loss, tmp_path):
    run = runner(tmp_path, loss, [hook(interval=1)], max_epochs=1)
    for parameter in run.model.parameters():
        torch.nn.init.constant_(parameter, float('nan'))
    run.train()
    assert run.iter == 2
    assert len(list(tmp_path.glob('*/vis_data/vis_image/*'))) == 2


def test_targets_that_cannot_be_drawn(tmp_path, monkeypatch):
    """The first grid tells; the model is trained without heatmaps."""
    original = People.__getitem__

    def without_heatmaps(self, index):
        sample = original(self, index)
        del sample['data_samples'].gt_fields
        return sample

    monkeypatch.setattr(People, '__getitem__', without_heatmaps)
    run = runner(tmp_path, 'KeypointMSELoss', [hook(interval=2)])
    run.model.loss = lambda inputs, samples: dict(
        loss=run.model(inputs, None, mode='tensor').mean()
    )
    with pytest.raises(ValueError, match='heatmap per keypoint, got none'):
        run.train()
    assert run.iter == 1


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(interval=0), 'interval must be a positive integer, got 0.'),
        (dict(num_samples=-1), 'num_samples must be a positive integer, got'),
        (dict(interval=1.5), 'interval must be a positive integer, got 1.5.'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HOOKS.build(hook(**kwargs))


def test_before_the_training(tmp_path):
    """What does not fit is told before the first iteration."""
    run = runner(tmp_path, 'KeypointMSELoss', [hook(keypoints=['hand'])])
    with pytest.raises(ValueError, match="nose, tail, .*, got 'hand'"):
        run.train()
    run = runner(tmp_path, 'KeypointOHKMMSELoss', [hook()])
    with pytest.raises(ValueError, match='KeypointOHKMMSELoss does not tell'):
        run.train()
    assert run.iter == 0


def test_exported():
    assert HOOKS.get('PenaltyVisualizationHook') is (
        mmpose_lossplus.PenaltyVisualizationHook
    )
