"""Attention blocks of the light head, (B, C, H, W) in and out.

The rows of table 6 in Lightweight Human Pose Estimation Using
Heatmap-Weighting Loss: none, SE, CBAM and the paper's own. Its settings for SE
and CBAM are not published; both take the paper's own squeeze ratio of 4 here.
"""

import torch
from mmpose.models.backbones.utils import SELayer
from mmpose.registry import MODELS
from torch import Tensor, nn


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
    do not show it; the hard sigmoid is (x + 3) / 6, clamped to [0, 1].

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

    Args:
        channels (int): C.
        ratio (int): Squeeze ratio. Defaults to 4.
    """

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__(channels, _squeezed(channels, ratio))


@MODELS.register_module()
class CBAM(nn.Module):
    """Convolutional block attention module (arXiv 1807.06521).

    Channel attention from average- and max-pooled features through one MLP,
    eq. (2), then spatial attention from the mean and maximum over channels,
    eq. (3).

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
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
        )
        self.spatial = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        average = x.mean(dim=(2, 3), keepdim=True)
        maximum = x.amax(dim=(2, 3), keepdim=True)
        x = x * (self.mlp(average) + self.mlp(maximum)).sigmoid()
        pooled = [x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)]
        return x * self.spatial(torch.cat(pooled, dim=1)).sigmoid()
