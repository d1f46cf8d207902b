"""Attention blocks of the light head, (B, C, H, W) in and out.

The rows of table 6 in Lightweight Human Pose Estimation Using
Heatmap-Weighting Loss: none, SE, CBAM and the paper's own. All have one hard
sigmoid, (x + 3) / 6 clamped to [0, 1], as the official code
(https://github.com/HAIV-Lab/ICPR22w) has MMCV's ``HSigmoid``: that function
since MMCV 1.4.4, (x + 1) / 2 before; which trained the paper's models is not
known. :class:`.HardSigmoidMobileNetV3` has the same one.
"""

import torch
from mmpose.models.backbones.utils import SELayer
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import hardsigmoid


def _squeezed(channels: int, ratio: int) -> int:
    if not 1 <= ratio <= channels:
        raise ValueError(
            f'ratio must lie between 1 and the {channels} channels, '
            f'got {ratio}.'
        )
    return channels // ratio


@MODELS.register_module()
class ChannelSpatialAttention(nn.Module):
    """The paper's block: identity + channel attention + spatial attention.

    ``x + x * channel(x) + x * spatial(x)``, eqs. (5) to (7). The ReLU between
    the two convolutions of each branch is the official code's, the equations
    do not show it.

    Args:
        channels (int): C.
        ratio (int): Squeeze ratio of the channel branch. Defaults to 4.
    """

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        squeezed = _squeezed(channels, ratio)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(1, 1, 3, padding=1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        # x + x * channel + x * spatial, in two passes over x instead of four.
        return x * (1 + self.channel(pooled) + self.spatial(x))


@MODELS.register_module()
class SqueezeExcitation(SELayer):
    """Squeeze-and-excitation, ``x * channel(x)`` (arXiv 1709.01507).

    With a hard sigmoid where its paper has a sigmoid, and the ratio of the
    paper's own block: likely what the official code of table 6 has, which
    does not state it.

    Args:
        channels (int): C.
        ratio (int): Squeeze ratio. Defaults to 4.
    """

    def __init__(self, channels: int, ratio: int = 4) -> None:
        _squeezed(channels, ratio)  # which refuses a bad ratio
        act_cfg = (dict(type='ReLU'), dict(type=nn.Hardsigmoid))
        super().__init__(channels, ratio, act_cfg=act_cfg)


@MODELS.register_module()
class CBAM(nn.Module):
    """Convolutional block attention module (arXiv 1807.06521).

    Channel attention from average- and max-pooled features through one MLP,
    eq. (2), then spatial attention from the mean and maximum over channels,
    eq. (3).

    The settings are those of the heatmap-weighting paper's official code
    (``models/heads/utils/cbam.py``): no bias in the MLP, one in the 7x7
    convolution, hard sigmoids. Its default ratio is 16, but its head passes
    the 4 of the paper's own block.

    Args:
        channels (int): C.
        ratio (int): Squeeze ratio of the channel attention. Defaults to 4.
        kernel_size (int): Of the spatial attention, odd. Defaults to 7.
    """

    def __init__(
        self, channels: int, ratio: int = 4, kernel_size: int = 7
    ) -> None:
        super().__init__()
        if kernel_size % 2 != 1:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}.')
        squeezed = _squeezed(channels, ratio)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1, bias=False),
        )
        self.spatial = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        average = x.mean(dim=(2, 3), keepdim=True)
        maximum = x.amax(dim=(2, 3), keepdim=True)
        x = x * hardsigmoid(self.mlp(average) + self.mlp(maximum))
        pooled = [x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)]
        return x * hardsigmoid(self.spatial(torch.cat(pooled, dim=1)))
