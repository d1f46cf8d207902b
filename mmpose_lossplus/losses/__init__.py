from .heatmap_losses import (
    AnchorLoss,
    AsymmetricMSELoss,
    FocusedMSELoss,
    HeatmapFocalLoss,
    HeatmapLoss,
    HeatmapWeightingMSELoss,
    LogitHeatmapLoss,
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
