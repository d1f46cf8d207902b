"""What a loss charges a pixel, on maps whose numbers are known."""

import math

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpose.datasets.transforms import GenerateTarget, PackPoseInputs
from mmpose.registry import MODELS

import mmpose_lossplus as lossplus
from mmpose_lossplus.visualization import (
    Penalty,
    PenaltyRow,
    draw_penalties,
    find_keypoints,
    penalty,
    penalty_columns,
    penalty_rows,
    pixel_loss,
)

from ..factories import CODEC, NAMES, People, people_model

HEATMAPS = [
    dict(type='KeypointMSELoss'),
    dict(type='AsymmetricMSELoss', beta=0.1),
    dict(type='RegularizedMSELoss', beta=0.1),
    dict(type='FocusedMSELoss'),
    dict(type='HeatmapWeightingMSELoss'),
]
LOGITS = [dict(type='AnchorLoss'), dict(type='HeatmapFocalLoss')]


def by_type(config):
    return config['type']


@pytest.fixture
def weights():
    """Of the targets' three keypoints; the last has no label."""
    return torch.tensor([[1.0, 1.5, 0.0], [1.0, 1.0, 0.0]])


@pytest.mark.parametrize('config', [*HEATMAPS, *LOGITS], ids=by_type)
def test_maps_are_those_of_the_loss(config, output, target, weights):
    """Their mean and the gradient are those of a training step."""
    loss = MODELS.build(dict(config, use_target_weight=True, loss_weight=3.0))
    found = penalty(loss, output, target, weights)
    inputs = output.clone().requires_grad_()
    inputs.is_logits = config in LOGITS
    value = loss(inputs, target, weights.double())
    value.backward()
    torch.testing.assert_close(found.loss.mean(), value.detach())
    torch.testing.assert_close(
        found.grad / inputs.numel(), inputs.grad.double()
    )
    assert not found.loss[:, 2].any()
    assert not found.grad[:, 2].any()
    # The weight of a keypoint is in all three.
    plain = penalty(loss, output, target)
    for a, b in zip(found[:3], plain[:3]):
        torch.testing.assert_close(a[0, 1], 1.5 * b[0, 1])


@pytest.mark.parametrize(
    ('config', 'factor'),
    [
        (HEATMAPS[0], lambda s, g: torch.ones_like(g)),
        (HEATMAPS[1], lambda s, g: 1 + 0.1 * (s > g).double()),
        (HEATMAPS[2], lambda s, g: 1 + 0.1 * (s / (s - g)) ** 2),
        (HEATMAPS[3], lambda s, g: g + 1e-3),
        (HEATMAPS[4], lambda s, g: g + 1),
        (dict(type='AnchorLoss', gamma=0.0), lambda s, g: torch.ones_like(g)),
    ],
)
def test_factors(config, factor, output, target):
    found = penalty(MODELS.build(config), output, target)
    torch.testing.assert_close(found.factor, factor(output, target))
    logits = config['type'] == 'AnchorLoss'
    assert found.base == ('BCE' if logits else 'squared error')


def test_second_peak():
    """A background pixel of 0.9 beside a keypoint of 0.75, worked out."""
    target = torch.zeros(1, 1, 4, 4)
    target[0, 0, 1, 1] = 1
    probabilities = torch.full((1, 1, 4, 4), 0.2)
    probabilities[0, 0, 1, 1] = 0.75
    probabilities[0, 0, 3, 2] = 0.9
    found = penalty(lossplus.AnchorLoss(), probabilities.logit(), target)
    factor, loss = found.factor[0, 0], found.loss[0, 0]
    # (1 + q - q*)^2 with q* = 0.75 - 0.05
    assert factor[3, 2].item() == pytest.approx(1.2**2, rel=1e-5)
    assert factor[0, 0].item() == pytest.approx(0.5**2, rel=1e-5)
    assert factor[1, 1].item() == pytest.approx(1)
    assert loss[3, 2].item() == pytest.approx(1.44 * -math.log(0.1), rel=1e-5)
    assert loss[1, 1].item() == pytest.approx(-math.log(0.75), rel=1e-5)
    # (1 + q - q*) [(1 + q - q*) q + 2 q (1 - q) BCE]
    grad = 1.2 * (1.2 * 0.9 + 2 * 0.09 * math.log(10))
    assert found.grad[0, 0, 3, 2].item() == pytest.approx(grad, rel=1e-5)


