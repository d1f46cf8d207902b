import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import FlopAnalyzer
from mmpose.registry import MODELS
from mmpose.testing import get_packed_inputs
from torch import nn

from mmpose_lossplus.necks import CascadedPyramid

CHANNELS = (4, 8, 12)


def feature_maps(size=8):
    return [
        torch.randn(2, c, size >> i, size >> i).double()
        for i, c in enumerate(CHANNELS)
    ]


def small():
    """In evaluation, with statistics that are not batch norm's initial."""
    neck = CascadedPyramid(CHANNELS, channels=6)
    for m in neck.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2)
    return neck.double().eval()


def model_cfg(depth, in_channels, channels, losses, decoder=None):
    return dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor'),
        backbone=dict(type='ResNet', depth=depth, out_indices=(0, 1, 2, 3)),
        neck=dict(
            type='CascadedPyramid', in_channels=in_channels, channels=channels
        ),
        head=dict(
            type='CPMHead',
            in_channels=channels,
            out_channels=17,
            num_stages=5,
            final_layer=dict(kernel_size=3, padding=1),
            loss=losses,
            decoder=decoder,
        ),
    )


def size(module):
    return sum(p.numel() for p in module.parameters())


def test_published_size():
    """27.0 M and 6.20 GFLOPs of arXiv 1902.09212, table 1."""
    loss = dict(type='KeypointMSELoss')
    cfg = model_cfg(50, (256, 512, 1024, 2048), 256, loss)
    model = MODELS.build(cfg).eval()
    assert size(model) == pytest.approx(27.0e6, rel=0.02)

    model.forward = model._forward
    flops = FlopAnalyzer(model, torch.zeros(1, 3, 256, 192))
    flops.unsupported_ops_warnings(False)
    flops.uncalled_modules_warnings(False)
    conv = {k: v['conv'] for k, v in flops.by_module_and_operator().items()}
    training_only = conv['neck.global_convs'] + sum(
        conv[f'head.multi_final_layers.{i}'] for i in range(4)
    )
    gflops = (conv[''] - training_only) / 1024**3
    assert gflops == pytest.approx(6.20, rel=0.02)


def test_size():
    neck = CascadedPyramid((4, 8), channels=6)
    assert size(neck.laterals) == (4 * 6 + 12) + (8 * 6 + 12)
    assert size(neck.merges) == 6 * 6 + 6
    assert size(neck.global_convs) == 2 * (6 * 6 + 12)
    bottleneck = 6 * 3 + 6 + 3 * 3 * 9 + 6 + 3 * 6 + 12
    assert size(neck.refines) == bottleneck == 141
    projection = 12 * 6 + 12
    assert size(neck.fuse) == bottleneck + 6 * 3 + projection
    assert size(neck) == 96 + 42 + 96 + 141 + 243


def test_bottlenecks_of_the_levels():
    neck = CascadedPyramid()
    assert [len(level) for level in neck.refines] == [0, 1, 2, 3]


