from .attention import CBAM, ChannelSpatialAttention, SqueezeExcitation
from .sigmoid_conv2d import SigmoidConv2d

__all__ = [
    'CBAM',
    'ChannelSpatialAttention',
    'SigmoidConv2d',
    'SqueezeExcitation',
]
