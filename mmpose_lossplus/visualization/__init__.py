from .penalty_maps import (
    Penalty,
    PenaltyRow,
    check_pixel_loss,
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
    'check_pixel_loss',
    'draw_penalties',
    'find_keypoints',
    'penalty',
    'penalty_columns',
    'penalty_rows',
    'pixel_loss',
]