def test_gradient_at_a_logit_of_zero():
    """Training's own, q - G; autograd's of the maps is 0.5 less there."""
    zero = torch.zeros(1, 1, 2, 2)
    found = penalty(lossplus.AnchorLoss(gamma=0.0), zero, zero)
    torch.testing.assert_close(found.grad, torch.full_like(found.grad, 0.5))


def test_where_nothing_is_charged(target):
    found = penalty(MODELS.build(HEATMAPS[0]), target, target)
    assert not found.loss.any()
    assert found.factor.isnan().all()


@pytest.mark.filterwarnings('error')
def test_the_loss_is_not_touched(output, target):
    """Neither is its first batch taken for checked, nor does it warn."""
    loss = lossplus.AnchorLoss()
    penalty(loss, output, target)
    assert not loss._first_batch_checked


def test_losses_without_pixels(output, target):
    with pytest.raises(ValueError, match=r'^KeypointOHKMMSELoss does not '):
        penalty(MODELS.build(dict(type='KeypointOHKMMSELoss')), output, target)
    with pytest.raises(ValueError, match=r'a head and its loss, got Linear'):
        pixel_loss(torch.nn.Linear(1, 1))


def test_loss_of_the_last_stage():
    model = people_model('AsymmetricMSELoss')
    last = lossplus.FocusedMSELoss()
    model.head.loss_module = torch.nn.ModuleList(
        [model.head.loss_module, last]
    )
    assert pixel_loss(model) is last


@pytest.fixture
def batch():
    people = People()
    return pseudo_collate([people[i] for i in range(3)])


@pytest.mark.parametrize('loss', ['KeypointMSELoss', 'AnchorLoss'])
def test_the_model_is_not_touched(loss, batch):
    model = people_model(loss)
    model.train()
    model.backbone.layer1.eval()  # as a frozen stage
    # It draws numbers in evaluation too.
    model.backbone.register_forward_hook(
        lambda module, inputs, output: None if torch.rand(()) < 2 else output
    )
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    inputs = [x.clone() for x in batch['inputs']]
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    penalty_rows(model, batch)
    assert torch.equal(torch.rand(3), wanted)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(map(torch.equal, inputs, batch['inputs']))


def test_modes_are_restored_after_an_error(batch):
    model = people_model('KeypointMSELoss').train()
    model.forward = None
    with pytest.raises(TypeError):
        penalty_rows(model, batch)
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize('loss', ['KeypointMSELoss', 'AnchorLoss'])
def test_rows(loss, batch):
    """Each sees the model as in evaluation, and its own keypoint."""
    model = people_model(loss)
    rows = penalty_rows(model, batch, keypoints=[1, 3], names=NAMES)
    assert [row.label for row in rows] == [
        *('0\ntail', '0\nright_ear (no label)'),
        *('1\ntail', '1\nright_ear'),
        *('2\ntail', '2\nright_ear (no label)'),
    ]
    model.eval()
    data = model.data_preprocessor(batch)
    with torch.no_grad():
        wanted = model(data['inputs'], None, mode='tensor')[1, 3]
    row = rows[3]
    np.testing.assert_allclose(row.prediction, wanted, rtol=1e-5, atol=1e-7)
    heatmaps = batch['data_samples'][1].gt_fields.heatmaps
    np.testing.assert_array_equal(row.target, heatmaps[3])
    # BGR to RGB.
    np.testing.assert_array_equal(row.picture[..., 2], batch['inputs'][1][0])
    maps = row.penalties[loss]
    if loss == 'AnchorLoss':
        inside = row.target > 0
        np.testing.assert_allclose(
            maps.grad[inside], (row.prediction - row.target)[inside], atol=1e-6
        )
    else:
        np.testing.assert_allclose(
            maps.loss, (row.prediction - row.target) ** 2, atol=1e-6
        )
    # Nothing is charged where there is no label.
    assert not rows[2 - 1].penalties[loss].loss.any()


def test_rows_of_the_dearest_keypoint(batch):
    model = people_model('KeypointMSELoss')
    loss = model.head.loss_module
    model.eval()
    data = model.data_preprocessor(batch)
    with torch.no_grad():
        output = model(data['inputs'], None, mode='tensor')
    samples = batch['data_samples']
    target = torch.stack([d.gt_fields.heatmaps for d in samples])
    weights = torch.cat(
        [d.gt_instance_labels.keypoint_weights for d in samples]
    )
    charged = penalty(loss, output, target, weights).loss.mean((2, 3))
    names = [row.label.split('\n')[1] for row in penalty_rows(model, batch)]
    assert names == [f'keypoint {int(k)}' for k in charged.argmax(1)]


