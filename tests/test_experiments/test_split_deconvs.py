"""The light head computes the same without deconvolutions."""

import pytest
import torch
from mmpose.models.heads import HeatmapHead

from mmpose_lossplus import (
    ChannelSpatialAttention,
    DepthwiseDeconvAttentionHead,
)
from mmpose_lossplus.experiments.split_deconvs import split_deconvs


@pytest.mark.parametrize('size', [(1, 1), (3, 2)])
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
@torch.no_grad()
def test_the_same_heatmaps(options, size):
    head = DepthwiseDeconvAttentionHead(
        16, 16, deconv_out_channels=(8, 8, 16), **options
    )
    for name, value in head.double().eval().state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.1, 1)
        elif value.is_floating_point():
            value.normal_(std=0.5)
    x = torch.randn(2, 16, *size, dtype=torch.double)
    expected = head((x,))
    split_deconvs(head)
    assert not any(
        isinstance(m, torch.nn.ConvTranspose2d) for m in head.modules()
    )
    torch.testing.assert_close(head((x,)), expected)


def test_a_split_head_moves_as_a_whole():
    head = DepthwiseDeconvAttentionHead(16, 3).eval()
    split_deconvs(head)
    head.to('meta')
    assert head((torch.rand(1, 16, 3, 2, device='meta'),)).is_meta


def test_heads_that_cannot_be_split():
    with pytest.raises(ValueError, match='got HeatmapHead'):
        split_deconvs(HeatmapHead(16, 17))
    head = DepthwiseDeconvAttentionHead(16, 17, deconv_kernel_sizes=(4, 3, 4))
    with pytest.raises(ValueError, match='kernel 4, got 3'):
        split_deconvs(head.eval())
