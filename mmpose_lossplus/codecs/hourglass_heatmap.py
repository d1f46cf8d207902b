from typing import Optional, Tuple

import numpy as np
from mmpose.codecs import MSRAHeatmap
from mmpose.registry import KEYPOINT_CODECS


@KEYPOINT_CODECS.register_module()
class HourglassHeatmap(MSRAHeatmap):
    """Heatmaps of the stacked hourglass's code, decoded as MSRA's.

    A Gaussian with a standard deviation of 1.75 pixels in a window of 7x7,
    everything else exactly 0. MMPose's codecs tie the window to the deviation,
    three of them to each side for :class:`MSRAHeatmap` and ``UDPHeatmap``, so
    that 7x7 means a deviation of 1. It matters to Anchor Loss, which finds its
    anchor where the target exceeds 0.5: 13 pixels here, 5 there.

    Source: ``drawGaussian`` in ``src/util/img.lua`` of
    https://github.com/princeton-vl/pose-hg-train draws Torch's
    ``image.gaussian(7)``, whose deviation is a quarter of its size. Two
    things are MMPose's: the centre is the nearest pixel, there the one that
    the keypoint lies in; and a keypoint without label has weight 0.

    Args:
        input_size (tuple[int, int]): Image size in [w, h].
        heatmap_size (tuple[int, int]): Heatmap size in [W, H].
        sigma (float): Standard deviation in pixels of the heatmap. Defaults
            to 1.75.
        radius (int): Pixels of the window to each side of its centre.
            Defaults to 3.

    Raises:
        ValueError: If ``sigma`` is not positive or ``radius`` is not a
            positive integer.
    """

    def __init__(
        self,
        input_size: Tuple[int, int],
        heatmap_size: Tuple[int, int],
        sigma: float = 1.75,
        radius: int = 3,
    ) -> None:
        if not sigma > 0:
            raise ValueError(f'sigma must be positive, got {sigma!r}.')
        if not isinstance(radius, int) or radius < 1:
            raise ValueError(
                f'radius must be a positive integer, got {radius!r}.'
            )
        super().__init__(input_size, heatmap_size, sigma)
        self.radius = radius
        self.window = MSRAHeatmap(input_size, heatmap_size, sigma=radius / 3)

    def encode(
        self,
        keypoints: np.ndarray,
        keypoints_visible: Optional[np.ndarray] = None,
    ) -> dict:
        """See :meth:`MSRAHeatmap.encode`."""
        encoded = self.window.encode(keypoints, keypoints_visible)
        # A Gaussian's power is a Gaussian of another width, and 0 stays 0.
        encoded['heatmaps'] **= (self.window.sigma / self.sigma) ** 2
        return encoded
