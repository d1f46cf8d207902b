"""Averages over crops of several scales."""

import copy

import mmengine
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS, KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample
from torch import nn

from mmpose_lossplus.pose_estimators import MultiScaleTTA

from ..factories import ROOT, fork_tool, read

# Crops of 64 x 48 pixels with heatmaps of 32 x 24.
SIZE = np.array([48, 64])
CELLS = np.array([24, 32])
COMMON = dict(input_size=(48, 64), heatmap_size=(24, 32))
CODECS = {
    'msra': dict(type='MSRAHeatmap', sigma=2, **COMMON),
    'dark': dict(type='MSRAHeatmap', sigma=2, unbiased=True, **COMMON),
    'udp': dict(type='UDPHeatmap', sigma=2, **COMMON),
    'megvii': dict(type='MegviiHeatmap', kernel_size=9, **COMMON),
}
CENTER = np.array([100.0, 80.0], dtype=np.float32)
# What the crop of scale 1 covers of the picture.
COVER = np.array([60.0, 80.0], dtype=np.float32)
SCALES = [1.0, 0.7, 0.8, 0.9, 1.1, 1.3]


class GivenHeatmaps(nn.Module):
    """A backbone whose input is the heatmaps."""

    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return (x,)


def model_of(codec, num_maps, **test_cfg):
    head = dict(type='HeatmapHead', deconv_out_channels=None, final_layer=None)
    head.update(in_channels=num_maps, out_channels=num_maps)
    head.update(decoder=CODECS[codec])
    backbone = dict(type=GivenHeatmaps)
    model = dict(type='TopdownPoseEstimator', backbone=backbone, head=head)
    return MODELS.build(dict(model, test_cfg=test_cfg))


def tta_of(*args, **test_cfg):
    return MultiScaleTTA(model_of(*args, **test_cfg))


