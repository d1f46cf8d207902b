import math
from typing import Any, Optional, Sequence

from mmcv.cnn import ConvModule
from mmpose.models.backbones import MobileNetV3
from mmpose.models.backbones.utils import InvertedResidual, make_divisible
from mmpose.registry import MODELS
from torch import nn

# Pads as TensorFlow does: at a stride of 2, more at the end.
SAME = dict(type='Conv2dAdaptivePadding')


@MODELS.register_module()
class EfficientNetLite(MobileNetV3):
    """EfficientNet-Lite, the EfficientNet for devices, without its classifier.

    Of EfficientNet (arXiv 1905.11946) it has the blocks without squeeze and
    excitation, with ReLU6 in place of swish, and a stem that is never scaled
    (https://github.com/tensorflow/tpu, efficientnet/lite). It is the model
    that those weights fit which ``tools/model_converters/
    efficientnet_lite.py`` gets; they expect RGB, mean 127 and std 128.

    ============ ==== ==== ==== ==== ==== ==== ====
    stage           0    1    2    3    4    5    6
    stride          2    4    8   16   16   32   32
    lite0, lite1   16   24   40   80  112  192  320
    lite2          16   24   48   88  120  208  352
    ============ ==== ==== ==== ==== ==== ==== ====

    Args:
        arch (str): 'lite0', 'lite1' or 'lite2'. Defaults to 'lite0'.
        out_indices (Sequence[int]): Stages whose outputs are given, with the
            channels of the table. Those after the last one are not built.
            Defaults to (6,).
        frozen_stages (int): The stem and the stages to this one are not
            trained; -1 trains all. Defaults to -1.
        norm_eval (bool): Whether batch norms keep their statistics in
            training. Defaults to False.
        with_cp (bool): Whether to save memory by activation checkpointing.
            Defaults to False.
        init_cfg (dict, optional): Such as ``dict(type='Pretrained',
            checkpoint='...')``. Defaults to None, the random weights of
            MMPose's ``MobileNetV3``.

    Raises:
        ValueError: If there is no such architecture or stage.
    """

    # Kernel size, expansion, channels, blocks and stride of each stage.
    stages = (
        (3, 1, 16, 1, 1),
        (3, 6, 24, 2, 2),
        (5, 6, 40, 2, 2),
        (3, 6, 80, 3, 2),
        (5, 6, 112, 3, 1),
        (5, 6, 192, 4, 2),
        (3, 6, 320, 1, 1),
    )
    # Factors of width and depth; MobileNetV3 looks at the names.
    scales = dict(lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2))
    arch_settings = dict.fromkeys(scales, stages)

    def __init__(
        self,
        arch: str = 'lite0',
        out_indices: Sequence[int] = (6,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: Optional[dict] = None,
    ) -> None:
        if arch not in self.scales:
            raise ValueError(
                f'arch must be one of {", ".join(self.scales)}, got {arch!r}.'
            )
        super().__init__(
            arch,
            norm_cfg=dict(type='BN', eps=1e-3, momentum=0.01),
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            with_cp=with_cp,
            **(dict(init_cfg=init_cfg) if init_cfg else {}),
        )

    def _make_layer(self) -> list:
        """Replace the stem, and make a layer of each stage."""
        width, depth = self.scales[self.arch]
        common = dict(norm_cfg=self.norm_cfg, act_cfg=dict(type='ReLU6'))
        self.conv1 = ConvModule(3, 32, 3, 2, 1, conv_cfg=SAME, **common)
        channels = 32
        last = max(i % len(self.stages) for i in self.out_indices)
        names = []
        for index, stage in enumerate(self.stages[: last + 1]):
            kernel, expansion, out_channels, blocks, stride = stage
            out_channels = make_divisible(out_channels * width, 8)
            if 0 < index < len(self.stages) - 1:
                blocks = math.ceil(blocks * depth)
            layer = nn.Sequential()
            for step in [stride] + [1] * (blocks - 1):
                layer.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        channels * expansion,
                        kernel,
                        stride=step,
                        with_expand_conv=expansion > 1,
                        conv_cfg=SAME if step > 1 else None,
                        with_cp=self.with_cp,
                        **common,
                    )
                )
                channels = out_channels
            names.append(f'layer{index + 1}')
            self.add_module(names[-1], layer)
        return names

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any
    ) -> None:
        """Take what is built of the weights of all stages."""
        for index in range(len(self.layers), len(self.stages)):
            layer = f'{prefix}layer{index + 1}.'
            for name in [key for key in state_dict if key.startswith(layer)]:
                del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *args)
