"""What a loss charges a pixel, on maps whose numbers are known."""

import copy
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
    check_pixel_loss,
    draw_penalties,
    find_keypoints,
    head_loss,
    penalty,
    penalty_columns,
    penalty_rows,
)

from ..factories import CODEC, NAMES, People, people_model

MSE = dict(type='KeypointMSELoss')
HEATMAPS = [
    MSE,
    dict(type='AsymmetricMSELoss', beta=0.1),
    dict(type='RegularizedMSELoss', beta=0.1),
    dict(type='FocusedMSELoss'),
    dict(type='HeatmapWeightingMSELoss'),
]
LOGITS = [dict(type='AnchorLoss'), dict(type='HeatmapFocalLoss')]
KINDS = pytest.mark.parametrize('loss', ['KeypointMSELoss', 'AnchorLoss'])


@pytest.mark.filterwarnings('error::UserWarning')
@pytest.mark.parametrize('config', [*HEATMAPS, *LOGITS], ids=str)
@pytest.mark.parametrize('weighted', [True, False])
def test_maps_are_those_of_the_loss(config, weighted, output, target):
    """Mean and gradient of a training step, by a copy of the loss."""
    weights = torch.tensor([[1.0, 1.5, 0.0], [1.0, 1.0, 0.0]])
    config = dict(config, use_target_weight=weighted, loss_weight=3.0)
    loss = MODELS.build(config)
    before = dict(vars(loss))
    found = penalty(loss, output, target, weights)
    assert vars(loss) == before
    inputs = output.clone().requires_grad_()
    inputs.is_logits = getattr(loss, 'takes_logits', False)
    value = loss(inputs, target, weights.double())
    value.backward()
    assert found.loss.mean() == pytest.approx(value.item())
    np.testing.assert_allclose(
        found.grad, inputs.grad * inputs.numel(), rtol=1e-6, atol=1e-9
    )
    plain = penalty(loss, output, target)
    # MMPose's own loss has weights whatever it is told.
    factor = 1.5 if weighted or config['type'] == 'KeypointMSELoss' else 1
    assert found.loss[:, 2].any() == (factor == 1)
    for a, b in zip(found[:3], plain[:3]):
        np.testing.assert_allclose(a[0, 1], factor * b[0, 1], rtol=1e-9)


@pytest.mark.parametrize(
    ('config', 'factor'),
    [
        (HEATMAPS[0], lambda s, g: np.ones_like(g)),
        (HEATMAPS[1], lambda s, g: 1 + 0.1 * (s > g)),
        (HEATMAPS[2], lambda s, g: 1 + 0.1 * (s / (s - g)) ** 2),
        (HEATMAPS[3], lambda s, g: g + 1e-3),
        (HEATMAPS[4], lambda s, g: g + 1),
        (dict(type='AnchorLoss', gamma=0.0), lambda s, g: np.ones_like(g)),
    ],
)
def test_factors(config, factor, output, target):
    found = penalty(MODELS.build(config), output, target)
    expected = factor(output.numpy(), target.numpy())
    np.testing.assert_allclose(found.factor, expected, rtol=1e-6)
    logits = config['type'] == 'AnchorLoss'
    assert found.base == ('BCE' if logits else 'squared error')


def test_what_cannot_be_drawn(output, target):
    """No loss, or targets of MegviiHeatmap."""
    with pytest.raises(ValueError, match='got NoneType'):
        check_pixel_loss(head_loss(torch.nn.Linear(1, 1)))
    with pytest.raises(ValueError, match='255'):
        penalty(lossplus.AnchorLoss(), output, 255 * target / target.max())


@pytest.fixture
def batch():
    people = People()
    return pseudo_collate([people[i] for i in range(3)])


@KINDS
def test_the_model_is_not_touched(loss, batch):
    model = people_model(loss)
    # Of several stages, the last counts.
    last = model.head.loss_module
    model.head.loss_module = torch.nn.ModuleList([torch.nn.MSELoss(), last])
    assert head_loss(model) is last
    model.train()
    model.backbone.layer1.eval()  # as a frozen stage
    # It draws numbers in evaluation too.
    model.backbone.register_forward_pre_hook(
        lambda module, inputs: (inputs[0] + torch.rand(()),)
    )
    modes = [m.training for m in model.modules()]
    state, inputs = copy.deepcopy((model.state_dict(), batch['inputs']))
    random = torch.get_rng_state()
    penalty_rows(model, batch)
    assert torch.equal(torch.get_rng_state(), random)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(map(torch.equal, inputs, batch['inputs']))


@KINDS
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
    inputs = model.data_preprocessor(batch)['inputs']
    with torch.no_grad():
        wanted = model(inputs, None, mode='tensor')[1, 3]
    row = rows[3]
    np.testing.assert_allclose(row.prediction, wanted, rtol=1e-5, atol=1e-7)
    heatmaps = batch['data_samples'][1].gt_fields.heatmaps
    assert (row.target == heatmaps[3].numpy()).all()
    # BGR to RGB.
    assert (row.picture[..., 2] == batch['inputs'][1][0].numpy()).all()
    # Nothing is charged where there is no label.
    assert not rows[1].penalties[loss].loss.any()
    assert rows[3].penalties[loss].loss.any()
    # By default the dearest keypoint of each.
    rows = penalty_rows(model, batch, keypoints=range(4))
    charged = [row.penalties[loss].loss.mean() for row in rows]
    dearest = np.reshape(charged, (3, 4)).argmax(axis=1)
    names = [row.label.split('\n')[1] for row in penalty_rows(model, batch)]
    assert names == [f'keypoint {k}' for k in dearest]


