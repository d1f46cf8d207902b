from typing import List

from mmpose.models.backbones import MobileNetV3
from mmpose.models.backbones.utils import SELayer
from mmpose.registry import MODELS
from torch import nn


@MODELS.register_module()
class HardSigmoidMobileNetV3(MobileNetV3):
    """MMPose's MobileNetV3 with one hard sigmoid throughout, (x + 3) / 6.

    The squeeze-and-excitation of :class:`MobileNetV3` has (x + 1) / 2,
    clamped to [0, 1] as the other. The official code of the heatmap-weighting
    paper has one function in backbone and attention, MMCV's ``HSigmoid``,
    which is (x + 3) / 6 since MMCV 1.4.4, as in PyTorch and in the paper of
    MobileNetV3 (arXiv 1905.02244). Which MMCV trained the published models is
    not known. Parameters and GFLOPs are the same.

    Args:
        See :class:`MobileNetV3`.
    """

    def _make_layer(self) -> List[str]:
        layers = super()._make_layer()
        for module in self.modules():
            if isinstance(module, SELayer):
                module.conv2.activate = nn.Hardsigmoid(inplace=True)
        return layers
