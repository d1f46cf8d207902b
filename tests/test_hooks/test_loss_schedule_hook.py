"""Loss parameters that change in the course of a training."""

import json
import re

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmpose.registry import HOOKS

import mmpose_lossplus

from ..factories import run_in_processes, tiny_runner

ANCHOR = dict(type='AnchorLoss', gamma=1.0)
WARM_UP = dict(gamma=[(0, 0.0), (2, 2.0), (3, 0.5)])
LINE = dict(gamma=[[0, 0.0], [4, 2.0]])  # a dump of a config has lists

# The tiny model gives logits without a SigmoidConv2d.
pytestmark = pytest.mark.filterwarnings('ignore:AnchorLoss takes logits')


def hook(**kwargs):
    return dict(type='LossScheduleHook', **kwargs)


class Recorder(mmpose_lossplus.LossScheduleHook):
    """Note what the loss is given, after this hook has run."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        model = getattr(runner.model, 'module', runner.model)
        values = [
            tuple(getattr(loss, name, None) for name in self.schedule)
            for loss in model.head.losses()
        ]
        self.seen.append(values)


def train(work_dir, config=ANCHOR, max_epochs=5, resume=False, **kwargs):
    """Values that the losses had in each iteration; two make an epoch."""
    loop = kwargs.pop('loop', dict(by_epoch=True, max_epochs=max_epochs))
    recorder = Recorder(**kwargs)
    options = dict(custom_hooks=[recorder], train_cfg=loop, resume=resume)
    tiny_runner(work_dir, config, **options).train()
    return recorder.seen


def of_gamma(*values):
    return [[(value,)] for value in values]


@pytest.mark.parametrize(
    ('kwargs', 'values'),
    [
        (dict(schedule=WARM_UP), [0, 0, 0, 0, 2, 2, 0.5, 0.5]),
        (dict(schedule=WARM_UP, by_epoch=False), [0, 0, 2] + [0.5] * 5),
        (
            # After the last pair the value stays.
            dict(schedule=LINE, by_epoch=False, linear=True),
            [0, 0.5, 1, 1.5, 2, 2, 2, 2],
        ),
    ],
    ids=['epochs', 'iterations', 'line'],
)
def test_values(kwargs, values, tmp_path):
    """What the loss has and the log says."""
    assert train(tmp_path, max_epochs=4, **kwargs) == of_gamma(*values)
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = map(json.loads, scalars.read_text('utf-8').splitlines())
    assert [row['gamma'] for row in rows] == values


def test_resumed_in_the_middle(tmp_path):
    """Neither the value of the config nor that of the beginning."""
    train(tmp_path, max_epochs=2, schedule=WARM_UP)
    seen = train(tmp_path, resume=True, schedule=WARM_UP)
    assert seen == of_gamma(2.0, 2.0, 0.5, 0.5, 0.5, 0.5)


class Compiled(Recorder):
    """Ask a loss that was compiled before the first step in each step.

    Not before the weights are made: MMEngine marks each module there, and
    the compiled one passes its marks on.
    """

    def before_train(self, runner):
        head = runner.model.head
        head.loss_module = torch.compile(head.loss_module, backend='eager')
        super().before_train(runner)

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        loss = runner.model.head.loss_module
        maps = torch.rand(1, 2, 8, 8), torch.eye(8).repeat(1, 2, 1, 1)
        eager = getattr(loss, '_orig_mod', loss)
        self.seen.append((loss(*maps), eager(*maps)))


@pytest.fixture
def dynamo(monkeypatch):
    from torch import _dynamo

    _dynamo.reset()
    monkeypatch.setattr(_dynamo.config, 'guard_nn_modules', False)
    yield _dynamo.config
    _dynamo.reset()


def test_a_compiled_loss_changes(tmp_path, dynamo):
    recorder = Compiled(schedule=WARM_UP)
    runner = tiny_runner(tmp_path, ANCHOR, 4, custom_hooks=[recorder])
    runner.train()
    assert dynamo.guard_nn_modules
    for compiled, eager in recorder.seen:
        torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize('cfg', [{}, dict(compile=dict(backend='eager'))])
def test_no_flag_of_a_compiler_without_one(cfg, tmp_path, dynamo):
    settings = hook(schedule=WARM_UP)
    tiny_runner(tmp_path, ANCHOR, 1, custom_hooks=[settings], cfg=cfg).train()
    assert dynamo.guard_nn_modules == bool(cfg)


def in_a_model_wrapper(rank, number, folder):
    recorder = Recorder(schedule=WARM_UP)
    runner = tiny_runner(folder, ANCHOR, custom_hooks=[recorder])
    runner.model = MMDistributedDataParallel(runner.model)
    runner.train()
    assert recorder.seen == of_gamma(0.0, 0.0, 0.0, 0.0, 2.0, 2.0)


def test_in_a_model_wrapper(tmp_path):
    run_in_processes(in_a_model_wrapper, 1, tmp_path)


@pytest.mark.parametrize(
    'schedule',
    [
        {},
        [(0, 1.0)],
        dict(gamma=[]),
        dict(gamma=2.0),
        dict(gamma=[(1, 2.0)]),
        dict(gamma=[(0, 1), (0, 2)]),
        dict(gamma=[(0, 1), (5, 2), (3, 1)]),
        dict(gamma=[(0, 1), (0.5, 2)]),
        dict(gamma=[(0, 1, 2)]),
        dict(gamma=[(0, 'x')]),
        dict(gamma=[(0, float('nan'))]),
        dict(gamma=[(0, float('inf'))]),
    ],
    ids=str,
)
def test_bad_schedule(schedule):
    received = dict(schedule).get('gamma', schedule)
    with pytest.raises(ValueError, match=re.escape(f'got {received!r}.')):
        HOOKS.build(hook(schedule=schedule))


def test_several_losses_and_parameters(tmp_path):
    """Each loss changes as far as it has the parameters."""
    loss = [dict(type='FocusedMSELoss'), dict(type='KeypointMSELoss')]
    schedule = dict(
        gamma=[(0, 1.0), (1, 0.0)], loss_weight=[(0, 1.0), (2, 0.5)]
    )
    assert train(tmp_path, loss, max_epochs=3, schedule=schedule)[::2] == [
        [(1.0, 1.0), (None, 1.0)],
        [(0.0, 1.0), (None, 1.0)],
        [(0.0, 0.5), (None, 0.5)],
    ]


@pytest.mark.parametrize(
    ('loss', 'place', 'first'),
    [
        (dict(type='MultipleLossWrapper', losses=[ANCHOR] * 2), '', 0.25),
        (dict(type='CombinedLoss', losses=dict(a=ANCHOR, b=ANCHOR)), '', 0.25),
        ([ANCHOR, ANCHOR], '', 0.25),
        ([ANCHOR, ANCHOR], '.1', 1.0),
    ],
    ids=['MultipleLossWrapper', 'CombinedLoss', 'list', 'one of a list'],
)
def test_wrapped_losses(loss, place, first, tmp_path):
    place = f'head.loss_module{place}'
    settings = dict(schedule=dict(gamma=[(0, 0.25)]), loss=place)
    seen = train(tmp_path, loss, max_epochs=1, **settings)
    assert seen == [[(first,), (0.25,)]] * 2


NEGATIVE = dict(gamma=[(0, 1.0), (3, -1.0)])
# Each value is good by itself.
CROSSING = dict(
    anchor_threshold=[(0, 0.5), (2, 0.1)], background_threshold=[(0, 0.3)]
)


@pytest.mark.parametrize(
    ('loss', 'kwargs', 'message'),
    [
        (dict(type='AsymmetricMSELoss'), dict(schedule=WARM_UP), "'gamma'"),
        # Not a number, and not an argument.
        (ANCHOR, dict(schedule=dict(use_target_weight=[(0, 1)])), 'use_'),
        (ANCHOR, dict(schedule=dict(training=[(0, 1)])), "'training'"),
        (ANCHOR, dict(schedule=WARM_UP, loss='head.loss'), "'head.loss'"),
        (ANCHOR, dict(schedule=NEGATIVE), 'AnchorLoss .* epoch 3: .*-1'),
        (ANCHOR, dict(schedule=CROSSING, by_epoch=False), 'tion 2: .*0.3'),
    ],
)
def test_refused_before_the_first_iteration(loss, kwargs, message, tmp_path):
    runner = tiny_runner(tmp_path, loss, custom_hooks=[hook(**kwargs)])
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert runner.iter == 0


def test_iteration_based_training(tmp_path):
    """There are no epochs to count."""
    loop = dict(by_epoch=False, max_iters=2)
    seen = train(tmp_path, schedule=WARM_UP, by_epoch=False, loop=loop)
    assert seen == of_gamma(0.0, 0.0)
    with pytest.raises(ValueError, match='by_epoch=False'):
        train(tmp_path, schedule=WARM_UP, loop=loop)