@pytest.mark.parametrize('shape', [(8, 6), (7, 5)])
def test_maps_of_the_finest_level(shape):
    feats = [
        torch.rand(2, c, -(-shape[0] // 2**i), -(-shape[1] // 2**i))
        for i, c in enumerate(CHANNELS)
    ]
    outputs = CascadedPyramid(CHANNELS, channels=6)(tuple(feats))
    assert [o.shape for o in outputs] == [(2, 6, *shape)] * 4


def test_against_the_published_order():
    """Of upsampling and merging, level by level."""
    neck = small()
    feats = feature_maps()

    def upsample(x, scale):
        return F.interpolate(x, scale_factor=scale, mode='bilinear')

    c5 = neck.laterals[2](feats[2])
    c4 = neck.laterals[1](feats[1]) + neck.merges[1](upsample(c5, 2))
    c3 = neck.laterals[0](feats[0]) + neck.merges[0](upsample(c4, 2))
    fused = [
        c3,
        upsample(neck.refines[1](c4), 2),
        upsample(neck.refines[2](c5), 4),
    ]
    published = [
        neck.global_convs[0](c3),
        upsample(neck.global_convs[1](c4), 2),
        upsample(neck.global_convs[2](c5), 4),
        neck.fuse(torch.cat(fused, dim=1)),
    ]
    for level, expected in zip(neck(feats), published):
        torch.testing.assert_close(level, expected)


@pytest.mark.parametrize(
    ('level', 'changed'),
    [
        (0, [True, False, False, True]),
        (1, [True, True, False, True]),
        (2, [True, True, True, True]),
    ],
)
def test_upper_levels_reach_lower_ones_only(level, changed):
    neck = small()
    feats = feature_maps()
    before = neck(feats)
    feats[level] = feats[level] + 1
    after = neck(feats)
    assert changed == [not torch.equal(a, b) for a, b in zip(before, after)]


def test_gradients():
    """RefineNet's loss reaches all but the layers of GlobalNet's losses."""
    neck = CascadedPyramid(CHANNELS, channels=6).double()

    def reached(outputs):
        neck.zero_grad(set_to_none=True)
        sum((o * torch.rand_like(o)).sum() for o in outputs).backward()
        return {
            name
            for name, p in neck.named_parameters()
            if p.grad is not None and p.grad.abs().sum() > 0
        }

    names = {name for name, _ in neck.named_parameters()}
    assert reached(neck(feature_maps())) == names
    assert reached(neck(feature_maps())[-1:]) == {
        name for name in names if not name.startswith('global_convs')
    }


def test_trains_and_predicts_with_hard_keypoint_mining():
    codec = dict(
        type='MSRAHeatmap', input_size=(48, 64), heatmap_size=(12, 16), sigma=1
    )
    losses = [
        dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.125)
    ] * 4 + [dict(type='KeypointOHKMMSELoss', use_target_weight=True, topk=8)]
    cfg = model_cfg(18, (64, 128, 256, 512), 16, losses, codec)
    model = MODELS.build(cfg)
    data = model.data_preprocessor(
        get_packed_inputs(
            img_shape=(64, 48), input_size=(48, 64), heatmap_size=(12, 16)
        )
    )
    inputs, samples = data['inputs'], data['data_samples']
    # As for keypoints without a label.
    weights = torch.rand(2, 17) > 0.2
    target = torch.stack([s.gt_fields.heatmaps for s in samples])
    for sample, weight in zip(samples, weights):
        sample.gt_instance_labels.keypoint_weights = weight[None].float()

    model.train()
    heatmaps = model(inputs, None)
    errors = [
        (h - target).square().mean(dim=(2, 3)) * weights for h in heatmaps
    ]
    hardest = errors[-1].sort(descending=True).values[:, :8]
    expected = sum(e.mean() for e in errors[:4]) / 8 + hardest.mean()
    loss = model(inputs, samples, mode='loss')['loss_kpt']
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())

    model.eval().test_cfg = dict(output_heatmaps=True)
    with torch.no_grad():
        predictions = model(inputs, samples, mode='predict')
        refined = model(inputs, None)[-1]
    for sample, heatmap in zip(predictions, refined):
        assert torch.equal(sample.pred_fields.heatmaps, heatmap)
        assert sample.pred_instances.keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(in_channels=(256,)), r'levels, got \(256,\)\.$'),
        (dict(in_channels=256), r'levels, got 256\.$'),
        (dict(channels=255), r'^channels must .* integer, got 255\.$'),
        (dict(channels=0), r'integer, got 0\.$'),
        (dict(channels=None), r'integer, got None\.$'),
    ],
)
def test_bad_sizes(cfg, message):
    with pytest.raises(ValueError, match=message):
        CascadedPyramid(**cfg)


def test_wrong_number_of_feature_maps():
    with pytest.raises(ValueError, match='needs 3 feature maps .* got 2'):
        small()(feature_maps()[1:])
