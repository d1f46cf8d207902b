from .epoch_seed_hook import EpochSeedHook
from .loss_schedule_hook import LossScheduleHook
from .penalty_visualization_hook import PenaltyVisualizationHook
from .safe_checkpoint_hook import SafeCheckpointHook

__all__ = [
    'EpochSeedHook',
    'LossScheduleHook',
    'PenaltyVisualizationHook',
    'SafeCheckpointHook',
]
