from .hourglass_heatmap import HourglassHeatmap

__all__ = ['HourglassHeatmap']
