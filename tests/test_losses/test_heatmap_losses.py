import pytest
import torch
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS

import mmpose_lossplus as lossplus
from mmpose_lossplus.losses import functional as F

pytestmark = pytest.mark.filterwarnings('ignore:.*takes logits')

LOSSES = {
    'AsymmetricMSELoss': [dict(form=form) for form in F.AMSE_FORMS]
    + [dict(reference=0.1), dict(reference=lambda s, g: 0.5 * g)],
    'RegularizedMSELoss': [dict()],
    'FocusedMSELoss': [dict(), dict(gamma=2, delta=0.01)],
    'HeatmapWeightingMSELoss': [
        *(dict(weight_fn=name) for name in F.WEIGHT_FNS),
        dict(weight_fn=None),
        dict(weight_fn=torch.sqrt),
    ],
    'AnchorLoss': [dict(), dict(gamma=0.5), dict(background_threshold=0.1)],
    'HeatmapFocalLoss': [dict(), dict(gamma=0.5)],
}
ALL = [
    pytest.param(dict(type=name, **options), id=f'{name}-{i}')
    for name, variants in LOSSES.items()
    for i, options in enumerate(variants)
]
DEFAULTS = [pytest.param(dict(type=name), id=name) for name in LOSSES]


@pytest.mark.parametrize('cfg', DEFAULTS)
def test_registered_and_exported(cfg):
    assert type(MODELS.build(cfg)) is getattr(lossplus, cfg['type'])


@pytest.mark.parametrize('cfg', DEFAULTS)
def test_takes_the_options_of_the_baseline(cfg):
    """MMPose's `loss` options stay when a config changes the type."""
    loss = MODELS.build(
        dict(
            cfg,
            use_target_weight=True,
            skip_empty_channel=True,
            loss_weight=2.0,
        )
    )
    assert (loss.skip_empty_channel, loss.loss_weight) == (True, 2.0)


@pytest.mark.parametrize('cfg', ALL)
def test_gradient(cfg, output, target):
    """Against finite differences; what is detached is compared elsewhere."""
    loss = MODELS.build(cfg)
    weights = torch.rand(target.shape[:2], dtype=torch.double)
    constants = {
        # W and q* are constants of the gradient but functions of the output.
        'prediction_weighted': lambda s, g: fixed,
        'error_weighted': lambda s, g: (fixed - g).abs(),
    }
    fixed = output[..., :5, :4].clone()
    if cfg.get('form') in constants:
        loss.reference = constants[cfg['form']]
    output, target = fixed.clone().requires_grad_(), target[..., :5, :4]
    if cfg['type'] == 'AnchorLoss':
        # The maximum that q* follows must not be one of the inputs.
        peak = torch.full_like(target[..., :1], 3.0)
        ones = torch.ones_like(peak)

        def function(x):
            x = torch.cat([x, peak], dim=-1)
            return loss(x, torch.cat([target * 0.5, ones], dim=-1), weights)
    else:

        def function(x):
            return loss(x, target, weights)

    assert torch.autograd.gradcheck(function, output)


@pytest.mark.parametrize(
    'cfg',
    [
        *(
            dict(type='AsymmetricMSELoss', beta=0, form=form)
            for form in F.AMSE_FORMS
        ),
        dict(type='RegularizedMSELoss', beta=0),
        dict(type='FocusedMSELoss', gamma=0),
        dict(type='HeatmapWeightingMSELoss', weight_fn=None),
    ],
)
def test_limit_is_the_baseline(cfg, output, target):
    output, target = output.float(), target.float()
    weights = torch.rand(target.shape[:2])
    expected = KeypointMSELoss()(output, target, weights)
    assert torch.equal(MODELS.build(cfg)(output, target, weights), expected)


def test_anchor_gradient_stops_at_the_anchor(output, target):
    """The peak pixel has the gradient of BCE: its role in q* adds none."""
    output.requires_grad_()
    lossplus.AnchorLoss(gamma=5)(output, target).backward()
    peak = target == target.amax((2, 3), keepdim=True)
    expected = (output.sigmoid() - target) / target.numel()
    torch.testing.assert_close(output.grad[peak], expected[peak])


@pytest.mark.parametrize('cfg', ALL)
@pytest.mark.parametrize('empty_target', [False, True])
def test_no_visible_keypoint(cfg, output, target, empty_target):
    """Zero with a graph, so that backward and DDP go on."""
    output.requires_grad_()
    if empty_target:
        target = torch.zeros_like(target)
    loss = MODELS.build(cfg)(output, target, torch.zeros(target.shape[:2]))
    assert loss.item() == 0
    loss.backward()
    assert (output.grad == 0).all()


@pytest.mark.parametrize('cfg', ALL)
def test_empty_channels_are_skipped(cfg, output, target):
    cfg = dict(cfg, skip_empty_channel=True)
    output.requires_grad_()
    MODELS.build(cfg)(output, torch.zeros_like(target)).backward()
    assert (output.grad == 0).all()


@pytest.mark.parametrize('cfg', ALL)
def test_weights_scale_each_keypoint(cfg, output, target):
    """Weight, pixel weight and mask are one factor of the loss map."""
    loss = MODELS.build(cfg)
    weights = torch.rand(target.shape[:2], dtype=torch.double)
    pixels = torch.rand_like(target)
    mask = (torch.rand_like(target[:, :1]) > 0.5).double()
    loss_map = loss.loss_map(output, target)
    torch.testing.assert_close(
        loss(output, target, weights, mask),
        (loss_map * weights[..., None, None] * mask).mean(),
    )
    torch.testing.assert_close(
        loss(output, target, pixels), (loss_map * pixels).mean()
    )


@pytest.mark.parametrize('cfg', DEFAULTS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(cfg, dtype, output, target):
    """Half maps give the loss of the same values in float32."""
    loss = MODELS.build(cfg)
    output, target = 8 * output.to(dtype), target.to(dtype)
    result = loss(output, target)
    assert result.dtype == torch.float32
    assert torch.equal(result, loss(output.float(), target.float()))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='AsymmetricMSELoss', beta=-0.1), 'beta .* got -0.1'),
        (dict(type='AsymmetricMSELoss', form='L2'), "form .* got 'L2'"),
        (
            dict(type='AsymmetricMSELoss', reference='target'),
            "reference .* got 'target'",
        ),
        (dict(type='RegularizedMSELoss', beta=-1), 'beta .* got -1'),
        (dict(type='FocusedMSELoss', gamma=-1), 'gamma .* got -1'),
        (dict(type='FocusedMSELoss', delta=-1), 'delta .* got -1'),
        (dict(type='FocusedMSELoss', gamma=float('nan')), 'gamma .* got nan'),
        (
            dict(type='HeatmapWeightingMSELoss', weight_fn='x'),
            "weight_fn .* got 'x'",
        ),
        (dict(type='AnchorLoss', gamma=-2), 'gamma .* got -2'),
        (dict(type='AnchorLoss', slack=-0.1), 'slack .* got -0.1'),
        (
            dict(type='AnchorLoss', background_threshold=0.6),
            'background_threshold .* got 0.6',
        ),
        (dict(type='HeatmapFocalLoss', gamma=-2), 'gamma .* got -2'),
    ],
)
def test_bad_parameters(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