def crop(scale):
    box = np.array([[70.0, 40.0, 130.0, 120.0]])
    sample = PoseDataSample(
        metainfo=dict(
            input_center=CENTER,
            input_scale=COVER * np.float32(scale),
            input_size=tuple(SIZE),
            flip_indices=[1, 0],
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=box, bbox_scores=np.ones(1), bbox_scales=COVER[None] * scale
    )
    return sample


def batch_of(maps, scales):
    """One person whose crop of each scale has the given heatmaps."""
    return dict(
        inputs=[[torch.as_tensor(m).float()] for m in maps],
        data_samples=[[crop(scale)] for scale in scales],
    )


def cell_to_picture(codec, scale):
    """Picture position of every cell, (2, 32, 24), as MMPose decodes it.

    From two single peaks, which no refinement moves, and a straight line.
    """
    maps = np.zeros((2, 32, 24), dtype=np.float32)
    maps[0, 10, 10] = maps[1, 14, 14] = 1
    points, _ = KEYPOINT_CODECS.build(CODECS[codec]).decode(maps)
    at = CENTER + (points[0] / SIZE - 0.5) * COVER * scale
    step = (at[1] - at[0]) / 4
    cells = np.mgrid[:24, :32].transpose(0, 2, 1)
    return at[0][:, None, None] + (cells - 10) * step[:, None, None]


def gaussians(codec, points, scale, sigma=2.0):
    """Maps that peak at the points of the picture, (K, 32, 24)."""
    cells = cell_to_picture(codec, scale)
    width = COVER * scale / CELLS * sigma
    off = [(cells.T - point) / width for point in points]
    return np.exp(-np.square(off).sum(-1) / 2).transpose(0, 2, 1)


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('scale', [0.5, 0.7, 1.0, 1.3])
@pytest.mark.parametrize('half', [False, True])
def test_same_cell_is_same_place(codec, scale, half):
    """Maps that say where they are agree with the frame's own everywhere.

    Sampling is exact for such linear maps, in half precision too, and a crop
    that does not reach a cell has no say there.
    """
    model = tta_of(codec, 2, output_heatmaps=True)
    maps = [cell_to_picture(codec, s) for s in (1.0, scale)]
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
        (result,) = model.test_step(batch_of(maps, [1.0, scale]))
    merged = result.pred_fields.heatmaps.numpy()
    assert merged == pytest.approx(maps[0], abs=1e-4)


@pytest.mark.parametrize(
    ('codec', 'reach', 'cells'),
    # The plain decoder steps by a quarter of a cell. The others blur the map
    # first, with nothing around it, and so err near the border by themselves.
    [('msra', 0.47, 0.3), ('dark', 0.37, 0.25), ('udp', 0.37, 0.25)],
)
def test_peaks_are_found(codec, reach, cells):
    """Joints all over the crop, also where the small crops do not reach."""
    low, high = CENTER - COVER * reach, CENTER + COVER * reach
    grid = np.mgrid[low[0] : high[0] : 7j, low[1] : high[1] : 9j]
    points = grid.reshape(2, -1).T
    model = MultiScaleTTA(model_of(codec, len(points)))
    maps = [gaussians(codec, points, scale) for scale in SCALES]
    (result,) = model.test_step(batch_of(maps, SCALES))
    found = result.pred_instances.keypoints[0]
    assert abs(found - points).max() < cells * (COVER / CELLS).max()


def test_average_is_over_the_crops_that_reach():
    """Hand-worked: maps of ones, twos and fours."""
    model = tta_of('udp', 1, output_heatmaps=True)
    maps = [np.full((1, 32, 24), value) for value in (1, 2, 4)]
    (result,) = model.test_step(batch_of(maps, [1.0, 0.5, 1.5]))
    merged = result.pred_fields.heatmaps[0]
    # The crop of half the size is the middle 11.5 x 15.5 cells.
    assert (merged[8:24, 6:18] - 7 / 3).abs().max() < 1e-5
    merged[8:24, 6:18] = 2.5
    assert (merged - 2.5).abs().max() < 1e-5


def test_joint_that_only_the_wide_crop_sees():
    """Found if the wide crop comes first, since it is then the frame."""
    point = CENTER + COVER * [0.6, 0]

    def found(*scales):
        maps = [gaussians('udp', [point], scale) for scale in scales]
        (result,) = tta_of('udp', 1).test_step(batch_of(maps, scales))
        return result.pred_instances.keypoints[0, 0]

    assert found(1.5, 1) == pytest.approx(point, abs=0.2 * 1.5 * COVER[0] / 24)
    assert found(1, 1.5)[0] < CENTER[0] + COVER[0] * 0.55


def test_people_of_a_batch_have_their_own_scales():
    points = CENTER + np.array([[-12.0, 9.0]])
    first, second = (
        batch_of([gaussians('udp', points, s) for s in scales], scales)
        for scales in ([1.0, 0.8], [1.2, 1.0])
    )
    data = {k: [a + b for a, b in zip(first[k], second[k])] for k in first}
    results = tta_of('udp', 1).test_step(data)
    assert [r.input_scale[0] / 60 for r in results] == pytest.approx([1, 1.2])
    for result in results:
        found = result.pred_instances.keypoints[0]
        assert found == pytest.approx(points, abs=0.2)


@pytest.mark.parametrize('codec', CODECS)
def test_one_scale_is_the_plain_test(codec):
    maps = torch.rand(2, 32, 24)
    data = dict(inputs=[maps], data_samples=[crop(1.0)])
    (plain,) = model_of(codec, 2, flip_test=True).test_step(data)
    model = tta_of(codec, 2, flip_test=True)
    (result,) = model.test_step(batch_of([maps], [1.0]))
    assert set(result.keys()) == set(plain.keys())
    for part in ('pred_instances', 'gt_instances'):
        for key, value in plain.get(part).items():
            assert np.array_equal(result.get(part)[key], value), key


def test_flip_test_is_done_within_each_scale():
    """A network that commutes with flips averages the swapped channels."""
    maps = torch.rand(2, 32, 24)
    GivenHeatmaps.calls = 0
    model = tta_of('udp', 2, output_heatmaps=True, flip_test=True)
    (result,) = model.test_step(batch_of([maps, maps], [1.0, 1.0]))
    assert GivenHeatmaps.calls == 4
    expected = (maps + maps.flip(0)) / 2
    torch.testing.assert_close(result.pred_fields.heatmaps, expected)


def test_selected_keypoints():
    data = batch_of(torch.rand(2, 4, 32, 24), [1.0, 0.8])
    (every,) = tta_of('msra', 4).test_step(copy.deepcopy(data))
    some = tta_of('msra', 4, output_keypoint_indices=[3, 1])
    (some,) = some.test_step(data)
    for key in ('keypoints', 'keypoint_scores'):
        expected = every.pred_instances[key][:, [3, 1]]
        assert np.array_equal(some.pred_instances[key], expected)


def test_plain_data_and_training_are_refused():
    model = tta_of('msra', 2)
    data = dict(inputs=[torch.rand(2, 32, 24)], data_samples=[crop(1.0)])
    with pytest.raises(ValueError, match='TestTimeAug'):
        model.test_step(data)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(NotImplementedError):
        model.train_step(data, OptimWrapper(optimizer))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('input_center', CENTER + 2),
        ('input_size', (96, 128)),
        ('bbox_rotation', np.array([30.0])),
        ('flip', True),
    ],
)
def test_crops_that_differ_in_more_than_scale(key, value):
    model = tta_of('msra', 2)
    data = batch_of([torch.rand(2, 32, 24)] * 2, [1.0, 0.8])
    data['data_samples'][1][0].set_metainfo({key: value})
    with pytest.raises(ValueError, match=key) as error:
        model.test_step(data)
    assert str(value) in str(error.value)


