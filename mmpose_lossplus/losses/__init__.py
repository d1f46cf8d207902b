from .base import HeatmapLoss, LogitHeatmapLoss
from .heatmap_losses import (
    AnchorLoss,
    AsymmetricMSELoss,
    FocusedMSELoss,
    HeatmapFocalLoss,
    HeatmapWeightingMSELoss,
    RegularizedMSELoss,
)

__all__ = [
    'AnchorLoss',
    'AsymmetricMSELoss',
    'FocusedMSELoss',
    'HeatmapFocalLoss',
    'HeatmapLoss',
    'HeatmapWeightingMSELoss',
    'LogitHeatmapLoss',
    'RegularizedMSELoss',
]
