"""Grids of penalties while a model is trained."""

import cv2
import pytest
import torch
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from mmpose_lossplus.hooks import penalty_visualization_hook as module

from ..factories import NUMBERS, People, people_model

LOSSES = ('KeypointMSELoss', 'AsymmetricMSELoss', 'AnchorLoss')


def runner(work_dir, loss, hooks=(), max_epochs=3):
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
            vis_backends=[dict(type='LocalVisBackend')],
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


@pytest.mark.parametrize(
    ('num_samples', 'keypoints', 'rows'),
    [(1, ['tail', 3], ['tail', 'right_ear']), (9, None, [None, None])],
)
def test_samples_keypoints_and_files(
    num_samples, keypoints, rows, tmp_path, monkeypatch
):
    """Those that were asked for, at most those of the batch."""
    seen = []
    draw = module.draw_penalties
    monkeypatch.setattr(
        module, 'draw_penalties', lambda rows: seen.append(rows) or draw(rows)
    )
    settings = hook(interval=2, num_samples=num_samples, keypoints=keypoints)
    runner(tmp_path, 'AnchorLoss', [settings], max_epochs=2).train()
    assert len(seen) == 2
    for step, drawn in zip((2, 4), seen):
        file = f'*/vis_data/vis_image/penalty_{step}.png'
        (file,) = tmp_path.glob(file)
        assert (cv2.imread(str(file))[..., ::-1] == draw(drawn)).all()
        assert list(drawn[0].penalties) == ['AnchorLoss']
        assert 0 < drawn[0].prediction.min() < drawn[0].prediction.max() < 1
        names = [row.label.split('\n')[1].split(' ')[0] for row in drawn]
        assert all(b in (None, a) for a, b in zip(names, rows))
        assert len(names) == len(rows)


def test_main_process_only(monkeypatch):
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda *args: 1)
    built = HOOKS.build(hook(interval=1))
    built.after_train_iter(runner=None, batch_idx=0, data_batch=None)


@pytest.mark.parametrize('loss', LOSSES)
def test_a_diverged_training_goes_on(loss, tmp_path):
    run = runner(tmp_path, loss, [hook(interval=1)], max_epochs=1)
    for parameter in run.model.parameters():
        torch.nn.init.constant_(parameter, float('nan'))
    run.train()
    assert run.iter == 2
    assert len(list(tmp_path.glob('*/vis_data/vis_image/*'))) == 2


@pytest.mark.parametrize(
    'kwargs', [dict(interval=0), dict(num_samples=-1), dict(interval=1.5)]
)
def test_bad_arguments(kwargs):
    ((name, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f'{name} .*{value}'):
        HOOKS.build(hook(**kwargs))


@pytest.mark.parametrize(
    ('loss', 'kwargs', 'message'),
    [
        ('KeypointMSELoss', dict(keypoints=['hand']), "'hand'"),
        ('KeypointOHKMMSELoss', {}, 'KeypointOHKMMSELoss'),
    ],
)
def test_refused_before_the_training(loss, kwargs, message, tmp_path):
    run = runner(tmp_path, loss, [hook(**kwargs)])
    with pytest.raises(ValueError, match=message):
        run.train()
    assert run.iter == 0
