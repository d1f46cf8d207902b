"""Augmentation of the stacked hourglass's code.

Source: ``generateSample`` in ``src/util/pose.lua`` of
https://github.com/princeton-vl/pose-hg-train; its flip is MMPose's
``RandomFlip``.
"""

from typing import Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpose.datasets.transforms import RandomBBoxTransform
from mmpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HourglassBBoxTransform(RandomBBoxTransform):
    """Random scale and rotation as in the stacked hourglass's code.

    The box is resized by 2^s, s from N(0, ``scale_factor``) clipped at twice
    that, and rotated by r degrees, r from N(0, ``rotate_factor``) clipped at
    twice that. :class:`RandomBBoxTransform` draws from a normal distribution
    that is truncated at one factor, and its scale is no power. There is no
    shift.

    Args:
        scale_factor (float): Standard deviation of s. Defaults to 0.25, which
            is 0.71 to 1.41 of the box.
        rotate_factor (float): Standard deviation of r in degrees. Defaults to
            30.0.
        rotate_prob (float): Probability of a rotation. Defaults to 0.4.
    """

    def __init__(
        self,
        scale_factor: float = 0.25,
        rotate_factor: float = 30.0,
        rotate_prob: float = 0.4,
    ) -> None:
        super().__init__(
            shift_prob=0.0,
            scale_factor=scale_factor,
            rotate_factor=rotate_factor,
            rotate_prob=rotate_prob,
        )

    @cache_randomness
    def _get_transform_params(
        self, num_bboxes: int
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        size = (num_bboxes, 2)
        normal = np.random.normal(size=size).clip(-2, 2).astype(np.float32)
        scale = 2 ** (normal[:, :1] * self.scale_factor)
        rotated = np.random.rand(num_bboxes) < self.rotate_prob
        rotate = np.where(rotated, normal[:, 1] * self.rotate_factor, 0.0)
        return np.zeros(size, np.float32), scale, rotate


@TRANSFORMS.register_module()
class RandomChannelGain(BaseTransform):
    """Multiply each colour channel by a number of its own.

    Required Keys:

        - img

    Modified Keys:

        - img

    Args:
        gain (tuple[float, float]): Range of the uniform numbers. Defaults to
            (0.6, 1.4), that of the stacked hourglass's code.

    Raises:
        ValueError: If ``gain`` is not 0 <= lowest <= highest.
    """

    def __init__(self, gain: Tuple[float, float] = (0.6, 1.4)) -> None:
        lowest, highest = gain
        if not 0 <= lowest <= highest:
            raise ValueError(
                f'gain must be a range 0 <= lowest <= highest, got {gain}.'
            )
        self.gain = gain

    @cache_randomness
    def _random_gains(self, channels: int) -> np.ndarray:
        return np.random.uniform(*self.gain, size=channels)

    def transform(self, results: dict) -> dict:
        """Change ``results['img']``, (H, W, C) with values in [0, 255]."""
        img = results['img']
        img = img * self._random_gains(img.shape[-1]).astype(np.float32)
        results['img'] = img.round().clip(0, 255).astype(np.uint8)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(gain={self.gain})'
