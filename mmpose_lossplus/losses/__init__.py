from .classification import ClassificationAnchorLoss, OHEMCrossEntropyLoss
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
    'ClassificationAnchorLoss',
    'FocusedMSELoss',
    'HeatmapFocalLoss',
    'HeatmapLoss',
    'HeatmapWeightingMSELoss',
    'LogitHeatmapLoss',
    'OHEMCrossEntropyLoss',
    'RegularizedMSELoss',
]
