"""Loss parameters that change in the course of a training."""

import json

import numpy as np
import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmpose.registry import HOOKS

import mmpose_lossplus

from ..factories import tiny_runner

ANCHOR = dict(type='AnchorLoss', gamma=1.0)
WARM_UP = dict(gamma=[(0, 0.0), (2, 2.0), (3, 0.5)])


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
        names = list(self.schedule)
        self.seen.append(
            [
                tuple(getattr(loss, name, None) for name in names)
                for loss in model.head.losses()
            ]
        )


def train(work_dir, config=ANCHOR, max_epochs=5, resume=False, **kwargs):
    """Values that the losses had in each iteration; two make an epoch."""
    recorder = Recorder(**kwargs)
    runner = tiny_runner(
        work_dir, config, max_epochs, resume=resume, custom_hooks=[recorder]
    )
    runner.train()
    return recorder.seen


def of_gamma(*values):
    return [[(value,)] for value in values]


def test_steps_by_epoch(tmp_path):
    assert train(tmp_path, schedule=WARM_UP) == of_gamma(
        *(0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5)
    )


def test_steps_by_iteration(tmp_path):
    seen = train(tmp_path, max_epochs=2, schedule=WARM_UP, by_epoch=False)
    assert seen == of_gamma(0.0, 0.0, 2.0, 0.5)


def test_line_by_iteration(tmp_path):
    seen = train(
        tmp_path,
        max_epochs=3,
        schedule=dict(gamma=[(0, 0.0), (4, 2.0)]),
        by_epoch=False,
        linear=True,
    )
    # After the last pair the value stays.
    assert seen == of_gamma(0.0, 0.5, 1.0, 1.5, 2.0, 2.0)


def test_resumed_in_the_middle(tmp_path):
    """Neither the value of the config nor that of the beginning."""
    train(tmp_path, max_epochs=2, schedule=WARM_UP)
    seen = train(tmp_path, resume=True, schedule=WARM_UP)
    assert seen == of_gamma(2.0, 2.0, 0.5, 0.5, 0.5, 0.5)


def test_values_decide_the_training(tmp_path):
    """gamma=0 all the time is the loss with gamma=0."""

    def weights(name, gamma, *hooks):
        loss = dict(ANCHOR, gamma=gamma)
        runner = tiny_runner(tmp_path / name, loss, custom_hooks=list(hooks))
        return runner.train().head.conv.weight

    zero = weights('zero', 0.0)
    scheduled = weights('hook', 2.0, hook(schedule=dict(gamma=[(0, 0.0)])))
    assert torch.equal(scheduled, zero)
    assert not torch.equal(weights('two', 2.0), zero)


@pytest.mark.skipif(not hasattr(torch, 'compile'), reason='needs torch >= 2.0')
def test_a_compiled_loss_changes(tmp_path):
    class Compiled(Recorder):
        def after_train_iter(self, runner, batch_idx, data_batch, outputs):
            loss = runner.model.head.loss_module
            if not self.seen:
                torch._dynamo.reset()
                self.compiled = torch.compile(loss, backend='eager')
            maps = torch.rand(1, 2, 8, 8), torch.eye(8).repeat(1, 2, 1, 1)
            self.seen.append((self.compiled(*maps), loss(*maps)))

    recorder = Compiled(schedule=WARM_UP)
    tiny_runner(tmp_path, ANCHOR, 4, custom_hooks=[recorder]).train()
    for compiled, eager in recorder.seen:
        torch.testing.assert_close(compiled, eager)


def test_logged(tmp_path):
    train(tmp_path, max_epochs=3, schedule=WARM_UP)
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [row['gamma'] for row in rows] == [0.0, 0.0, 0.0, 0.0, 2.0, 2.0]
    (log,) = tmp_path.glob('*/*.log')
    lines = [x for x in log.read_text().splitlines() if 'Epoch(train)' in x]
    assert ['gamma: 2.0000' in line for line in lines] == [False] * 4 + [
        True
    ] * 2


def test_several_losses_and_parameters(tmp_path):
    """Each loss changes as far as it has the parameters."""
    loss = [
        dict(type='FocusedMSELoss'),
        dict(type='AsymmetricMSELoss', loss_weight=3.0),
        dict(type='KeypointMSELoss'),
    ]
    schedule = dict(
        gamma=[(0, 1.0), (1, 0.0)], loss_weight=[(0, 1.0), (2, 0.5)]
    )
    seen = train(tmp_path, loss, max_epochs=3, schedule=schedule)
    assert seen[::2] == [
        [(1.0, 1.0), (None, 1.0), (None, 1.0)],
        [(0.0, 1.0), (None, 1.0), (None, 1.0)],
        [(0.0, 0.5), (None, 0.5), (None, 0.5)],
    ]


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='MultipleLossWrapper', losses=[ANCHOR, ANCHOR]),
        dict(type='CombinedLoss', losses=dict(a=ANCHOR, b=ANCHOR)),
        [ANCHOR, ANCHOR],
    ],
    ids=['MultipleLossWrapper', 'CombinedLoss', 'list'],
)
def test_wrapped_losses(loss, tmp_path):
    seen = train(
        tmp_path, loss, max_epochs=1, schedule=dict(gamma=[(0, 0.25)])
    )
    assert seen == [[(0.25,), (0.25,)]] * 2


def test_one_of_several_losses(tmp_path):
    seen = train(
        tmp_path,
        [ANCHOR, ANCHOR],
        max_epochs=1,
        schedule=dict(gamma=[(0, 0.25)]),
        loss='head.loss_module.1',
    )
    assert seen == [[(1.0,), (0.25,)]] * 2


