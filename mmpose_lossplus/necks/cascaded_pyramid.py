from functools import partial
from typing import List, Optional, Sequence, Union

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.models.backbones.resnet import Bottleneck, ResLayer
from mmpose.models.utils.ops import resize
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class CascadedPyramid(BaseModule):
    """GlobalNet and RefineNet of the cascaded pyramid network.

    Feature maps (B, C_i, H/2^i, W/2^i), finest first, become a list of maps
    (B, ``channels``, H, W): one of GlobalNet for each of them, finest first,
    and RefineNet's, last. MMPose's ``CPMHead`` predicts from each, takes a
    loss for each and decodes the last:
    ``dict(type='CPMHead', in_channels=256, num_stages=5,
    final_layer=dict(kernel_size=3, padding=1), loss=[...])``. The source
    weights the first four losses, MSE, by 1/8 each; the last, by 1, is
    ``KeypointOHKMMSELoss`` or, without mining, MSE.

    GlobalNet: a 1x1 convolution for each map; from the top down, the upper
    level through another 1x1 convolution, upsampled and added; a third one
    before each prediction. RefineNet: i bottlenecks at level i, upsampling to
    the finest, concatenation and one more bottleneck.

    Source: Cascaded Pyramid Network for Multi-Person Pose Estimation (arXiv
    1711.07319), sec. 3.2, and its code, ``network.py`` in
    https://github.com/chenyilun95/tf-cpn. Two steps change places with the
    upsampling. The 1x1 convolution of the upper level comes before it, which
    gives the same at a quarter of the cost. GlobalNet's features are upsampled
    where the code upsamples its predictions: not the same, because
    ``CPMHead``'s 3x3 predictors then reach one pixel of the finest level
    instead of one of their own.

    With ResNet-50, ``CPMHead`` and 17 keypoints it has the size published in
    table 1 of arXiv 1902.09212 for 256x192 inputs, 27.0 M parameters. The
    6.20 GFLOPs there are reached in units of 1024^3 and without GlobalNet's
    predictions, which only training needs.

    Args:
        in_channels (Sequence[int]): C_i, finest level first. Defaults to the
            four stages of ResNet-50.
        channels (int): Of every output, even. Defaults to 256.
        norm_cfg (dict, optional): Config of the norm layers. Defaults to
            ``None``, which is batch norm.
        init_cfg (dict | list[dict], optional): Defaults to ``None``, which is
            Kaiming's for every convolution.

    Raises:
        ValueError: If there are fewer than two ``in_channels`` or
            ``channels`` is not a positive even integer; in ``forward``, if
            there are not as many feature maps as ``in_channels``.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        channels: int = 256,
        norm_cfg: Optional[dict] = None,
        init_cfg: Optional[Union[dict, List[dict]]] = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if not isinstance(in_channels, Sequence) or len(in_channels) < 2:
            raise ValueError(
                'in_channels must have one entry for each of two or more '
                f'levels, got {in_channels!r}.'
            )
        if not isinstance(channels, int) or channels < 1 or channels % 2:
            raise ValueError(
                f'channels must be a positive even integer, got {channels!r}.'
            )
        norm_cfg = norm_cfg or dict(type='BN')
        self.laterals = nn.ModuleList(
            ConvModule(c, channels, 1, norm_cfg=norm_cfg) for c in in_channels
        )
        self.merges = nn.ModuleList(
            nn.Conv2d(channels, channels, 1) for _ in in_channels[1:]
        )
        self.global_convs = nn.ModuleList(
            ConvModule(channels, channels, 1, norm_cfg=norm_cfg)
            for _ in in_channels
        )
        layer = partial(ResLayer, Bottleneck, expansion=2, norm_cfg=norm_cfg)
        self.refines = nn.ModuleList(
            layer(i, channels, channels) if i else nn.Identity()
            for i in range(len(in_channels))
        )
        self.fuse = layer(1, len(in_channels) * channels, channels)

    def forward(self, feats: Sequence[Tensor]) -> List[Tensor]:
        if len(feats) != len(self.laterals):
            raise ValueError(
                f'CascadedPyramid needs {len(self.laterals)} feature maps '
                f'(the out_indices of the backbone), got {len(feats)}.'
            )
        levels = [lateral(x) for lateral, x in zip(self.laterals, feats)]
        for i in reversed(range(len(self.merges))):
            upper, size = self.merges[i](levels[i + 1]), levels[i].shape[2:]
            levels[i] = levels[i] + resize(upper, size, mode='bilinear')

        def finest(convs: nn.ModuleList) -> List[Tensor]:
            outputs = [conv(x) for conv, x in zip(convs, levels)]
            size = levels[0].shape[2:]
            return [resize(x, size, mode='bilinear') for x in outputs]

        refined = self.fuse(torch.cat(finest(self.refines), dim=1))
        return [*finest(self.global_convs), refined]
