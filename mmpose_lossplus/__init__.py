"""Heatmap losses and a light head of four papers, for MMPose 1.x."""

from .gate import check_versions
from .version import __version__

check_versions()

# Importing registers the classes; the order keeps the gate first.
from . import host  # noqa: E402
from .backbones import (  # noqa: E402
    EfficientNetLite,
    HardSigmoidMobileNetV3,
    StackedHourglass,
)
from .codecs import HourglassHeatmap  # noqa: E402
from .datasets import (  # noqa: E402
    HourglassBBoxTransform,
    LspDataset,
    RandomChannelGain,
)
from .evaluation import (  # noqa: E402
    CocoSubmission,
    DoubleCounting,
    HeatmapMetric,
    HeatmapValidationLoss,
    KeypointErrors,
    LossConsistency,
    LossShare,
    LspPCKAccuracy,
    MpiiSubmission,
    SeparationGap,
    SideSwaps,
    diagnostic_metrics,
)
from .experiments.configs import ROOT  # noqa: E402
from .heads import DepthwiseDeconvAttentionHead  # noqa: E402
from .hooks import (  # noqa: E402
    EpochSeedHook,
    LossScheduleHook,
    PenaltyVisualizationHook,
    SafeCheckpointHook,
)
from .layers import (  # noqa: E402
    CBAM,
    ChannelSpatialAttention,
    SigmoidConv2d,
    SqueezeExcitation,
)
from .losses import (  # noqa: E402
    AnchorLoss,
    AsymmetricMSELoss,
    ClassificationAnchorLoss,
    FocusedMSELoss,
    HeatmapFocalLoss,
    HeatmapLoss,
    HeatmapWeightingMSELoss,
    OHEMCrossEntropyLoss,
    RegularizedMSELoss,
)
from .necks import CascadedPyramid  # noqa: E402
from .pose_estimators import MultiScaleTTA  # noqa: E402

host.load_checkpoints_safely()
host.log_accuracy_of_logits()
host.refuse_logits_in_heatmap_losses()

__all__ = [
    'AnchorLoss',
    'AsymmetricMSELoss',
    'CBAM',
    'CascadedPyramid',
    'ChannelSpatialAttention',
    'ClassificationAnchorLoss',
    'CocoSubmission',
    'DepthwiseDeconvAttentionHead',
    'DoubleCounting',
    'EfficientNetLite',
    'EpochSeedHook',
    'FocusedMSELoss',
    'HardSigmoidMobileNetV3',
    'HeatmapFocalLoss',
    'HeatmapLoss',
    'HeatmapMetric',
    'HeatmapValidationLoss',
    'HeatmapWeightingMSELoss',
    'HourglassBBoxTransform',
    'HourglassHeatmap',
    'KeypointErrors',
    'LossConsistency',
    'LossScheduleHook',
    'LossShare',
    'LspDataset',
    'LspPCKAccuracy',
    'MpiiSubmission',
    'MultiScaleTTA',
    'OHEMCrossEntropyLoss',
    'PenaltyVisualizationHook',
    'ROOT',
    'RandomChannelGain',
    'RegularizedMSELoss',
    'SafeCheckpointHook',
    'SeparationGap',
    'SideSwaps',
    'SigmoidConv2d',
    'SqueezeExcitation',
    'StackedHourglass',
    '__version__',
    'diagnostic_metrics',
]