@pytest.fixture
def one_process_group():
    torch.distributed.init_process_group(
        'gloo', store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures('one_process_group')
def test_in_a_model_wrapper(tmp_path):
    recorder = Recorder(schedule=WARM_UP)
    runner = tiny_runner(tmp_path, ANCHOR, custom_hooks=[recorder])
    runner.model = MMDistributedDataParallel(runner.model)
    runner.train()
    assert recorder.seen == of_gamma(0.0, 0.0, 0.0, 0.0, 2.0, 2.0)


def test_nothing_happens_in_a_test(tmp_path):
    """A model without such a loss can be tested with the same hooks."""
    runner = tiny_runner(
        tmp_path,
        dict(type='KeypointMSELoss'),
        custom_hooks=[hook(schedule=WARM_UP)],
    )
    runner.call_hook('before_run')
    runner.call_hook('before_test')
    assert not hasattr(runner.model.head.loss_module, 'gamma')


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(schedule={}), r'schedule must be a dict .* got \{\}\.'),
        (dict(schedule=[(0, 1.0)]), r'must be a dict .* got \[\(0, 1.0\)\]'),
        (dict(schedule=dict(gamma=[])), r'of gamma must be pairs .*got \[\]'),
        (dict(schedule=dict(gamma=2.0)), r'of gamma must be pairs .*got 2.0'),
        (dict(schedule=dict(gamma=[(1, 2.0)])), r'got \[\(1, 2.0\)\]'),
        (dict(schedule=dict(gamma=[(0, 1), (0, 2)])), 'must be pairs'),
        (dict(schedule=dict(gamma=[(0, 1), (5, 2), (3, 1)])), 'growing'),
        (dict(schedule=dict(gamma=[(0, 1), (0.5, 2)])), 'must be pairs'),
        (dict(schedule=dict(gamma=[(0, 1, 2)])), 'must be pairs'),
        (dict(schedule=dict(gamma=[(0, 'x')])), "got \\[\\(0, 'x'\\)\\]"),
        (dict(schedule=dict(gamma=[(0, True)])), 'and a number'),
        (dict(schedule=dict(gamma=[(0, float('nan'))])), 'and a number'),
        (dict(schedule=dict(gamma=[(0, float('inf'))])), 'and a number'),
    ],
)
def test_bad_schedule(kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        HOOKS.build(hook(**kwargs))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('loss', 'kwargs', 'message'),
    [
        (
            dict(type='AsymmetricMSELoss'),
            dict(schedule=WARM_UP),
            "no loss with a number 'gamma' in head.loss_module, which is "
            'AsymmetricMSELoss',
        ),
        (
            # An attribute, but nothing that a user can set.
            dict(type='AnchorLoss'),
            dict(schedule=dict(_first_batch_checked=[(0, 1)])),
            "no loss with a number '_first_batch_checked'",
        ),
        (
            # Not a number.
            dict(type='AsymmetricMSELoss'),
            dict(schedule=dict(form=[(0, 1.0)])),
            "no loss with a number 'form'",
        ),
        (
            ANCHOR,
            dict(schedule=WARM_UP, loss='head.loss'),
            "found no loss 'head.loss' in TinyModel",
        ),
        (
            ANCHOR,
            dict(schedule=dict(gamma=[(0, 1.0), (3, -1.0)])),
            'AnchorLoss refuses what LossScheduleHook sets at epoch 3: gamma '
            'must be non-negative',
        ),
        (
            # Each value is good by itself.
            ANCHOR,
            dict(
                schedule=dict(
                    anchor_threshold=[(0, 0.5), (2, 0.1)],
                    background_threshold=[(0, 0.3)],
                ),
                by_epoch=False,
            ),
            'at iteration 2: background_threshold must not exceed',
        ),
    ],
)
def test_refused_before_the_first_iteration(loss, kwargs, message, tmp_path):
    runner = tiny_runner(tmp_path, loss, custom_hooks=[hook(**kwargs)])
    with pytest.raises(ValueError, match='LossScheduleHook') as error:
        runner.train()
    assert message in str(error.value)
    assert '\n' not in str(error.value)
    assert runner.iter == 0


def test_epochs_that_nobody_counts(tmp_path):
    options = dict(train_cfg=dict(by_epoch=False, max_iters=2))
    runner = tiny_runner(
        tmp_path, ANCHOR, custom_hooks=[hook(schedule=WARM_UP)], **options
    )
    with pytest.raises(ValueError, match='set by_epoch=False'):
        runner.train()


def test_works_in_an_iteration_based_training(tmp_path):
    recorder = Recorder(schedule=WARM_UP, by_epoch=False)
    runner = tiny_runner(
        tmp_path,
        ANCHOR,
        custom_hooks=[recorder],
        train_cfg=dict(by_epoch=False, max_iters=2),
    )
    runner.train()
    assert recorder.seen == of_gamma(0.0, 0.0)


def test_config_survives_its_dump(tmp_path):
    """As a list of lists, which is what a dumped config has."""
    built = HOOKS.build(hook(schedule=dict(gamma=[[0, 0.0], [4, 2.0]])))
    assert [built.value('gamma', t) for t in (0, 3, 4, 9)] == [0, 0, 2, 2]
    built.linear = True
    np.testing.assert_allclose(
        [built.value('gamma', t) for t in (0, 1, 4, 9)], [0, 0.5, 2, 2]
    )
