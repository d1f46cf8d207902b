"""The light head computes the same without deconvolutions."""

import pytest
import torch
from mmpose.models.heads import HeatmapHead
from torch import nn

from mmpose_lossplus import (
    ChannelSpatialAttention,
    DepthwiseDeconvAttentionHead,
    SigmoidConv2d,
)
from mmpose_lossplus.experiments.split_deconvs import (
    AttendedLayer,
    SplitStage,
    interleave,
    split_deconvs,
)


def randomize(module):
    """Weights and statistics of some size, in double precision."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)
    return module.double().eval()


@torch.no_grad()
def difference(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def test_interleave():
    phases = [torch.full((1, 1, 1, 2), float(i)) for i in range(4)]
    expected = [[0.0, 1.0, 0.0, 1.0], [2.0, 3.0, 2.0, 3.0]]
    assert interleave(phases).tolist() == [[expected]]


@pytest.mark.parametrize('size', [(1, 1), (1, 3), (4, 3)])
def test_split_stage(size):
    deconv = nn.ConvTranspose2d(5, 5, 4, stride=2, padding=1, groups=5)
    pointwise = nn.Sequential(nn.ReLU(), nn.Conv2d(5, 3, 1))
    whole = randomize(nn.Sequential(deconv, pointwise))
    deconv.weight.data -= 0.5
    x = torch.randn(2, 5, *size, dtype=torch.double)
    assert difference(SplitStage(deconv, pointwise)(x), whole(x)) < 1e-12


@pytest.mark.parametrize('final', [nn.Conv2d, SigmoidConv2d])
@pytest.mark.parametrize('bias', [True, False])
def test_attended_layer(final, bias):
    attention = ChannelSpatialAttention(8)
    whole = nn.Sequential(attention, final(8, 3, 1, bias=bias))
    whole.double().eval()
    phases = list(torch.randn(4, 2, 8, 3, 2, dtype=torch.double))
    expected = whole(interleave(phases))
    # Not at the ends of the hard sigmoids, where they are constant.
    assert 0 < attention.spatial(interleave(phases)).min() < 1
    assert difference(AttendedLayer(*whole)(phases), expected) < 1e-12


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(final_layer=dict(type='SigmoidConv2d', kernel_size=1)),
        dict(final_layer=dict(kernel_size=1, bias=False)),
        dict(final_layer=dict(kernel_size=3, padding=1)),
        dict(final_layer=None),
        dict(conv_out_channels=[16], conv_kernel_sizes=[1]),
        dict(deconv_attentions=[None] * 3),
        dict(deconv_attentions=[dict(type='CBAM')] * 3),
        dict(deconv_attentions=[dict(type=ChannelSpatialAttention)] * 3),
    ],
)
def test_split_head(options):
    head = DepthwiseDeconvAttentionHead(
        16, 16, deconv_out_channels=(8, 8, 16), **options
    )
    randomize(head)
    x = torch.randn(2, 16, 3, 2, dtype=torch.double)
    expected = head((x,))
    split_deconvs(head)
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in head.modules())
    scale = expected.abs().max().item()
    assert difference(head((x,)), expected) < 1e-12 * scale


def test_a_split_head_moves_as_a_whole():
    head = DepthwiseDeconvAttentionHead(16, 3).eval()
    split_deconvs(head)
    head.to('meta')
    assert head((torch.rand(1, 16, 3, 2, device='meta'),)).is_meta


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (HeatmapHead(16, 17, (8, 8, 8)), 'got HeatmapHead'),
        (
            DepthwiseDeconvAttentionHead(
                16, 17, deconv_kernel_sizes=(4, 3, 4)
            ),
            'kernel 4, got 3',
        ),
    ],
)
def test_heads_that_cannot_be_split(head, message):
    with pytest.raises(ValueError, match=message):
        split_deconvs(head.eval())
