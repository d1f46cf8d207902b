"""A backbone for MMPretrain, which must be there.

The package does not import it; configs do, by ``custom_imports``.
"""

from typing import Any

import torch.nn.functional as F
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR
from mmpretrain.registry import MODELS
from torch import Tensor, nn


class ZeroPaddedShortcut(nn.Module):
    """Every second pixel, and channels of zeros: no parameters.

    Args:
        channels (int): How many are added.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) becomes (N, C + channels, H / 2, W / 2)."""
        return F.pad(x[..., ::2, ::2], (0, 0, 0, 0, 0, self.channels))


@MODELS.register_module()
class BasicResNetCIFAR(ResNet_CIFAR):
    """ResNet of basic blocks for CIFAR, as its paper has it.

    Three stages of n blocks with 16, 32 and 64 channels, depth 6n + 2, and
    shortcuts without parameters. Depth 110 has 1.7 M parameters. MMPretrain's
    own :class:`ResNet_CIFAR` has the four stages and the channels of ImageNet.

    Source: Deep residual learning for image recognition, sec. 4.2 and
    table 6, arXiv 1512.03385.

    Args:
        depth (int): 6n + 2 with n of at least 1, such as 110.
        **kwargs: See :class:`ResNet_CIFAR`. Residuals do not begin at zero
            (``zero_init_residual=False``), as in the paper.

    Raises:
        ValueError: If ``depth`` is something else.
    """

    def __init__(self, depth: int, **kwargs: Any) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(
                'depth must be 6n + 2 with n of at least 1, such as 20, 56 or '
                f'110, got {depth}.'
            )
        self.arch_settings = {depth: (BasicBlock, (blocks,) * 3)}
        defaults = dict(
            stem_channels=16,
            base_channels=16,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(2,),
            zero_init_residual=False,
        )
        super().__init__(depth, **{**defaults, **kwargs})
        for name in self.res_layers:
            first = getattr(self, name)[0]
            if first.downsample is not None:
                added = first.out_channels - first.in_channels
                first.downsample = ZeroPaddedShortcut(added)
