import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import parameter_count
from mmpose.registry import MODELS
from mmpose.testing import get_packed_inputs

from mmpose_lossplus.necks import CascadedPyramid

from ..factories import CODEC, conv_gflops, randomize_norms

CHANNELS = (4, 8, 12)


def feature_maps(height, width):
    return [
        torch.randn(2, c, -(-height // 2**i), -(-width // 2**i)).double()
        for i, c in enumerate(CHANNELS)
    ]


def small():
    return randomize_norms(CascadedPyramid(CHANNELS, channels=6))


def build_model(depth, in_channels, channels, **head):
    neck = dict(type='CascadedPyramid', channels=channels)
    head = dict(head, type='CPMHead', out_channels=17, num_stages=5)
    final_layer = dict(kernel_size=3, padding=1)
    return MODELS.build(
        dict(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(type='PoseDataPreprocessor'),
            backbone=dict(type='ResNet', depth=depth, out_indices=range(4)),
            neck=dict(neck, in_channels=in_channels),
            head=dict(head, in_channels=channels, final_layer=final_layer),
        )
    )


def test_published_size():
    """27.0 M and 6.20 GFLOPs of arXiv 1902.09212, table 1."""
    model = build_model(50, (256, 512, 1024, 2048), 256)
    assert parameter_count(model)[''] == pytest.approx(27.0e6, rel=0.02)
    gflops = conv_gflops(model, 256, 192)
    training_only = gflops['neck.global_convs'] + sum(
        gflops[f'head.multi_final_layers.{i}'] for i in range(4)
    )
    assert gflops[''] - training_only == pytest.approx(6.20, rel=0.02)


def test_size_by_hand():
    laterals = (4 * 6 + 12) + (8 * 6 + 12)
    merges, global_convs = 6 * 6 + 6, 2 * (6 * 6 + 12)
    bottleneck = 6 * 3 + 6 + 3 * 3 * 9 + 6 + 3 * 6 + 12
    # Twice as many channels come into the last one, with a projection.
    fuse = bottleneck + 6 * 3 + 12 * 6 + 12
    neck = CascadedPyramid((4, 8), channels=6)
    expected = laterals + merges + global_convs + bottleneck + fuse
    assert parameter_count(neck)[''] == expected == 618


@pytest.mark.parametrize('shape', [(8, 6), (7, 5)])
def test_against_the_published_order(shape):
    """Of upsampling and merging, level by level."""
    neck, feats = small(), feature_maps(*shape)

    def upsample(x, like):
        return F.interpolate(x, size=like.shape[2:], mode='bilinear')

    c5 = neck.laterals[2](feats[2])
    c4 = neck.laterals[1](feats[1])
    c4 = c4 + neck.merges[1](upsample(c5, c4))
    c3 = neck.laterals[0](feats[0])
    c3 = c3 + neck.merges[0](upsample(c4, c3))
    _, once, twice = neck.refines
    assert (len(once), len(twice)) == (1, 2)
    fused = [c3, upsample(once(c4), c3), upsample(twice(c5), c3)]
    published = [
        neck.global_convs[0](c3),
        upsample(neck.global_convs[1](c4), c3),
        upsample(neck.global_convs[2](c5), c3),
        neck.fuse(torch.cat(fused, dim=1)),
    ]
    outputs = neck(tuple(feats))
    assert len(outputs) == len(published)
    for output, expected in zip(outputs, published):
        assert output.shape == (2, 6, *shape)
        torch.testing.assert_close(output, expected)


def test_trains_and_predicts_with_hard_keypoint_mining():
    codec = dict(type='MSRAHeatmap', **CODEC)
    loss = dict(type='KeypointMSELoss', use_target_weight=True)
    losses = [dict(loss, loss_weight=0.125)] * 4
    losses.append(dict(loss, type='KeypointOHKMMSELoss', topk=8))
    channels = (64, 128, 256, 512)
    model = build_model(18, channels, 16, loss=losses, decoder=codec)
    sizes = {key: CODEC[key] for key in ('input_size', 'heatmap_size')}
    data = get_packed_inputs(img_shape=(64, 48), **sizes)
    data = model.data_preprocessor(data)
    inputs, samples = data['inputs'], data['data_samples']
    # As for keypoints without a label.
    weights = torch.rand(2, 17) > 0.2
    target = torch.stack([s.gt_fields.heatmaps for s in samples])
    for sample, weight in zip(samples, weights):
        sample.gt_instance_labels.keypoint_weights = weight[None].float()

    model.train()
    errors = [
        (h - target).square().mean(dim=(2, 3)) * weights
        for h in model(inputs, None)
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
    ('name', 'value'),
    [
        *(('in_channels', value) for value in ((256,), 256)),
        *(('channels', value) for value in (255, 0, None)),
    ],
)
def test_refused_sizes(name, value):
    with pytest.raises(ValueError, match=rf'{name}.*{re.escape(repr(value))}'):
        CascadedPyramid(**{name: value})


def test_wrong_number_of_feature_maps():
    with pytest.raises(ValueError, match='3 .* 2'):
        small()(feature_maps(8, 8)[1:])
