from .penalty_maps import (
    Penalty,
    PenaltyRow,
    draw_penalties,
    find_keypoints,
    penalty,
    penalty_columns,
    penalty_rows,
    pixel_loss,
)

__all__ = [
    'Penalty',
    'PenaltyRow',
    'draw_penalties',
    'find_keypoints',
    'penalty',
    'penalty_columns',
    'penalty_rows',
    'pixel_loss',
]
