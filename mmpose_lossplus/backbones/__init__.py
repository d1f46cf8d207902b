from .efficientnet_lite import EfficientNetLite
from .hard_sigmoid_mobilenet_v3 import HardSigmoidMobileNetV3
from .stacked_hourglass import StackedHourglass

__all__ = ['EfficientNetLite', 'HardSigmoidMobileNetV3', 'StackedHourglass']
