from .efficientnet_lite import EfficientNetLite
from .stacked_hourglass import StackedHourglass

__all__ = ['EfficientNetLite', 'StackedHourglass']
