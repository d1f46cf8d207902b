from .hard_sigmoid_mobilenet_v3 import HardSigmoidMobileNetV3
from .stacked_hourglass import StackedHourglass

__all__ = ['HardSigmoidMobileNetV3', 'StackedHourglass']
