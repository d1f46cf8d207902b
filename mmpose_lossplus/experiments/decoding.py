"""From heatmaps to keypoints in PyTorch, for graphs that decode.

MMPose decodes in NumPy and OpenCV, one keypoint after the other.
"""

from typing import Any, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from torch import Tensor, nn

EPS = torch.finfo(torch.float32).eps
# Where the refinements look, in columns and rows from the maximum.
Cells = Tuple[Tuple[int, int], ...]
SIDES: Cells = ((1, 0), (-1, 0), (0, 1), (0, -1))
DARK: Cells = (*SIDES, (2, 0), (-2, 0), (0, 2), (0, -2))
DARK += ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 0))
UDP: Cells = (*SIDES, (1, 1), (-1, -1), (0, 0))


class HeatmapDecoder(nn.Module):
    """Decode as a codec of MMPose does, a batch at once.

    ``MSRAHeatmap`` moves the maximum by a quarter of a cell towards its
    higher neighbours, or with ``unbiased`` to the top of a parabola through
    the logarithm of the blurred heatmap, as the DARK paper does; so does
    ``UDPHeatmap``. Where a maximum is not positive both coordinates are that
    of cell -1, without the refinement that ``UDPHeatmap`` reads from other
    keypoints there.

    Args:
        codec (BaseKeypointCodec): A codec that decodes as ``MSRAHeatmap``, or
            as ``UDPHeatmap`` with ``heatmap_type='gaussian'``.

    Raises:
        ValueError: If the codec decodes in another way.
    """

    def __init__(self, codec: Any) -> None:
        super().__init__()
        decode = getattr(type(codec), 'decode', None)
        kind = getattr(codec, 'heatmap_type', 'gaussian')
        if decode is MSRAHeatmap.decode:
            self.refine, steps = self.move_a_quarter, SIDES
            if codec.unbiased:
                self.refine, steps = self.refine_dark, DARK
            scale = codec.scale_factor
        elif decode is UDPHeatmap.decode and kind == 'gaussian':
            self.refine, steps = self.refine_udp, UDP
            cells = np.subtract(codec.heatmap_size, 1)
            scale = np.divide(codec.input_size, cells)
        else:
            name = type(codec).__name__
            if kind != 'gaussian':
                name += f' of heatmap_type {kind!r}'
            raise ValueError(
                'only MSRAHeatmap and UDPHeatmap with Gaussian heatmaps can '
                f'be decoded in a graph, got {name}'
            )
        self.register_buffer('scale', torch.from_numpy(scale).float())
        self.register_buffer('steps', torch.tensor(steps).T[:, None, None])
        size = getattr(codec, 'blur_kernel_size', 1)
        kernel = torch.from_numpy(cv2.getGaussianKernel(size, 0)).float()
        self.register_buffer('kernel', kernel[None, None])

    def forward(self, heatmaps: Tensor) -> Tuple[Tensor, Tensor]:
        """Decode a batch of heatmaps.

        Args:
            heatmaps (Tensor): (B, K, H, W).

        Returns:
            tuple[Tensor, Tensor]: Keypoints x, y (B, K, 2) in pixels of the
            crop, and their scores (B, K), which are the maxima.
        """
        number, height, width = map(int, heatmaps.shape[1:])
        maps = heatmaps.reshape(-1, number, height * width)
        scores, index = maps.amax(2), maps.argmax(2)
        y = torch.div(index, width, rounding_mode='trunc')
        x = index - y * width
        offsets = self.refine(heatmaps, x, y)
        keypoints = torch.stack([x, y], 2).to(offsets) + offsets
        keypoints = keypoints.masked_fill((scores <= 0)[..., None], -1)
        return keypoints * self.scale, scores

    def look(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> list:
        """Values (B, K) at each of the steps from x, y (B, K).

        Beyond a border they are those at the border.
        """
        number, height, width = map(int, heatmaps.shape[1:])
        columns = (x[..., None] + self.steps[0]).clamp(0, width - 1)
        rows = (y[..., None] + self.steps[1]).clamp(0, height - 1)
        maps = heatmaps.reshape(-1, number, height * width)
        values = maps.gather(2, rows * width + columns)
        return [values[..., i] for i in range(self.steps.shape[-1])]

    def move_a_quarter(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Offsets of ``refine_keypoints`` in cells (B, K, 2)."""
        height, width = map(int, heatmaps.shape[2:])
        right, left, below, above = self.look(heatmaps, x, y)
        slopes = torch.stack([right - left, below - above], 2)
        # MMPose leaves out two columns on the left, but one on the right.
        inside = [
            (x > 1) & (x < width - 1) & (y > 0),
            (y > 1) & (y < height - 1) & (x > 0),
        ]
        return 0.25 * slopes.sign() * torch.stack(inside, 2)

    def refine_dark(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Offsets of ``refine_keypoints_dark`` in cells (B, K, 2)."""
        height, width = map(int, heatmaps.shape[2:])
        logs = self.blur(heatmaps).clamp(min=1e-10).log()
        right, left, below, above, *far, here = self.look(logs, x, y)
        right2, left2, below2, above2, *corners = far
        below_right, above_right, below_left, above_left = corners
        offsets = newton_step(
            0.5 * (right - left),
            0.5 * (below - above),
            0.25 * (right2 - 2 * here + left2),
            0.25 * (below_right - above_right - below_left + above_left),
            0.25 * (below2 - 2 * here + above2),
        )
        inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
        return offsets * inside[..., None]

    def refine_udp(self, heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Offsets of ``refine_keypoints_dark_udp`` in cells (B, K, 2)."""
        logs = self.blur(heatmaps).clamp(1e-3, 50).log()
        right, left, below, above, *corners, here = self.look(logs, x, y)
        below_right, above_left = corners
        return newton_step(
            0.5 * (right - left),
            0.5 * (below - above),
            right - 2 * here + left + EPS,
            0.5
            * (
                (below_right - right - below + here)
                + (here - left - above + above_left)
            ),
            below - 2 * here + above + EPS,
        )

    def blur(self, heatmaps: Tensor) -> Tensor:
        """Heatmaps after a Gaussian blur, each as high as before."""
        number, height, width = map(int, heatmaps.shape[1:])
        margin = self.kernel.shape[2] // 2
        x = heatmaps.reshape(-1, 1, height, width)
        x = F.conv2d(x, self.kernel, padding=(margin, 0))
        x = F.conv2d(x, self.kernel.transpose(2, 3), padding=(0, margin))
        x = x.reshape(-1, number, height, width)
        high = heatmaps.amax((2, 3), keepdim=True)
        return x * (high / x.amax((2, 3), keepdim=True))


def newton_step(
    dx: Tensor, dy: Tensor, dxx: Tensor, dxy: Tensor, dyy: Tensor
) -> Tensor:
    """Way (..., 2) to where a parabola is level, 0 if there is no one place.

    Its derivatives are at the place where one stands.
    """
    determinant = dxx * dyy - dxy * dxy
    determinant = determinant.masked_fill(determinant == 0, float('inf'))
    steps = [dxy * dy - dyy * dx, dxy * dx - dxx * dy]
    return torch.stack(steps, -1) / determinant[..., None]
