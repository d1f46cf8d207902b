from .penalty_maps import (
    Penalty,
    PenaltyRow,
    check_pixel_loss,
    draw_penalties,
    find_keypoints,
    head_loss,
    penalty,
    penalty_columns,
    penalty_rows,
)

__all__ = [
    'Penalty',
    'PenaltyRow',
    'check_pixel_loss',
    'draw_penalties',
    'find_keypoints',
    'head_loss',
    'penalty',
    'penalty_columns',
    'penalty_rows',
]