def test_several_losses_see_one_prediction(batch):
    """Each as what it takes, whatever the model gives."""
    losses = dict(
        mse=MODELS.build(HEATMAPS[0]),
        bce=lossplus.AnchorLoss(gamma=0.0),
    )
    for kind in ('KeypointMSELoss', 'AnchorLoss'):
        rows = penalty_rows(people_model(kind), batch, losses, [0])
        assert list(rows[0].penalties) == ['mse', 'bce']
        for row in rows:
            s, g = row.prediction, row.target
            np.testing.assert_allclose(
                row.penalties['mse'].grad, 2 * (s - g), atol=1e-6
            )
            q = s.clip(1e-3, 1 - 1e-3) if kind == 'KeypointMSELoss' else s
            np.testing.assert_allclose(
                row.penalties['bce'].grad, q - g, atol=1e-6
            )
            np.testing.assert_allclose(
                row.penalties['bce'].loss,
                -g * np.log(q) - (1 - g) * np.log(1 - q),
                atol=1e-6,
            )


@pytest.mark.parametrize(
    ('kwargs', 'got'),
    [
        (dict(encoder=dict(type='SimCCLabel', input_size=(48, 64))), 'none'),
        (
            dict(
                encoder=[dict(CODEC, type='MSRAHeatmap')] * 2, multilevel=True
            ),
            'those of 2 levels',
        ),
        (
            dict(
                encoder=dict(
                    type='UDPHeatmap',
                    input_size=(48, 64),
                    heatmap_size=(12, 16),
                    heatmap_type='combined',
                )
            ),
            '12 for 4 keypoints',
        ),
    ],
    ids=['simcc', 'multilevel', 'offsets'],
)
def test_targets_that_cannot_be_drawn(kwargs, got):
    """Those of real codecs, told before the model runs."""
    results = dict(
        img=np.zeros((64, 48, 3), np.uint8),
        keypoints=np.full((1, 4, 2), 20, np.float32),
        keypoints_visible=np.ones((1, 4), np.float32),
    )
    packed = PackPoseInputs(meta_keys=())(GenerateTarget(**kwargs)(results))
    model = people_model('KeypointMSELoss')
    model.forward = None
    losses = dict(mse=model.head.loss_module)
    with pytest.raises(ValueError, match='one target heatmap per ') as error:
        penalty_rows(model, pseudo_collate([packed]), losses)
    assert f'keypoint, got {got}: the pipeline needs' in str(error.value)


def make_rows(**maps):
    """Two rows of 2x3 maps; what is not given is zero."""
    zeros = np.zeros((2, 2, 3))
    maps = {**dict.fromkeys(('target', 'prediction', *MAPS), zeros), **maps}
    red = np.zeros((8, 12, 3), np.uint8)
    red[..., 0] = 255
    return [
        PenaltyRow(
            label=f'row {i}',
            picture=red,
            target=maps['target'][i],
            prediction=maps['prediction'][i],
            penalties=dict(
                A=Penalty(*(maps[name][i] for name in MAPS), 'squared error')
            ),
        )
        for i in range(2)
    ]


MAPS = ('loss', 'factor', 'grad')


def test_columns_have_one_range():
    """From the numbers of all rows, and these numbers themselves."""
    rng = np.random.default_rng(0)
    maps = {
        name: rng.uniform(0.1, 1, (2, 2, 3))
        for name in ('target', 'prediction', *MAPS)
    }
    maps['grad'] -= 0.9
    # All losses are of one base, so that each factor is seen.
    maps['loss'] = 2 * maps['factor']
    columns = penalty_columns(make_rows(**maps))
    assert [column.title for column in columns] == [
        *('picture', 'target', 'prediction'),
        *('loss of a pixel', 'loss / squared error', 'gradient by heatmap'),
    ]
    assert [column.loss for column in columns] == ['', '', '', 'A', 'A', 'A']
    for column, name in zip(columns[1:], maps):
        np.testing.assert_array_equal(column.images, maps[name])
        assert not column.cut
    ranges = [(column.low, column.high) for column in columns[1:]]
    steepest = np.abs(maps['grad']).max()
    assert ranges == [
        (maps['target'].min(), maps['target'].max()),
        (maps['prediction'].min(), maps['prediction'].max()),
        (0, maps['loss'].max()),
        (maps['factor'].min(), maps['factor'].max()),
        (-steepest, steepest),
    ]


