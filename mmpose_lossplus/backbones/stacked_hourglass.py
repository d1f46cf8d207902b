from functools import partial
from typing import List, Optional, Union

from mmcv.cnn import ConvModule, build_conv_layer
from mmengine.model import ModuleList
from mmpose.models.backbones.base_backbone import BaseBackbone
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..layers import SigmoidConv2d

# Uniform within 1/sqrt(fan-in).
INIT_CFG = dict(
    type='Kaiming',
    layer='Conv2d',
    a=5**0.5,
    mode='fan_in',
    nonlinearity='leaky_relu',
    distribution='uniform',
)


@MODELS.register_module()
class StackedHourglass(BaseBackbone):
    """Stacked hourglasses of bottlenecks (arXiv 1603.06937).

    (B, 3, H, W) to a list of ``num_stacks`` heatmaps (B, ``out_channels``,
    H/4, W/4), each for a loss of its own. Like MMPose's ``CPM`` it predicts
    within, because 1x1 convolutions of a stack's features and of its
    predicted heatmaps are added to the next stack's input; its head is
    ``CPMHead(final_layer=None)``, which adds nothing. MMPose's
    ``HourglassNet`` has two basic blocks where the paper has one bottleneck,
    five levels where it has four, and does not re-inject heatmaps.

    Source: ``src/models/hg.lua`` of the paper's code,
    https://github.com/princeton-vl/pose-hg-train, with one module per place.
    One thing differs: only predictions have a bias, for every other one would
    be removed by a batch norm before the next ReLU.

    With ``final_layer=dict(type='SigmoidConv2d')`` what is re-injected is the
    logits, in training and evaluation: the Anchor Loss paper puts the sigmoid
    "on top of the standard architecture", whose next stack sees the output of
    the convolution.

    With 8 stacks and 17 keypoints it has 25.37 M parameters, 0.03 M of them
    for the re-injection. Published are 25.1 (table 1 of arXiv 1902.09212),
    which does not say what it counts: without biases, norms and re-injection
    it would be 25.2. At 256x192 it has 19.2 GFLOPs: multiply-adds of
    convolutions in units of 1024^3, as that paper's code counts. Published
    are 14.3 there, three quarters of the 19.1 in its table 4 for 256x256, and
    19.48 in table 3 of arXiv 1711.07319.

    Args:
        out_channels (int): Number of keypoints.
        num_stacks (int): Defaults to 8.
        channels (int): Of every stack, even. Defaults to 256.
        depth (int): Poolings within a stack. Defaults to 4.
        final_layer (dict): Arguments of the convolutions that predict, as
            those of a head's ``final_layer``. Defaults to
            ``dict(kernel_size=1)``.
        norm_cfg (dict, optional): Config of the norm layers. Defaults to
            ``None``, which is batch norm.
        init_cfg (dict | list[dict], optional): Defaults to ``None``, which is
            the source's: uniform within 1/sqrt(fan-in), without the biases
            of the predictions, which are 0.

    Raises:
        ValueError: If ``out_channels``, ``num_stacks``, ``channels`` or
            ``depth`` is not a positive integer or ``channels`` is odd; in
            ``forward``, if H or W is not divisible by ``4 * 2**depth``.
    """

    def __init__(
        self,
        out_channels: int,
        num_stacks: int = 8,
        channels: int = 256,
        depth: int = 4,
        final_layer: Optional[dict] = None,
        norm_cfg: Optional[dict] = None,
        init_cfg: Optional[Union[dict, List[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg or INIT_CFG)
        sizes = dict(
            out_channels=out_channels,
            num_stacks=num_stacks,
            channels=channels,
            depth=depth,
        )
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(
                    f'{name} must be a positive integer, got {size!r}.'
                )
        if channels % 2:
            raise ValueError(f'channels must be even, got {channels}.')
        norm_cfg = norm_cfg or dict(type='BN')
        self.stride = 4 * 2**depth
        residual = partial(_Residual, norm_cfg=norm_cfg)
        self.stem = nn.Sequential(
            ConvModule(3, 64, 7, stride=2, padding=3, norm_cfg=norm_cfg),
            residual(64, 128),
            nn.MaxPool2d(2),
            residual(128, 128),
            residual(128, channels),
        )
        self.stacks = nn.ModuleList(
            nn.Sequential(
                _Hourglass(depth, channels, norm_cfg),
                residual(channels, channels),
                ConvModule(channels, channels, 1, norm_cfg=norm_cfg),
            )
            for _ in range(num_stacks)
        )
        layer = dict(
            type='Conv2d',
            in_channels=channels,
            out_channels=out_channels,
            kernel_size=1,
        )
        layer.update(final_layer or {})
        # MMEngine's, which initializes what initializes itself.
        self.predictions = ModuleList(
            build_conv_layer(layer) for _ in range(num_stacks)
        )
        self.remaps, self.reinjections = (
            nn.ModuleList(
                nn.Conv2d(width, channels, 1, bias=False)
                for _ in range(num_stacks - 1)
            )
            for width in (channels, out_channels)
        )

    def forward(self, x: Tensor) -> List[Tensor]:
        height, width = x.shape[2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f'height and width must be divisible by {self.stride}, '
                f'got {height}x{width}.'
            )
        x = self.stem(x)
        outputs = []
        for i, (stack, layer) in enumerate(zip(self.stacks, self.predictions)):
            features = stack(x)
            if isinstance(layer, SigmoidConv2d):
                heatmaps = layer.logits(features)
                outputs.append(layer.on_top(heatmaps))
            else:
                heatmaps = layer(features)
                outputs.append(heatmaps)
            if i < len(self.remaps):
                x = x + self.remaps[i](features)
                x = x + self.reinjections[i](heatmaps)
        return outputs


class _Residual(nn.Module):
    """Pre-activation bottleneck, (B, in, H, W) to (B, out, H, W)."""

    def __init__(
        self, in_channels: int, out_channels: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        squeezed = out_channels // 2
        conv = partial(
            ConvModule, norm_cfg=norm_cfg, order=('norm', 'act', 'conv')
        )
        self.block = nn.Sequential(
            conv(in_channels, squeezed, 1),
            conv(squeezed, squeezed, 3, padding=1),
            conv(squeezed, out_channels, 1),
        )
        self.skip = nn.Identity()
        if in_channels != out_channels:
            self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.block(x)


class _Hourglass(nn.Module):
    """One level and, within it, the next, (B, C, H, W) in and out."""

    def __init__(self, depth: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        residual = partial(_Residual, channels, channels, norm_cfg)
        self.skip = residual()
        self.low = nn.Sequential(
            nn.MaxPool2d(2),
            residual(),
            _Hourglass(depth - 1, channels, norm_cfg)
            if depth > 1
            else residual(),
            residual(),
            nn.Upsample(scale_factor=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.low(x)
