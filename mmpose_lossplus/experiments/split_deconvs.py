"""Exact rewrites of a model for inference, before it is exported.

ONNX Runtime and OpenVINO are slow at depthwise deconvolutions, on a CPU much
slower than at depthwise convolutions with as many multiplications.
"""

from typing import List

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import HSigmoid
from mmcv.cnn.utils import fuse_conv_bn
from mmpose.models.backbones.utils import SELayer
from mmpose.models.heads import HeatmapHead
from torch import Tensor, nn

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

    A deconvolution with kernel 4, stride 2 and padding 1 computes its outputs
    in even and odd rows and columns by four convolutions, each with a quarter
    of the kernel. The 1x1 convolution after it sees one pixel at a time, so it
    may come before the four are interleaved.

    Args:
        deconv (nn.ConvTranspose2d): C groups, with a bias.
        activation (nn.Module): What follows it.
        pointwise (nn.Module): The 1x1 convolution to O channels and what
            follows it.
    """

    def __init__(
        self,
        deconv: nn.ConvTranspose2d,
        activation: nn.Module,
        pointwise: nn.Module,
    ) -> None:
        super().__init__()
        channels = deconv.in_channels
        weight = F.pad(deconv.weight, (0, 1, 0, 1))
        self.convs = nn.ModuleList()
        for rows in TAPS:
            for columns in TAPS:
                conv = nn.Conv2d(
                    channels, channels, 3, padding=1, groups=channels
                )
                conv.weight = nn.Parameter(weight[:, :, rows][..., columns])
                conv.bias = deconv.bias
                self.convs.append(conv)
        self.activation = activation
        self.pointwise = pointwise

    def forward(self, x: Tensor) -> List[Tensor]:
        """Map (B, C, H, W) to four of (B, O, H, W), see :func:`interleave`."""
        return [self.pointwise(self.activation(f(x))) for f in self.convs]


def interleave(phases: List[Tensor]) -> Tensor:
    """Put maps of even and odd rows and columns together.

    Args:
        phases (List[Tensor]): Four of (B, C, H, W): even rows and columns,
            even rows and odd columns, odd and even, odd and odd.

    Returns:
        Tensor: (B, C, 2H, 2W).
    """
    _, c, h, w = map(int, phases[0].shape)
    # In ONNX Runtime faster than pixel_shuffle, which has to transpose.
    rows = [
        torch.stack(phases[i : i + 2], 4).reshape(-1, c, h, 2 * w)
        for i in (0, 2)
    ]
    return torch.stack(rows, 3).reshape(-1, c, 2 * h, 2 * w)


class Interleave(nn.Module):
    """:func:`interleave` as a module."""

    def forward(self, phases: List[Tensor]) -> Tensor:
        return interleave(phases)


class AttendedLayer(nn.Module):
    """The paper's attention block and the final layer in one.

    With the maps x, the weights W and the attentions c of the channels and s
    of the pixels, ``W (x + x * c + x * s) = (W * (1 + c)) x + s * (W x)``, so
    that nothing as large as x is computed but its products with W.

    Args:
        attention (ChannelSpatialAttention): Of C channels.
        final_layer (nn.Conv2d): To K channels, kernel 1.
    """

    def __init__(
        self, attention: ChannelSpatialAttention, final_layer: nn.Conv2d
    ) -> None:
        super().__init__()
        self.channel = attention.channel
        first, *rest = attention.spatial
        self.spatial = nn.Sequential(*rest)
        self.spatial_bias = first.bias
        weight = final_layer.weight.flatten(1)
        self.sizes = [len(weight), len(weight), 1]
        self.weight = torch.cat([weight, weight, first.weight.flatten(1)])
        self.attended = self.weight.clone()
        self.attended[len(weight) :] = 0
        self.bias = final_layer.bias.view(-1, 1, 1)
        self.activation = nn.Identity()
        if isinstance(final_layer, SigmoidConv2d):
            self.activation = nn.Sigmoid()

    def forward(self, phases: List[Tensor]) -> Tensor:
        """Map four of (B, C, H, W) to heatmaps (B, K, 2H, 2W)."""
        _, c, h, w = map(int, phases[0].shape)
        means = [F.adaptive_avg_pool2d(x, 1) for x in phases]
        mean = torch.cat(means, 3).mean(3, keepdim=True)
        weight = self.weight + self.attended * self.channel(mean).view(
            -1, 1, c
        )
        products = [
            (weight @ x.reshape(-1, c, h * w)).reshape(
                -1, sum(self.sizes), h, w
            )
            for x in phases
        ]
        channel, plain, spatial = interleave(products).split(self.sizes, 1)
        spatial = self.spatial(spatial + self.spatial_bias)
        return self.activation(channel + plain * spatial + self.bias)


def split_deconvs(head: HeatmapHead) -> None:
    """Rewrite a light head in place so that it has no deconvolutions.

    What it computes in evaluation stays the same, up to rounding.

    Args:
        head (HeatmapHead): The head, after :func:`fold`.

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
        if not isinstance(layers[0], nn.ConvTranspose2d):
            stages.append(layers.pop(0))
            continue
        deconv, _, activation, *pointwise = layers[:6]
        if deconv.kernel_size != (4, 4):
            raise ValueError(
                'the deconvolutions must have kernel 4, got '
                f'{deconv.kernel_size[0]}'
            )
        # Folded here, else each of the four gets weights of its own.
        pointwise = fuse_conv_bn(nn.Sequential(*pointwise))
        stages += [SplitStage(deconv, activation, pointwise), Interleave()]
        del layers[:6]
    if (
        isinstance(stages[-1], ChannelSpatialAttention)
        and isinstance(head.conv_layers, nn.Identity)
        and getattr(head.final_layer, 'kernel_size', None) == (1, 1)
    ):
        _, attention = stages.pop(-2), stages.pop()
        head.final_layer = AttendedLayer(attention, head.final_layer)
    head.deconv_layers = nn.Sequential(*stages)


def fold(model: nn.Module) -> None:
    """Fold into its layers what ``torch.onnx`` does not, in place.

    Batch norm after a deconvolution, and the scale and shift of the hard
    sigmoid in squeeze-and-excitation.

    Args:
        model (nn.Module): In evaluation.
    """
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                deconv, norm = module[i], module[i + 1]
                if isinstance(deconv, nn.ConvTranspose2d) and isinstance(
                    norm, nn.BatchNorm2d
                ):
                    _fold_norm(deconv, norm)
                    module[i + 1] = nn.Identity()
        elif isinstance(module, SELayer):
            conv, activation = module.conv2.conv, module.conv2.activate
            if isinstance(activation, HSigmoid):
                shifted = conv.bias + activation.bias
                conv.bias = nn.Parameter(shifted / activation.divisor)
                conv.weight = nn.Parameter(conv.weight / activation.divisor)
                module.conv2.activate = nn.Hardtanh(
                    activation.min_value, activation.max_value
                )


def _fold_norm(deconv: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    # The weights are (inputs, outputs of a group, ...).
    groups, shape = deconv.groups, deconv.weight.shape
    weight = deconv.weight.reshape(groups, -1, *shape[1:])
    weight = weight * scale.view(groups, 1, -1, 1, 1)
    deconv.weight = nn.Parameter(weight.reshape(shape))
    bias = 0 if deconv.bias is None else deconv.bias
    deconv.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias)