def test_poles_of_a_factor_do_not_set_the_colours():
    """RMSE's, where the squared error is next to nothing."""
    base = np.array([[[1, 1e-2, 1e-6]] * 2] * 2)
    factor = np.array([[[1.1, 3.0, 1000.0]] * 2] * 2)
    column = penalty_columns(make_rows(loss=base * factor, factor=factor))[4]
    assert (column.low, column.high, column.cut) == (1.1, 3.0, True)
    assert column.tick_labels == ['1.1', '≥ 3']


def test_labels_of_a_small_range():
    factor = np.full((2, 2, 3), 1.0)
    factor[1] = 1.0004
    column = penalty_columns(make_rows(loss=factor, factor=factor))[4]
    assert column.tick_labels == ['1', '1.0004']


def test_the_same_everywhere_is_the_middle():
    factor = 1 + 1e-12 * np.arange(12).reshape(2, 2, 3)
    column = penalty_columns(make_rows(loss=factor, factor=factor))[4]
    assert column.low == pytest.approx(0.5)
    assert column.high == pytest.approx(1.5)


@pytest.mark.filterwarnings('error')
def test_nothing_charged_anywhere():
    """No label: also a row of zeros and not-a-numbers can be drawn."""
    nan = np.full((2, 2, 3), np.nan)
    rows = make_rows(factor=nan)
    for column in penalty_columns(rows)[1:]:
        assert column.low < column.high
    assert draw_penalties(rows).std() > 0


def test_drawing():
    """The pictures fill their cells, in the colours that they have."""
    grid = draw_penalties(make_rows())
    assert grid.dtype == np.uint8
    assert grid.ndim == 3
    red = (grid == [255, 0, 0]).all(-1).sum()
    # 130 x 87 pixels each, less the frame and the cross.
    assert 0.9 < red / (2 * 130 * 87) <= 1
    assert len(draw_penalties(make_rows()[:1])) < len(grid)


def test_peaks_are_marked():
    """In picture and prediction, a ring and a cross in white."""

    def white(target, prediction):
        grid = draw_penalties(make_rows(target=target, prediction=prediction))
        return (grid[50:-60, 45:170] == 255).all(-1).sum()

    zeros, peak = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    peak[:, 0, 1] = 1
    nothing = white(zeros, zeros)
    assert white(peak, zeros) > nothing
    assert white(peak, peak) > white(peak, zeros)


@pytest.mark.filterwarnings('error')
def test_a_prediction_without_numbers():
    """No cross where all is NaN; the peak of the rest where some is."""
    target = np.zeros((2, 2, 3))
    target[:, 1, 2] = 1
    nan = np.full((2, 2, 3), np.nan)
    maps = dict.fromkeys(MAPS, nan)
    rows = make_rows(target=target, prediction=nan, **maps)
    for column in penalty_columns(rows)[3:]:
        assert np.isfinite([column.low, column.high]).all()
        assert column.low < column.high
    empty = draw_penalties(rows)
    maps = {name: nan.copy() for name in ('prediction', *MAPS)}
    for x in maps.values():
        x[:, 0, 1] = 0.5
    partly = draw_penalties(make_rows(target=target, **maps))
    # The pictures, of which the ring is in both.
    pictures = np.s_[50:-60, 42:172]
    assert (partly[pictures] == 255).all(-1).sum() > (
        (empty[pictures] == 255).all(-1).sum()
    )
    maps['prediction'][:, 0, 1] = 0
    none = draw_penalties(make_rows(target=target, **maps))
    assert (none[pictures] == empty[pictures]).all()


@pytest.mark.parametrize('loss', ['KeypointMSELoss', 'AnchorLoss'])
def test_a_diverged_model(loss, batch):
    """Its maps have no numbers, and are drawn."""
    model = people_model(loss)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    rows = penalty_rows(model, batch)
    assert all(np.isnan(row.prediction).all() for row in rows)
    assert draw_penalties(rows).std() > 0


def test_find_keypoints():
    meta = People.metainfo
    assert find_keypoints(meta, ['tail', 0, '3']) == [1, 0, 3]
    for wrong in (['hand'], [4], [-1], ['4'], [1.5]):
        with pytest.raises(ValueError, match='numbers from 0 to 3 or among'):
            find_keypoints(meta, wrong)
