"""Averages over crops of several scales."""

import json

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import DATASETS, KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix
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


def crop(scale, **meta):
    sample = PoseDataSample(
        metainfo=dict(
            dict(
                input_center=CENTER,
                input_scale=COVER * np.float32(scale),
                input_size=tuple(SIZE),
                flip_indices=[1, 0],
            ),
            **meta,
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=np.array([[70.0, 40.0, 130.0, 120.0]]),
        bbox_scores=np.ones(1),
        bbox_scales=COVER[None] * scale,
    )
    return sample


def batch_of(maps, scales, **meta):
    """One person whose crop of each scale has the given heatmaps."""
    return dict(
        inputs=[[torch.as_tensor(m).float()] for m in maps],
        data_samples=[[crop(scale, **meta)] for scale in scales],
    )


def input_to_picture(points, scale):
    """MMPose's ``add_pred_to_datasample``."""
    return points / SIZE * COVER * scale + CENTER - 0.5 * COVER * scale


def cell_to_picture(codec, scale):
    """Picture position of every cell, (2, 32, 24), as the codec decodes it.

    From two single peaks, which no refinement moves, and a straight line.
    """
    codec = KEYPOINT_CODECS.build(CODECS[codec])
    at = []
    for cell in (10, 14):
        maps = np.zeros((1, 32, 24), dtype=np.float32)
        maps[0, cell, cell] = 1
        at.append(input_to_picture(codec.decode(maps)[0][0, 0], scale))
    step = (at[1] - at[0]) / 4
    y, x = np.mgrid[:32, :24]
    return np.stack(
        [at[0][0] + (x - 10) * step[0], at[0][1] + (y - 10) * step[1]]
    )


def gaussians(codec, points, scale, sigma=2.0):
    """Maps that peak at the points of the picture, (K, 32, 24)."""
    cells = cell_to_picture(codec, scale)
    width = COVER * scale / CELLS * sigma
    return np.stack(
        [
            np.exp(-(((cells.T - point) / width) ** 2).sum(-1) / 2).T
            for point in points
        ]
    )


# --- Geometry --------------------------------------------------------------


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('scale', [0.7, 1.0, 1.3])
def test_same_cell_is_same_place(codec, scale):
    """Maps that say where they are agree with the frame's own everywhere.

    Sampling is exact for such linear maps, and a crop that does not reach a
    cell must not have a say there.
    """
    model = MultiScaleTTA(model_of(codec, 2, output_heatmaps=True))
    maps = [cell_to_picture(codec, s) for s in (1.0, scale)]
    (result,) = model.test_step(batch_of(maps, [1.0, scale]))
    merged = result.pred_fields.heatmaps.numpy()
    assert merged == pytest.approx(maps[0], abs=1e-4)


@pytest.mark.parametrize(
    ('codec', 'warp'),
    [
        ('msra', get_warp_matrix),
        ('dark', get_warp_matrix),
        ('udp', get_udp_warp_matrix),
    ],
)
def test_cells_are_where_the_crop_has_them(codec, warp):
    """The decoder's places, on which all here rests, fit ``TopdownAffine``."""
    matrix = warp(CENTER, COVER * 1.3, 0, output_size=SIZE)
    x, y = cell_to_picture(codec, 1.3)[:, 20, 9]
    scale = KEYPOINT_CODECS.build(CODECS[codec]).scale_factor
    assert matrix @ [x, y, 1] / scale == pytest.approx([9, 20], abs=1e-4)


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


def test_autocast_does_not_blur_positions():
    maps = [cell_to_picture('msra', s) for s in (1.0, 0.7)]
    model = MultiScaleTTA(model_of('msra', 2, output_heatmaps=True))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        (result,) = model.test_step(batch_of(maps, [1.0, 0.7]))
    merged = result.pred_fields.heatmaps.numpy()
    assert merged == pytest.approx(maps[0], abs=1e-4)


def test_order_of_the_other_scales():
    torch.manual_seed(1)
    maps = list(torch.rand(6, 5, 32, 24))
    model = MultiScaleTTA(model_of('udp', 5))
    (a,) = model.test_step(batch_of(maps, SCALES))
    order = [0, 4, 2, 5, 1, 3]
    (b,) = model.test_step(
        batch_of([maps[i] for i in order], [SCALES[i] for i in order])
    )
    for key in ('keypoints', 'keypoint_scores'):
        assert b.pred_instances[key] == pytest.approx(
            a.pred_instances[key], abs=1e-4
        )


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
    assert result.pred_instances.keypoint_scores > 0.9
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


# --- Parity with a plain test ----------------------------------------------


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


def test_heatmaps_are_kept_only_on_demand():
    data = batch_of([torch.rand(2, 32, 24)] * 2, [1.0, 0.8])
    (result,) = MultiScaleTTA(model_of('msra', 2)).test_step(data)
    assert 'pred_fields' not in result


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


# --- Bad input -------------------------------------------------------------


def test_plain_data():
    model = MultiScaleTTA(model_of('msra', 2))
    data = dict(inputs=[torch.rand(2, 32, 24)], data_samples=[crop(1.0)])
    with pytest.raises(ValueError, match='needs a TestTimeAug'):
        model.test_step(data)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('input_center', CENTER + 2, r'\[100.0, 80.0\] and \[102.0, 82.0\]'),
        ('input_size', (96, 128), r'input_size .* and \(96, 128\)'),
        ('bbox_rotation', np.array([30.0]), r'None and \[30.0\]'),
        ('flip', True, 'flip None and True'),
    ],
)
def test_crops_that_differ_in_more_than_scale(key, value, message):
    model = MultiScaleTTA(model_of('msra', 2))
    data = batch_of([torch.rand(2, 32, 24)] * 2, [1.0, 0.8])
    data['data_samples'][1][0].set_metainfo({key: value})
    with pytest.raises(ValueError, match=f'differ only in scale.*{message}'):
        model.test_step(data)


