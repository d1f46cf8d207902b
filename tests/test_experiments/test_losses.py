"""Losses on a command line and in the head of a config."""

import pytest
from mmpose.codecs import MSRAHeatmap
from mmpose.registry import MODELS

from mmpose_lossplus import AnchorLoss, SigmoidConv2d
from mmpose_lossplus.experiments.losses import (
    LOSSES,
    drop_schedules,
    final_layer_part,
    learning_rate,
    parse_losses,
    set_loss,
)

from ..factories import ROOT, read

DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
ANCHOR = DEMO.with_name(DEMO.name.replace('_1xb', '_anchor-1xb'))
MPII = ROOT / 'configs/anchor_loss'
MPII /= 'td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256.py'
HOURGLASS = MPII.with_name(MPII.name.replace('_anchor-1xb', '_1xb'))
CPN = ROOT / 'configs/amse/td-hm_cpn50_4xb32-140e_coco-256x192.py'
CPM = ROOT / 'configs/anchor_loss/td-hm_cpm_8xb64-210e_lsp-368x368.py'


def with_loss(config, loss, **changes):
    """The part that predicts, of a config's model, and losses in a list."""
    cfg = read(config)
    cfg.merge_from_dict(changes)
    set_loss(cfg, LOSSES.get(str(loss), loss))
    loss = cfg.model.head.loss
    return final_layer_part(cfg), loss if isinstance(loss, list) else [loss]


def test_own_losses():
    text = "exp=dict(type='HeatmapWeightingMSELoss', weight_fn='exp')"
    exp = dict(type='HeatmapWeightingMSELoss', weight_fn='exp')
    assert parse_losses(['mse', text]) == dict(mse=LOSSES['mse'], exp=exp)


def test_learning_rates():
    """After an @, of a known loss and of one's own."""
    own = "a@0.1=dict(type='FocusedMSELoss')"
    losses = parse_losses(['mse@3e-4', 'mse', own])
    assert losses['mse@3e-4'] == losses['mse'] == LOSSES['mse']
    assert losses['a@0.1'] == dict(type='FocusedMSELoss')
    rates = [learning_rate(name) for name in losses]
    assert rates == [3e-4, None, 0.1]


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('msa', 'msa'),
        ('mse=dict(type="KeypointMSELoss")', 'mse is taken'),
        ('a/b=dict(type="KeypointMSELoss")', 'a/b'),
        ('a=3', 'a=3'),
        ('mse@fast', 'mse@fast'),
        ('mse@0', 'mse@0'),
        ('mse@nan', 'mse@nan'),
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


# As in the demo's own config of Anchor Loss.
SIGMOID = dict(read(ANCHOR).model.head.final_layer)


@pytest.mark.parametrize(
    ('config', 'name', 'layer'),
    [
        (DEMO, 'anchor', dict(SIGMOID, kernel_size=1)),
        (DEMO, 'fmse', 'unchanged'),
        (MPII, 'mse', {}),
        (MPII, 'bce', 'unchanged'),
        (HOURGLASS, 'anchor', dict(SIGMOID, kernel_size=1)),
        (CPN, 'bce', dict(SIGMOID, kernel_size=3, padding=1)),
    ],
)
def test_loss_has_its_final_layer(config, name, layer):
    part, losses = with_loss(config, name)
    if layer == 'unchanged':
        layer = final_layer_part(read(config)).get('final_layer')
    assert part.get('final_layer') == layer
    for loss in losses:
        assert {**loss, **LOSSES[name]} == loss
    layers = [type(module) for module in MODELS.build(part).modules()]
    assert (SigmoidConv2d in layers) == (name in ('anchor', 'bce'))


def test_losses_of_five_stages_keep_their_factors():
    _, losses = with_loss(CPN, 'bce')
    weights = [x.get('loss_weight') for x in losses]
    assert weights == [0.125] * 4 + [None]
    own = dict(type='AsymmetricMSELoss', loss_weight=3.0)
    assert [x.loss_weight for x in with_loss(CPN, own)[1]] == [3] * 5


@pytest.mark.parametrize(('config', 'topk'), [(DEMO, 8), (MPII, 8), (CPM, 7)])
def test_half_of_the_keypoints_are_hard(config, topk):
    assert with_loss(config, 'ohkm')[1][0].topk == topk
    own = dict(type='KeypointOHKMMSELoss', topk=3)
    assert with_loss(config, own)[1][0].topk == 3


COMBINED = dict(type='UDPHeatmap', heatmap_type='combined')


@pytest.mark.parametrize(
    ('config', 'changes', 'named'),
    [
        (CPM, {}, 'CPMHead'),
        (DEMO, dict(type='MSPNHead'), 'MSPNHead'),
        (DEMO, dict(decoder=dict(type='SimCCLabel')), 'SimCCLabel'),
        (DEMO, dict(decoder=COMBINED), 'combined'),
    ],
)
def test_heads_that_cannot(config, changes, named):
    with pytest.raises(ValueError, match=named):
        with_loss(config, 'anchor', model=dict(head=changes))


def test_types_that_are_classes():
    decoder = {'model.head.decoder.type': MSRAHeatmap}
    layer = {'model.head.final_layer': dict(type=SigmoidConv2d)}
    head, _ = with_loss(DEMO, dict(type=AnchorLoss), **decoder, **layer)
    assert head.final_layer == dict(type=SigmoidConv2d)
    head, _ = with_loss(DEMO, 'mse', **decoder, **layer)
    assert 'type' not in head.final_layer


@pytest.mark.parametrize(
    ('loss', 'kept'),
    [
        (LOSSES['anchor'], ['gamma', 'loss_weight']),
        (LOSSES['bce'], ['loss_weight']),  # says itself what its gamma is
        (LOSSES['fmse'], ['loss_weight']),  # has another gamma
        (dict(type='KeypointMSELoss', loss_weight=2.0), []),
    ],
)
def test_schedule_is_of_the_own_loss(loss, kept):
    schedule = dict(gamma=[(0, 0.0), (5, 2.0)], loss_weight=[(0, 1.0)])
    cfg = read(ANCHOR)
    other = dict(type='SyncBuffersHook')
    hook = dict(type='LossScheduleHook', schedule=schedule)
    cfg.custom_hooks = [other, hook]
    dropped = drop_schedules(cfg, loss)
    assert sorted([*dropped, *kept]) == ['gamma', 'loss_weight']
    assert cfg.custom_hooks[0] == other
    found = [list(hook.schedule) for hook in cfg.custom_hooks[1:]]
    assert found == [kept] * bool(kept)
