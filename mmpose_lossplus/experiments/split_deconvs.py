"""The light head without deconvolutions, for inference on a CPU.

ONNX Runtime and OpenVINO are much slower at depthwise deconvolutions than at
depthwise convolutions with as many multiplications.
"""

import itertools
from typing import List, Union

import torch
import torch.nn.functional as F
from mmcv.cnn import fuse_conv_bn
from mmpose.models.heads import HeatmapHead
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from mmpose_lossplus import (
    ChannelSpatialAttention,
    DepthwiseDeconvAttentionHead,
    SigmoidConv2d,
)

# Places of a kernel of 4 that meet the pixels before, at and after an output
# of an even and of an odd place. There is nothing at 4.
TAPS = ((3, 1, 4), (4, 2, 0))


class SplitStage(nn.Module):
    """A stage of the light head as four convolutions.

    A depthwise deconvolution with kernel 4, stride 2 and padding 1 computes
    even and odd rows and columns by four convolutions, each with a quarter of
    the kernel. The pointwise layers after it, from C channels to O, see one
    pixel at a time, so they may come before the four are interleaved.
    """

    def __init__(self, deconv: nn.ConvTranspose2d, pointwise: nn.Module):
        super().__init__()
        channels = deconv.in_channels
        weight = F.pad(deconv.weight, (0, 1, 0, 1))
        self.convs = nn.ModuleList()
        for rows, columns in itertools.product(TAPS, TAPS):
            conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
            conv.weight = nn.Parameter(weight[:, :, rows][..., columns])
            conv.bias = deconv.bias
            self.convs.append(conv)
        self.pointwise = pointwise
        self.interleaves = True

    def forward(self, x: Tensor) -> Union[Tensor, List[Tensor]]:
        """Map (B, C, H, W) to (B, O, 2H, 2W), or to what is interleaved."""
        phases = [self.pointwise(conv(x)) for conv in self.convs]
        return interleave(phases) if self.interleaves else phases


def interleave(phases: List[Tensor]) -> Tensor:
    """Put four (B, C, H, W) together to (B, C, 2H, 2W).

    They are even rows and columns, even rows and odd columns, odd and even,
    odd and odd.
    """
    _, c, h, w = map(int, phases[0].shape)
    # In ONNX Runtime faster than pixel_shuffle, which has to transpose.
    rows = [
        torch.stack(phases[i : i + 2], 4).reshape(-1, c, h, 2 * w)
        for i in (0, 2)
    ]
    return torch.stack(rows, 3).reshape(-1, c, 2 * h, 2 * w)


class AttendedLayer(nn.Module):
    """The paper's attention block and the final layer in one.

    With the maps x, the weights W and the attentions c of the channels and s
    of the pixels, ``W (x + x * c + x * s) = (W * (1 + c)) x + s * (W x)``, so
    that nothing as large as x is computed but its products with W.
    """

    def __init__(self, attention: ChannelSpatialAttention, final: nn.Conv2d):
        super().__init__()
        self.channel = attention.channel
        first, *rest = attention.spatial
        self.spatial = nn.Sequential(*rest)
        self.spatial_bias = first.bias
        weight = final.weight.detach().flatten(1)
        self.sizes = [len(weight), len(weight), 1]
        products = [weight, weight, first.weight.detach().flatten(1)]
        self.register_buffer('weight', torch.cat(products))
        attended = F.pad(weight, (0, 0, 0, len(weight) + 1))
        self.register_buffer('attended', attended)
        self.bias = final.bias
        gives_logits = isinstance(final, SigmoidConv2d)
        self.activation = nn.Sigmoid() if gives_logits else nn.Identity()

    def forward(self, phases: List[Tensor]) -> Tensor:
        """Map four of (B, C, H, W) to heatmaps (B, K, 2H, 2W)."""
        _, c, h, w = map(int, phases[0].shape)
        means = [F.adaptive_avg_pool2d(x, 1) for x in phases]
        mean = torch.cat(means, 3).mean(3, keepdim=True)
        scale = self.channel(mean).view(-1, 1, c)
        weight = self.weight + self.attended * scale
        products = [
            (weight @ x.reshape(-1, c, h * w)).unflatten(2, (h, w))
            for x in phases
        ]
        channel, plain, spatial = interleave(products).split(self.sizes, 1)
        heatmaps = channel + plain * self.spatial(spatial + self.spatial_bias)
        if self.bias is not None:
            heatmaps = heatmaps + self.bias.view(-1, 1, 1)
        return self.activation(heatmaps)


def split_deconvs(head: HeatmapHead) -> None:
    """Rewrite a light head in evaluation, in place, without deconvolutions.

    Raises:
        ValueError: If it is no :class:`DepthwiseDeconvAttentionHead` with
            deconvolutions of kernel 4.
    """
    if not isinstance(head, DepthwiseDeconvAttentionHead):
        raise ValueError(
            'the head must be a DepthwiseDeconvAttentionHead, got '
            f'{type(head).__name__}'
        )
    layers, stages = list(head.deconv_layers), []
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, nn.ConvTranspose2d):
            if layer.kernel_size != (4, 4):
                raise ValueError(
                    'the deconvolutions must have kernel 4, got '
                    f'{layer.kernel_size[0]}'
                )
            norm, activation, *pointwise = layers[:5]
            del layers[:5]
            # Folded here, else each of the four gets weights of its own.
            pointwise = fuse_conv_bn(nn.Sequential(*pointwise))
            # Depthwise weights have the channels where a convolution has them.
            layer = SplitStage(
                fuse_conv_bn_eval(layer, norm),
                nn.Sequential(activation, pointwise),
            )
        stages.append(layer)
    if (
        isinstance(stages[-1], ChannelSpatialAttention)
        and isinstance(head.conv_layers, nn.Identity)
        and getattr(head.final_layer, 'kernel_size', None) == (1, 1)
    ):
        head.final_layer = AttendedLayer(stages.pop(), head.final_layer)
        stages[-1].interleaves = False
    head.deconv_layers = nn.Sequential(*stages)
