import inspect

import pytest
import torch
from mmengine.analysis import parameter_count
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import nn

from mmpose_lossplus import (
    CBAM,
    ChannelSpatialAttention,
    DepthwiseDeconvAttentionHead,
    SqueezeExcitation,
)

from ..factories import CODEC, ROOT, count_flops, read

STEM = 'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192'
CONFIG = ROOT / 'configs' / 'heatmap_weighting' / f'{STEM}.py'
BLOCKS = (ChannelSpatialAttention, SqueezeExcitation, CBAM, None)


def light_model(num_keypoints):
    """The paper's model, from its own config."""
    cfg = read(CONFIG).model
    cfg.head.out_channels = num_keypoints
    return MODELS.build(cfg).eval()


@pytest.mark.parametrize(
    ('num_keypoints', 'size', 'gflops'),
    [
        # Paper, tables 1 and 3: 3.1 M; 0.58, 1.30 and 0.77 GFLOPs.
        (17, (256, 192), 0.573),
        (17, (384, 288), 1.289),
        (17, (256, 256), 0.764),
        (16, (256, 256), 0.763),
    ],
)
def test_size_of_the_paper_model(num_keypoints, size, gflops):
    model = light_model(num_keypoints)
    assert parameter_count(model)[''] == pytest.approx(3.078e6, abs=500)
    flops = count_flops(model, *size).total()
    assert flops / 1e9 == pytest.approx(gflops, abs=5e-4)


def test_size_of_the_head():
    """Papers' notes, 4.2, layer by layer."""
    head = light_model(17).head
    sizes = [parameter_count(layer)[''] for layer in head.deconv_layers]
    pairs = [sum(sizes[i : i + 2]) for i in range(0, 18, 3)]
    assert pairs == [17280, 246528, 4608, 66304, 4608, 66304]
    assert sizes[18] == 33355
    assert parameter_count(head)[''] == 443356


def test_stage_order():
    """Depthwise, BN, ReLU, 1x1 with bias, BN, ReLU, as the official code."""
    head = DepthwiseDeconvAttentionHead(32, 3)
    kinds = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    kinds += [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    *layers, attention = head.deconv_layers
    assert all(map(isinstance, layers, kinds * 3))
    assert type(attention) is ChannelSpatialAttention
    for deconv, conv in zip(layers[::6], layers[3::6]):
        assert deconv.groups == deconv.in_channels == deconv.out_channels
        assert deconv.bias is None
        assert conv.bias is not None


@pytest.mark.parametrize('kernel_sizes', [(4, 4, 4), (3, 2, 4), None])
def test_doubles_the_size_in_each_stage(kernel_sizes):
    channels = kernel_sizes and (256,) * len(kernel_sizes)
    head = DepthwiseDeconvAttentionHead(16, 3, channels, kernel_sizes)
    times = 2 ** len(kernel_sizes or ())
    output = head([torch.rand(2, 16, 4, 3)])
    assert output.shape == (2, 3, 4 * times, 3 * times)


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('as_class', [True, False])
def test_attention_after_any_stage(block, as_class):
    """Types are classes or their names."""
    cfg = block and dict(type=block if as_class else block.__name__, ratio=8)
    options = dict(deconv_attentions=(cfg, cfg))
    head = DepthwiseDeconvAttentionHead(16, 3, (32, 64), (4, 4), **options)
    found = [type(m) for m in head.deconv_layers if type(m) is block]
    assert len(found) == (2 if block else 0)
    assert head([torch.rand(1, 16, 4, 3)]).shape == (1, 3, 16, 12)


def test_swaps_with_the_host_head_by_type_alone():
    cfg = dict(
        in_channels=16,
        out_channels=3,
        deconv_out_channels=(32, 32, 32),
        deconv_kernel_sizes=(4, 4, 4),
        conv_out_channels=(24,),
        conv_kernel_sizes=(3,),
        final_layer=dict(kernel_size=3, padding=1),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=dict(type='MSRAHeatmap', **CODEC),
        init_cfg=None,
    )
    assert set(cfg) == set(inspect.signature(HeatmapHead).parameters)
    for name in ('HeatmapHead', 'DepthwiseDeconvAttentionHead'):
        head = MODELS.build(dict(type=name, **cfg))
        assert head([torch.rand(2, 16, 4, 3)]).shape == (2, 3, 32, 24)


def test_initialization():
    """Deconvolutions and final layer N(0, 0.001), the rest PyTorch's own."""
    head = DepthwiseDeconvAttentionHead(in_channels=960, out_channels=17)
    pointwise = head.deconv_layers[3].weight.std().item()
    attention = head.deconv_layers[-1].channel[0].weight.std().item()
    head.init_weights()
    for layer in (*head.deconv_layers[0:18:6], head.final_layer):
        assert layer.weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert (head.final_layer.bias == 0).all()
    assert head.deconv_layers[3].weight.std().item() == pointwise
    assert head.deconv_layers[-1].channel[0].weight.std().item() == attention


@pytest.mark.parametrize(
    ('attentions', 'message'),
    [
        ((None, None), 'got 2'),
        ((None, None, 'CBAM'), 'str'),
        ((None, None, dict(ratio=4)), 'type'),
        ((None, None, dict(type='SEBlock')), 'SEBlock'),
    ],
)
def test_bad_attentions(attentions, message):
    with pytest.raises((ValueError, TypeError, KeyError), match=message):
        DepthwiseDeconvAttentionHead(16, 3, deconv_attentions=attentions)