COMBINED = dict(type='UDPHeatmap', heatmap_type='combined', **COMMON)
SIMCC = dict(type='SimCCLabel', input_size=(48, 64))


@pytest.mark.parametrize(
    ('decoder', 'found'),
    [(None, 'NoneType'), (COMBINED, 'combined'), (SIMCC, 'SimCCLabel')],
)
def test_models_without_heatmaps(decoder, found):
    module = model_of('msra', 6)
    module.head.decoder = decoder and KEYPOINT_CODECS.build(decoder)
    with pytest.raises(TypeError, match=found):
        MultiScaleTTA(module)


@pytest.fixture
def cfg(lsp_data):
    """Six scales, with a small network, generated data, no other process."""
    stem = 'td-hm_hourglass8_anchor-1xb6-200e_lsp-ms6-256x256'
    cfg = read(ROOT / 'configs' / 'anchor_loss' / f'{stem}.py')
    cfg.model.module.backbone.update(num_stacks=1, channels=16)
    cfg.model.module.head.update(num_stages=1, in_channels=16)
    loader = cfg.test_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.data_root = f'{lsp_data}/'
    return cfg


def test_pipeline_gives_crops_that_fit(cfg):
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    data = pseudo_collate([dataset[0], dataset[1]])
    assert [len(crops) for crops in data['inputs']] == [2] * 6
    assert all(x.shape == (3, 256, 256) for c in data['inputs'] for x in c)
    first, *_ = data['data_samples']
    for crops, times in zip(
        data['data_samples'], (1, 0.8, 0.9, 1.1, 1.2, 1.3)
    ):
        for sample, one in zip(crops, first):
            scale = one.input_scale * times
            assert sample.input_scale == pytest.approx(scale, rel=1e-6)
            assert np.array_equal(sample.input_center, one.input_center)


@pytest.mark.slow
def test_command_line(cfg, tmp_path):
    """The checkpoint of the plain model is loaded into the module."""
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'plain.pth'
    out, dump = tmp_path / 'metrics.json', tmp_path / 'predictions.pkl'
    cfg.dump(config)
    module = MODELS.build(cfg.model.module)
    torch.save(dict(state_dict=module.state_dict()), checkpoint)
    options = ('--out', out, '--dump', dump, '--work-dir', tmp_path / 'work')
    fork_tool('test.py', config, checkpoint, *options)
    assert 'lsp/PCK' in mmengine.load(out)
    results = mmengine.load(dump)
    assert len(results) == 3
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MultiScaleTTA(module).eval()
    with torch.no_grad():
        (expected,) = model.test_step(pseudo_collate([dataset[1]]))
    assert results[1]['pred_instances']['keypoints'] == pytest.approx(
        expected.pred_instances.keypoints, abs=1e-3
    )