def test_training():
    model = MultiScaleTTA(model_of('msra', 2))
    data = dict(inputs=[torch.rand(2, 32, 24)], data_samples=[crop(1.0)])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(NotImplementedError, match='train and validate with'):
        model.train_step(data, OptimWrapper(optimizer))
    with pytest.raises(NotImplementedError, match='train and validate with'):
        model.val_step(data)


@pytest.mark.parametrize(
    ('decoder', 'found'),
    [
        (None, 'no decoder'),
        (
            dict(type='UDPHeatmap', heatmap_type='combined', **COMMON),
            "UDPHeatmap of heatmap_type='combined'",
        ),
        (
            dict(type='SimCCLabel', input_size=(48, 64)),
            'SimCCLabel',
        ),
    ],
)
def test_decoder_without_heatmaps(decoder, found):
    module = model_of('msra', 6)
    module.head.decoder = decoder and KEYPOINT_CODECS.build(decoder)
    with pytest.raises(TypeError, match=f'Estimator with {found}'):
        MultiScaleTTA(module)


def test_other_models():
    class Other(nn.Module):
        def test_step(self, data):
            pass

    with pytest.raises(TypeError, match='got Other with no decoder'):
        MultiScaleTTA(Other())


# --- With MMPose's own parts -----------------------------------------------

CONFIG = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/'
    'td-hm_res50_8xb64-210e_mpii-256x256.py'
]
custom_imports = dict(
    imports=['mmpose_lossplus.pose_estimators'], allow_failed_imports=False
)
model = dict(
    _delete_=True, type='MultiScaleTTA', module={{_base_.model}}
)
test_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='GetBBoxCenterScale', padding=1.25),
                dict(type='GetBBoxCenterScale', padding=1.0),
                dict(type='GetBBoxCenterScale', padding=1.5),
            ],
            [
                dict(
                    type='TopdownAffine',
                    input_size={{_base_.codec.input_size}},
                )
            ],
            [dict(type='PackPoseInputs')],
        ],
    ),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'mine' / 'three_scales.py'
    path.parent.mkdir()
    path.write_text(CONFIG)
    return path


@pytest.fixture
def options(tmp_path, mpii_data):
    """A small network, the generated data, no other process."""
    loader = 'test_dataloader'
    return {
        'model.module.backbone.depth': 18,
        'model.module.backbone.init_cfg': None,
        'model.module.head.in_channels': 512,
        f'{loader}.dataset.data_root': f'{mpii_data}/',
        f'{loader}.dataset.headbox_file': str(
            mpii_data / 'annotations' / 'mpii_gt_val.mat'
        ),
        f'{loader}.num_workers': 0,
        f'{loader}.persistent_workers': False,
        'env_cfg.dist_cfg.backend': 'gloo',
        'work_dir': str(tmp_path / 'work'),
    }


@pytest.fixture
def cfg(config, options):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(options)
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


def test_runner(cfg, tmp_path):
    """A peak at the centre of every crop, and a step to lower right."""
    dump = tmp_path / 'predictions.pkl'
    cfg.test_evaluator = [
        cfg.test_evaluator,
        dict(type='DumpResults', out_file_path=str(dump)),
    ]
    runner = Runner.from_cfg(cfg)
    module = runner.model.module
    assert isinstance(module, TopdownPoseEstimator)
    maps = torch.zeros(1, 16, 64, 64)
    maps[..., 32:34, 32:34] = 0.5
    maps[..., 32, 32] = 1
    module.head.forward = lambda feats: maps.repeat(len(feats[-1]), 1, 1, 1)
    module.test_cfg['flip_test'] = False
    assert 'PCK' in runner.test()
    results = mmengine.load(dump)
    assert len(results) == 4
    for result in results:
        instances = result['pred_instances']
        expected = np.add([63, 70.5], 0.25 * 125 / 64)
        assert abs(instances['keypoints'] - expected).max() < 1e-4
        assert instances['keypoint_scores'] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_command_line(config, cfg, options, run_tool, tmp_path):
    """The checkpoint of the plain model is loaded into the module."""
    module = MODELS.build(cfg.model.module)
    checkpoint = tmp_path / 'plain.pth'
    torch.save(dict(state_dict=module.state_dict()), checkpoint)
    out = tmp_path / 'metrics.json'
    dump = tmp_path / 'predictions.pkl'
    log = run_tool(
        *('test.py', config, checkpoint, '--out', out, '--dump', dump),
        '--cfg-options',
        *[f'{key}={value}' for key, value in options.items()],
    ).stdout
    assert f'from {checkpoint}' in log
    assert 'do not match' not in log
    assert 'PCK' in json.loads(out.read_text())
    model = MultiScaleTTA(module).eval()
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with torch.no_grad():
        (expected,) = model.test_step(pseudo_collate([dataset[2]]))
    found = mmengine.load(dump)[2]['pred_instances']
    assert found['keypoints'] == pytest.approx(
        expected.pred_instances.keypoints, abs=1e-3
    )