@KINDS
def test_rows_of_a_model_that_predicts_within(loss, batch):
    """Those of the last stack, and its probabilities in evaluation."""
    backbone = dict(type='StackedHourglass', out_channels=4, channels=8)
    backbone.update(num_stacks=2, depth=2)
    if loss == 'AnchorLoss':
        backbone['final_layer'] = dict(type='SigmoidConv2d')
    head = dict(type='CPMHead', in_channels=4, out_channels=4, num_stages=2)
    head.update(final_layer=None, loss=dict(type=loss))
    model = dict(type='TopdownPoseEstimator', backbone=backbone, head=head)
    model = MODELS.build(model)
    model.data_preprocessor = people_model(loss).data_preprocessor
    rows = penalty_rows(model, batch, keypoints=[1])
    model.eval()
    inputs = model.data_preprocessor(batch)['inputs']
    with torch.no_grad():
        stages = model(inputs, None, mode='tensor')
    for row, wanted in zip(rows, stages[-1][:, 1]):
        np.testing.assert_allclose(row.prediction, wanted, rtol=1e-5)
        assert row.penalties[loss].loss.any()


@KINDS
def test_several_losses_see_one_prediction(loss, batch):
    """Each as what it takes, whatever the model gives."""
    losses = dict(mse=MODELS.build(MSE), bce=lossplus.AnchorLoss(gamma=0.0))
    for row in penalty_rows(people_model(loss), batch, losses, [0]):
        s, g = row.prediction, row.target
        q = s.clip(1e-3, 1 - 1e-3) if loss == 'KeypointMSELoss' else s
        mse, bce = (row.penalties[name] for name in losses)
        np.testing.assert_allclose(mse.grad, 2 * (s - g), atol=1e-6)
        np.testing.assert_allclose(bce.grad, q - g, atol=1e-6)
        expected = -g * np.log(q) - (1 - g) * np.log(1 - q)
        np.testing.assert_allclose(bce.loss, expected, atol=1e-6)


SIZES = dict(input_size=(48, 64), heatmap_size=(12, 16))
SIMCC = dict(type='SimCCLabel', input_size=(48, 64))
OFFSETS = dict(type='UDPHeatmap', heatmap_type='combined', **SIZES)
LEVELS = [dict(type='MSRAHeatmap', **CODEC)] * 2


@pytest.mark.parametrize(
    ('kwargs', 'got'),
    [
        (dict(encoder=SIMCC), 'None'),
        (dict(encoder=LEVELS, multilevel=True), '(4, 16, 12), (4, 16, 12)'),
        (dict(encoder=OFFSETS), '(12, 16, 12)] for 4'),
    ],
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
    with pytest.raises(ValueError, match='heatmap per keypoint') as error:
        penalty_rows(model, pseudo_collate([packed]))
    assert got in str(error.value)


ZEROS = np.zeros((2, 2, 3))
RED = np.full((8, 12, 3), (255, 0, 0), np.uint8)


def make_rows(target=ZEROS, prediction=ZEROS, charged=(ZEROS,) * 3):
    """Two rows of 2x3 maps; loss, factor and gradient are charged."""
    penalties = [dict(A=Penalty(*x, 'squared error')) for x in zip(*charged)]
    return list(
        map(PenaltyRow, 'ab', [RED, RED], target, prediction, penalties)
    )


def test_columns_have_one_range():
    """From the numbers of all rows; poles of RMSE's factor do not count."""
    target = np.arange(12.0).reshape(2, 2, 3)
    base = np.array([[[1, 1e-2, 1e-6]] * 2] * 2)
    factor = np.array([[[1.1, 3.0, 1000.0]] * 2] * 2)
    charged = (base * factor, factor, -target)
    columns = penalty_columns(make_rows(target, target / 10 - 1, charged))
    assert [column.loss for column in columns] == ['', '', '', 'A', 'A', 'A']
    ranges = [(column.low, column.high) for column in columns[1:]]
    assert ranges == [
        *((0, 11), (-1, 11 / 10 - 1), (0, 1.1), (1.1, 3.0), (-11, 11))
    ]
    np.testing.assert_array_equal(columns[5].images, -target)


@pytest.mark.parametrize('noise', [0, 1e-12])
def test_the_same_everywhere_has_no_column(noise):
    """Such as MSE's factor, which is said instead."""
    loss = np.arange(12.0).reshape(2, 2, 3)
    factor = 2 + noise * loss
    factor[0, 0, 0] = np.nan
    rows = make_rows(charged=(loss, factor, ZEROS))
    *_, first, last = penalty_columns(rows)
    assert '2 × squared error' in first.title
    assert first.images.max() == 11
    assert 'gradient' in last.title


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_peaks_are_marked():
    """In picture and prediction, a ring and a cross; none of no numbers."""
    peak, nan = ZEROS.copy(), ZEROS + math.nan
    peak[:, 0, 1] = 1
    partly = np.where(peak, 0.5, math.nan)

    def white(target, prediction):
        """How much of the pictures' column is white."""
        rows = make_rows(target, prediction, [prediction] * 3)
        grid = draw_penalties(rows)
        red = np.flatnonzero((grid == RED[0, 0]).all(-1).any(axis=0))
        return (grid[50:-60, red[0] : red[-1]] == 255).all(-1).sum()

    ring = white(peak, ZEROS)
    assert ring > white(ZEROS, ZEROS)
    assert white(peak, nan) == ring
    assert white(peak, peak) == white(peak, partly) > ring


def test_find_keypoints():
    meta = People.metainfo
    assert find_keypoints(meta, ['tail', 0, '3']) == [1, 0, 3]
    for wrong in (['hand'], [4], [-1], ['4'], [1.5]):
        with pytest.raises(ValueError, match='numbers from 0 to 3 or among'):
            find_keypoints(meta, wrong)
