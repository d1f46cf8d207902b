"""Losses on a command line and in the head of a config."""

import pytest
from mmengine.config import Config
from mmpose.codecs import MSRAHeatmap
from mmpose.registry import MODELS
from torch import nn

from mmpose_lossplus import AnchorLoss, SigmoidConv2d
from mmpose_lossplus.experiments.losses import (
    LOSSES,
    drop_schedules,
    parse_losses,
    set_loss,
)

from ..factories import ROOT

DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
ANCHOR = DEMO.with_name(DEMO.name.replace('_1xb', '_anchor-1xb'))
MPII = ROOT / 'configs/anchor_loss'
MPII /= 'td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256.py'
CPN = ROOT / 'configs/amse/td-hm_cpn50_4xb32-140e_coco-256x192.py'
CPM = ROOT / 'configs/anchor_loss/td-hm_cpm_8xb64-210e_lsp-368x368.py'


def with_loss(config, loss, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    set_loss(cfg, LOSSES.get(str(loss), loss))
    return cfg.model.head


def test_own_losses():
    text = "exp=dict(type='HeatmapWeightingMSELoss', weight_fn='exp')"
    losses = dict(type='HeatmapWeightingMSELoss', weight_fn='exp')
    assert parse_losses(['mse', text]) == dict(mse=LOSSES['mse'], exp=losses)


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('msa', 'msa'),
        ('mse=dict(type="KeypointMSELoss")', 'mse is taken'),
        ('a/b=dict(type="KeypointMSELoss")', 'a/b'),
        ('a=3', 'a=3'),
        ('a=dict(type=', 'a=dict'),
        ('a=dict(type="Nothing")', 'Nothing'),
        ('a=dict(type="ResNet", depth=18)', 'ResNet'),
        ('a=dict(type="AnchorLoss", gamma=-1)', 'gamma.* -1'),
    ],
)
def test_bad_losses(text, named):
    with pytest.raises(ValueError, match=named) as error:
        parse_losses([text])
    assert '\n' not in str(error.value)


def test_loss_in_a_head_of_one_stage():
    head = with_loss(DEMO, 'anchor')
    assert head.loss == dict(type='AnchorLoss')
    built = MODELS.build(head)
    assert isinstance(built.final_layer, SigmoidConv2d)
    assert built.final_layer.prior_prob == 0.01
    # As in the demo's own config of this loss.
    own = Config.fromfile(ANCHOR).model.head.final_layer
    assert head.final_layer == dict(own, kernel_size=1)
    head = with_loss(DEMO, 'fmse')
    assert head.loss == dict(type='FocusedMSELoss')
    assert 'final_layer' not in head


def test_loss_without_logits_loses_the_sigmoid():
    head = with_loss(MPII, 'mse')
    assert head.final_layer == {}
    assert type(MODELS.build(head).multi_final_layers[0]) is nn.Conv2d
    # A final layer that fits stays as it is.
    head = with_loss(MPII, 'bce')
    assert head.final_layer == dict(type='SigmoidConv2d')
    assert head.loss == dict(type='AnchorLoss', gamma=0.0)


def test_losses_of_five_stages_keep_their_factors():
    head = with_loss(CPN, 'bce')
    assert [x.type for x in head.loss] == ['AnchorLoss'] * 5
    weights = [x.get('loss_weight') for x in head.loss]
    assert weights == [0.125] * 4 + [None]
    assert head.final_layer == dict(
        kernel_size=3, padding=1, type='SigmoidConv2d', prior_prob=0.01
    )
    own = dict(type='AsymmetricMSELoss', loss_weight=3.0)
    assert [x.loss_weight for x in with_loss(CPN, own).loss] == [3] * 5


@pytest.mark.parametrize(('config', 'topk'), [(DEMO, 8), (MPII, 8), (CPM, 7)])
def test_half_of_the_keypoints_are_hard(config, topk):
    loss = with_loss(config, 'ohkm').loss
    loss = loss[0] if isinstance(loss, list) else loss
    assert loss.topk == topk
    own = dict(type='KeypointOHKMMSELoss', topk=3)
    loss = with_loss(config, own).loss
    assert (loss[0] if isinstance(loss, list) else loss).topk == 3


@pytest.mark.parametrize(
    ('config', 'changes', 'named'),
    [
        (CPM, {}, 'CPMHead'),
        (DEMO, {'head.type': 'MSPNHead'}, 'MSPNHead'),
        (DEMO, {'head.decoder.type': 'SimCCLabel'}, 'SimCCLabel'),
        (
            DEMO,
            {
                'head.decoder.type': 'UDPHeatmap',
                'head.decoder.heatmap_type': 'combined',
            },
            'combined',
        ),
    ],
)
def test_heads_that_cannot(config, changes, named):
    changes = {f'model.{key}': value for key, value in changes.items()}
    with pytest.raises(ValueError, match=named):
        with_loss(config, 'anchor', **changes)


def test_types_that_are_classes():
    decoder = {'model.head.decoder.type': MSRAHeatmap}
    layer = {'model.head.final_layer': dict(type=SigmoidConv2d)}
    head = with_loss(DEMO, dict(type=AnchorLoss), **decoder, **layer)
    assert head.final_layer == dict(type=SigmoidConv2d)
    assert 'type' not in with_loss(DEMO, 'mse', **decoder, **layer).final_layer


@pytest.mark.parametrize(
    ('loss', 'kept'),
    [
        (dict(type='AnchorLoss'), ['gamma', 'loss_weight']),
        # It says itself what its gamma is.
        (LOSSES['bce'], ['loss_weight']),
        # Its gamma is another one.
        (LOSSES['fmse'], ['loss_weight']),
        (dict(type='KeypointMSELoss', loss_weight=2.0), []),
    ],
)
def test_schedule_is_of_the_own_loss(loss, kept):
    schedule = dict(gamma=[(0, 0.0), (5, 2.0)], loss_weight=[(0, 1.0)])
    cfg = Config.fromfile(ANCHOR)
    other = dict(type='SyncBuffersHook')
    cfg.custom_hooks = [
        other,
        dict(type='LossScheduleHook', schedule=schedule),
    ]
    dropped = drop_schedules(cfg, loss)
    assert sorted([*dropped, *kept]) == ['gamma', 'loss_weight']
    hooks = cfg.custom_hooks[1:]
    assert cfg.custom_hooks[0] == other
    assert [list(hook.schedule) for hook in hooks] == [kept] * bool(kept)
