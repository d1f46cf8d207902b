from typing import Any, Optional, Sequence

from mmpose.models.heads import HeatmapHead, ViPNASHead
from mmpose.registry import MODELS
from torch import nn


@MODELS.register_module()
class DepthwiseDeconvAttentionHead(HeatmapHead):
    """Heatmap head of depthwise deconvolutions with attention.

    Each deconvolution of :class:`HeatmapHead` becomes a depthwise one with
    batch norm and ReLU, a 1x1 convolution with batch norm and ReLU, and an
    optional attention block. At kernel 4 and 256 channels that takes 17/256
    of the parameters.

    Source: Lightweight Human Pose Estimation Using Heatmap-Weighting Loss,
    secs. 3.1 and 3.2. The order within a stage, the attention after the last
    stage only and the initialization are the official code's, which the
    paper does not state.

    Args:
        *args: See :class:`HeatmapHead`.
        deconv_attentions (Sequence[dict | None]): Config of the attention
            block after each stage, built with ``channels``, or ``None`` for
            none. Defaults to ``ChannelSpatialAttention`` with ratio 4 after
            the last of three stages.
        **kwargs: See :class:`HeatmapHead`.

    Raises:
        ValueError: If there are not as many attentions as deconvolutions.
    """

    def __init__(
        self,
        *args: Any,
        deconv_attentions: Sequence[Optional[dict]] = (
            None,
            None,
            dict(type='ChannelSpatialAttention', ratio=4),
        ),
        **kwargs: Any,
    ) -> None:
        # HeatmapHead builds the deconvolutions in its constructor.
        self.deconv_attentions = deconv_attentions
        super().__init__(*args, **kwargs)

    def _make_deconv_layers(
        self,
        in_channels: int,
        layer_out_channels: Sequence[int],
        layer_kernel_sizes: Sequence[int],
    ) -> nn.Sequential:
        attentions = self.deconv_attentions
        if len(attentions) != len(layer_out_channels):
            raise ValueError(
                'deconv_attentions must have one entry for each of the '
                f'{len(layer_out_channels)} deconvolutions, '
                f'got {len(attentions)}.'
            )
        layers = []
        for out_channels, kernel_size, attention in zip(
            layer_out_channels, layer_kernel_sizes, attentions
        ):
            # ViPNAS's deconvolution is HeatmapHead's with groups.
            layers += ViPNASHead._make_deconv_layers(
                self, in_channels, [in_channels], [kernel_size], [in_channels]
            )
            layers += self._make_conv_layers(in_channels, [out_channels], [1])
            if attention is not None:
                channels = dict(channels=out_channels)
                layers.append(MODELS.build(attention, default_args=channels))
            in_channels = out_channels
        return nn.Sequential(*layers)

    @property
    def default_init_cfg(self) -> list:
        return [
            dict(
                type='Normal',
                layer='ConvTranspose2d',
                std=0.001,
                override=dict(type='Normal', name='final_layer', std=0.001),
            ),
            dict(type='Constant', layer='BatchNorm2d', val=1),
        ]
