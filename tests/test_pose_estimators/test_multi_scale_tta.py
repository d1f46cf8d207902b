"""Averages over crops of several scales."""

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from mmpose.registry import DATASETS, KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample
from torch import nn

from mmpose_lossplus.pose_estimators import MultiScaleTTA

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
    return MODELS.build(
        dict(
            type='TopdownPoseEstimator',
            backbone=dict(type=GivenHeatmaps),
            head=dict(
                type='HeatmapHead',
                in_channels=num_maps,
                out_channels=num_maps,
                deconv_out_channels=None,
                final_layer=None,
                decoder=CODECS[codec],
            ),
            test_cfg=test_cfg,
        )
    )


def crop(scale):
    sample = PoseDataSample()
    sample.set_metainfo(
        dict(
            input_center=CENTER,
            input_scale=COVER * np.float32(scale),
            input_size=tuple(SIZE),
            flip_indices=[1, 0],
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=np.array([[70.0, 40.0, 130.0, 120.0]]),
        bbox_scores=np.ones(1),
        bbox_scales=COVER[None] * scale,
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
    codec = KEYPOINT_CODECS.build(CODECS[codec])
    at = []
    for cell in (10, 14):
        maps = np.zeros((1, 32, 24), dtype=np.float32)
        maps[0, cell, cell] = 1
        share = codec.decode(maps)[0][0, 0] / SIZE - 0.5
        at.append(CENTER + share * COVER * scale)
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

    Sampling is exact for such linear maps, and a crop that does not reach a
    cell must not have a say there. Half precision does not blur positions.
    """
    model = MultiScaleTTA(model_of(codec, 2, output_heatmaps=True))
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
    model = MultiScaleTTA(model_of('udp', 1, output_heatmaps=True))
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
    wide, plain = (gaussians('udp', [point], s) for s in (1.5, 1.0))
    model = MultiScaleTTA(model_of('udp', 1))
    (result,) = model.test_step(batch_of([wide, plain], [1.5, 1.0]))
    found = result.pred_instances.keypoints[0, 0]
    assert found == pytest.approx(point, abs=0.2 * 1.5 * COVER[0] / 24)
    (result,) = model.test_step(batch_of([plain, wide], [1.0, 1.5]))
    found = result.pred_instances.keypoints[0, 0]
    assert found[0] < CENTER[0] + COVER[0] * 0.55


def test_people_of_a_batch_have_their_own_scales():
    points = CENTER + np.array([[-12.0, 9.0]])
    maps = {s: gaussians('udp', points, s) for s in (0.8, 1.0, 1.2)}
    scales = [[1.0, 1.2], [0.8, 1.0]]
    data = dict(
        inputs=[[torch.tensor(maps[s]).float() for s in c] for c in scales],
        data_samples=[[crop(s) for s in c] for c in scales],
    )
    results = MultiScaleTTA(model_of('udp', 1)).test_step(data)
    assert [r.input_scale[0] / 60 for r in results] == pytest.approx([1, 1.2])
    for result in results:
        assert result.pred_instances.keypoints[0] == pytest.approx(
            points, abs=0.2
        )


@pytest.mark.parametrize('codec', CODECS)
def test_one_scale_is_the_plain_test(codec):
    maps = torch.rand(2, 32, 24)
    (plain,) = model_of(codec, 2, flip_test=True).test_step(
        dict(inputs=[maps], data_samples=[crop(1.0)])
    )
    (result,) = MultiScaleTTA(model_of(codec, 2, flip_test=True)).test_step(
        batch_of([maps], [1.0])
    )
    assert set(result.keys()) == set(plain.keys())
    for key, value in plain.pred_instances.items():
        assert np.array_equal(result.pred_instances[key], value), key
    for key, value in plain.gt_instances.items():
        assert np.array_equal(result.gt_instances[key], value), key


def test_flip_test_is_done_within_each_scale():
    """A network that commutes with flips averages the swapped channels."""
    maps = torch.rand(2, 32, 24)
    GivenHeatmaps.calls = 0
    test_cfg = dict(output_heatmaps=True, flip_test=True)
    model = MultiScaleTTA(model_of('udp', 2, **test_cfg))
    (result,) = model.test_step(batch_of([maps, maps], [1.0, 1.0]))
    assert GivenHeatmaps.calls == 4
    expected = (maps + maps.flip(0)) / 2
    torch.testing.assert_close(result.pred_fields.heatmaps, expected)


def test_selected_keypoints():
    maps = [torch.rand(4, 32, 24) for _ in range(2)]
    scales = [1.0, 0.8]
    (every,) = MultiScaleTTA(model_of('msra', 4)).test_step(
        batch_of(maps, scales)
    )
    model = MultiScaleTTA(model_of('msra', 4, output_keypoint_indices=[3, 1]))
    (some,) = model.test_step(batch_of(maps, scales))
    for key in ('keypoints', 'keypoint_scores'):
        assert np.array_equal(
            some.pred_instances[key], every.pred_instances[key][:, [3, 1]]
        )


def test_plain_data_and_training_are_refused():
    model = MultiScaleTTA(model_of('msra', 2))
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
    model = MultiScaleTTA(model_of('msra', 2))
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


CONFIG = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_res50_8xb64-210e_mpii-256x256.py'
]
custom_imports = dict(imports=['mmpose_lossplus'], allow_failed_imports=False)
model = dict(_delete_=True, type='MultiScaleTTA', module={{_base_.model}})
crops = [dict(type='GetBBoxCenterScale', padding=p) for p in (1.25, 1.0, 1.5)]
affine = dict(type='TopdownAffine', input_size={{_base_.codec.input_size}})
test_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[crops, [affine], [dict(type='PackPoseInputs')]],
    ),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


@pytest.fixture
def cfg(tmp_path, mpii_data):
    """With a small network, the generated data, no other process."""
    path = tmp_path / 'three_scales.py'
    path.write_text(CONFIG, encoding='utf-8')
    cfg = Config.fromfile(path)
    cfg.model.module.backbone.update(depth=18, init_cfg=None)
    cfg.model.module.head.in_channels = 512
    heads = f'{mpii_data}/annotations/mpii_gt_val.mat'
    loader = cfg.test_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.update(data_root=f'{mpii_data}/', headbox_file=heads)
    return cfg


def test_pipeline_gives_crops_that_fit(cfg):
    """MPII's own centre and scale of 100 pixels, times the paddings."""
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    data = pseudo_collate([dataset[0], dataset[1]])
    assert [len(crops) for crops in data['inputs']] == [2, 2, 2]
    assert all(x.shape == (3, 256, 256) for c in data['inputs'] for x in c)
    for crops, width in zip(data['data_samples'], (125, 100, 150)):
        for sample in crops:
            assert sample.input_scale.tolist() == [width, width]
            assert sample.input_center.tolist() == [63, 70.5]


@pytest.mark.slow
def test_command_line(cfg, run_tool, tmp_path):
    """The checkpoint of the plain model is loaded into the module."""
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'plain.pth'
    out, dump = tmp_path / 'metrics.json', tmp_path / 'predictions.pkl'
    cfg.dump(config)
    module = MODELS.build(cfg.model.module)
    torch.save(dict(state_dict=module.state_dict()), checkpoint)
    options = ('--out', out, '--dump', dump, '--work-dir', tmp_path / 'work')
    run_tool('test.py', config, checkpoint, *options)
    assert 'PCK' in mmengine.load(out)
    results = mmengine.load(dump)
    assert len(results) == 4
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MultiScaleTTA(module).eval()
    with torch.no_grad():
        (expected,) = model.test_step(pseudo_collate([dataset[2]]))
    assert results[2]['pred_instances']['keypoints'] == pytest.approx(
        expected.pred_instances.keypoints, abs=1e-3
    )
