"""Heatmap losses and a light head of four papers, for MMPose 1.x."""

import importlib.util
from importlib import metadata

from mmengine.utils import digit_version

from .version import __version__

# Lower bounds are inclusive, upper bounds exclusive; setup.py has the same.
HOST_VERSIONS = {
    'mmengine': ('0.10.0', '1.0.0'),
    'mmcv': ('2.1.0', '2.2.0'),
    'mmpose': ('1.3.0', '1.4.0'),
}


def _check_hosts() -> None:
    """Raise an ``ImportError`` of one sentence for an unsupported host."""
    for name, (minimum, maximum) in HOST_VERSIONS.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = None
        if found is None or not (
            digit_version(minimum)
            <= digit_version(found)
            < digit_version(maximum)
        ):
            raise ImportError(
                f'mmpose_lossplus {__version__} needs {name}>={minimum},'
                f'<{maximum}, but found {found or "no such package"}.'
            )
    if importlib.util.find_spec('mmcv._ext') is None:
        raise ImportError(
            'mmpose_lossplus needs mmcv with its compiled ops, because '
            'MMPose imports them, but mmcv '
            f'{metadata.version("mmcv")} was installed without.'
        )


_check_hosts()

# Importing registers the classes; the order keeps the gate first.
from ._safe_globals import allow_mmengine_checkpoints  # noqa: E402
from .backbones import StackedHourglass  # noqa: E402
from .datasets import LspDataset  # noqa: E402
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
    SideSwaps,
    diagnostic_metrics,
)
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
    FocusedMSELoss,
    HeatmapFocalLoss,
    HeatmapLoss,
    HeatmapWeightingMSELoss,
    RegularizedMSELoss,
)
from .necks import CascadedPyramid  # noqa: E402
from .pose_estimators import MultiScaleTTA  # noqa: E402

allow_mmengine_checkpoints()

__all__ = [
    'AnchorLoss',
    'AsymmetricMSELoss',
    'CBAM',
    'CascadedPyramid',
    'ChannelSpatialAttention',
    'CocoSubmission',
    'DepthwiseDeconvAttentionHead',
    'DoubleCounting',
    'EpochSeedHook',
    'FocusedMSELoss',
    'HeatmapFocalLoss',
    'HeatmapLoss',
    'HeatmapMetric',
    'HeatmapValidationLoss',
    'HeatmapWeightingMSELoss',
    'KeypointErrors',
    'LossConsistency',
    'LossScheduleHook',
    'LossShare',
    'LspDataset',
    'LspPCKAccuracy',
    'MpiiSubmission',
    'MultiScaleTTA',
    'PenaltyVisualizationHook',
    'RegularizedMSELoss',
    'SafeCheckpointHook',
    'SideSwaps',
    'SigmoidConv2d',
    'SqueezeExcitation',
    'StackedHourglass',
    '__version__',
    'diagnostic_metrics',
]
