from .coco_submission import CocoSubmission
from .diagnostics import diagnostic_metrics
from .heatmap_metric import HeatmapMetric
from .keypoint_metrics import DoubleCounting, KeypointErrors, SideSwaps
from .loss_metrics import HeatmapValidationLoss, LossConsistency, LossShare
from .lsp_pck_accuracy import LspPCKAccuracy
from .mpii_submission import MpiiSubmission
from .separation_gap import SeparationGap

__all__ = [
    'CocoSubmission',
    'DoubleCounting',
    'HeatmapMetric',
    'HeatmapValidationLoss',
    'KeypointErrors',
    'LossConsistency',
    'LossShare',
    'LspPCKAccuracy',
    'MpiiSubmission',
    'SeparationGap',
    'SideSwaps',
    'diagnostic_metrics',
]
