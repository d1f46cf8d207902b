import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from mmpose.evaluation.metrics import PCKAccuracy
from mmpose.registry import METRICS
from scipy.ndimage import maximum_filter

from ..codecs import HourglassHeatmap
from .heatmap_metric import HeatmapMetric, Maps, check_labels


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan


class _KeypointMetric(PCKAccuracy):
    """A metric of distances divided as for PCK."""

    def __init__(self, norm_item: str = 'bbox', **kwargs: Any) -> None:
        # MMPose's 'torso' joins keypoints 4 and 5, which fits JHMDB only.
        if norm_item not in ('bbox', 'head'):
            raise ValueError(
                f"norm_item must be 'bbox' or 'head', got {norm_item!r}."
            )
        super().__init__(norm_item=norm_item, **kwargs)

    def process(
        self, data_batch: Sequence[dict], data_samples: Sequence[dict]
    ) -> None:
        for sample in data_samples:
            check_labels(sample, type(self).__name__)
        super().process(data_batch, data_samples)

    def arrays(self, results: List[dict]) -> Tuple[np.ndarray, ...]:
        """Predictions and labels, (N, K, 2), which of these there are,
        (N, K), and what distances are divided by, (N, 1), NaN for none.
        """
        keys = 'pred_coords', 'gt_coords', 'mask', f'{self.norm_item[0]}_size'
        *arrays, size = (
            np.concatenate([result[key] for result in results]) for key in keys
        )
        return (*arrays, np.where(size > 0, size, np.nan)[:, :1])


def _distances(x: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x - y, axis=-1) / size


@METRICS.register_module()
class KeypointErrors(_KeypointMetric):
    """Localization error by keypoint, in parts of the box or head size.

    The distance between prediction and label, divided as for PCK: MMPose's
    ``PCKAccuracy(thr, norm_item)`` is the mean over keypoints of the share of
    those below ``thr``. 'mean' and 'median' are over all, so that a keypoint
    that is labelled twice as often counts twice. They tell rare large errors,
    such as a confused side, from the usual precision. Keypoints without label
    do not count.

    Args:
        norm_item (str): What distances are divided by: 'bbox', the longer
            side of the person's box, or 'head', the head size that
            ``MpiiDataset`` gives. Defaults to 'bbox'.
        **kwargs: See :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: If ``norm_item`` is something else, or while evaluating if
            there are no labels.
    """

    default_prefix = 'error'

    def of(self, sample: dict) -> np.ndarray:
        """Errors of one person, (K,), NaN for keypoints without label."""
        self.process([], [sample])
        return self._errors([self.results.pop()])[0]

    def _errors(self, results: List[dict]) -> np.ndarray:
        pred, gt, mask, size = self.arrays(results)
        return np.where(mask, _distances(pred, gt, size), np.nan)

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """'mean' and 'median' over all keypoints and '... mean' and '...
        median' of each, by its name in the data set, NaN if it has no label.
        """
        errors = self._errors(results)
        names = self.dataset_meta['keypoint_id2name']
        columns = {'': errors.ravel()}
        columns.update((f'{names[k]} ', x) for k, x in enumerate(errors.T))
        table = {}
        for name, column in columns.items():
            column = column[~np.isnan(column)]
            for function in (np.mean, np.median):
                value = function(column) if column.size else math.nan
                table[name + function.__name__] = float(value)
        return table


@METRICS.register_module()
class SideSwaps(_KeypointMetric):
    """Left and right keypoints that are found on the other side, in percent.

    'swapped' is the share of keypoints whose prediction is within
    ``max_distance`` of their counterpart's label on the other side of the
    body, and nearer to it than to their own; 'exchanged' is the share of
    pairs of which both are. Only pairs count of which both are labelled and
    more than ``min_distance`` apart; without any the shares are NaN. The
    pairs are the data set's, those that a flip exchanges.

    Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance
    Pose Estimation", ICCV 2017, call this inversion, and decide what is near
    by the similarity of COCO's AP instead of the distance.

    Args:
        min_distance (float): Of the labels of a pair, in units of
            ``norm_item``. Defaults to 0.1.
        max_distance (float): Of a prediction to the counterpart's label, in
            units of ``norm_item``. Defaults to 0.1.
        norm_item (str): 'bbox' or 'head', see :class:`KeypointErrors`.
            Defaults to 'bbox'.
        **kwargs: See :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = 'side_swaps'

    def __init__(
        self,
        min_distance: float = 0.1,
        max_distance: float = 0.1,
        norm_item: str = 'bbox',
        **kwargs: Any,
    ) -> None:
        super().__init__(norm_item, **kwargs)
        if not (min_distance >= 0 and max_distance >= 0):
            raise ValueError(
                'The distances must not be negative, got '
                f'{min_distance} and {max_distance}.'
            )
        self.min_distance = min_distance
        self.max_distance = max_distance

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """'swapped' and 'exchanged', in percent."""
        pred, gt, mask, size = self.arrays(results)
        flipped = np.asarray(self.dataset_meta['flip_indices'])
        other = gt[:, flipped]
        # A keypoint in the middle is its own counterpart, at a distance of 0.
        counted = _distances(gt, other, size) > self.min_distance
        counted &= mask & mask[:, flipped]
        to_other = _distances(pred, other, size)
        swapped = counted & (to_other <= self.max_distance)
        swapped &= to_other < _distances(pred, gt, size)
        exchanged = swapped & swapped[:, flipped]
        return dict(
            swapped=_percent(swapped.sum(), counted.sum()),
            exchanged=_percent(exchanged.sum(), counted.sum()),
        )


@METRICS.register_module()
class DoubleCounting(HeatmapMetric):
    """Maps with several peaks, and which peak wins, in percent.

    A peak is a pixel that no pixel within ``radius`` exceeds, by the larger
    distance in x and y, and that has at least ``threshold`` of the largest
    value of its map, if that is positive; of equal neighbours one counts. The
    right peak is one within ``radius`` of the target's; the highest peak
    wins, since it is what is decoded.

    'several peaks' is the share of maps with more than one, of those of
    labelled keypoints. Of these maps, 'right peak wins' is the share where
    the highest is the right one, which the paper of Anchor Loss plots under
    "double counting", and 'right peak there' that with the right one among
    the peaks. Without such maps both are NaN.

    Args:
        codec (dict, optional): See :class:`HeatmapMetric`.
        threshold (float): Part of a map's largest value that a peak has at
            least. Defaults to 0.5.
        radius (int, optional): Smallest distance of two peaks less 1, in
            pixels of the map. ``None`` for that of the codec's Gaussian:
            three times its sigma, rounded up, the radius of
            ``HourglassHeatmap``, or half the kernel of ``MegviiHeatmap``.
            Defaults to ``None``.
        **kwargs: See :class:`HeatmapMetric`.
    """

    default_prefix = 'double_counting'

    def __init__(
        self,
        codec: Optional[dict] = None,
        threshold: float = 0.5,
        radius: Optional[int] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(codec, **kwargs)
        if radius is None:
            encoder: Any = getattr(self.generate, 'encoder', None)
            # That of SimCC's codec is an array, and no heatmap's.
            if isinstance(encoder, HourglassHeatmap):
                radius = encoder.radius
            elif isinstance(getattr(encoder, 'sigma', None), (int, float)):
                radius = math.ceil(3 * encoder.sigma)
            elif hasattr(encoder, 'kernel_size'):
                radius = encoder.kernel_size // 2
            else:
                raise ValueError(
                    'DoubleCounting needs a radius or a codec of Gaussians '
                    f'to take it from, got the codec {codec}.'
                )
        if not 0 < threshold <= 1:
            raise ValueError(
                'threshold must be greater than 0 and at most 1, got '
                f'{threshold}.'
            )
        if radius < 1:
            raise ValueError(f'radius must be at least 1, got {radius}.')
        self.threshold = threshold
        self.radius = radius

    def measure(self, sample: dict, maps: Maps) -> np.ndarray:
        """Numbers of maps, of those with several peaks, and of these where the
        right peak wins and where it is there.
        """
        labelled = maps.weights[0] > 0
        if not labelled.any():
            return np.zeros(4)
        output, target = (x[0, labelled].double().numpy() for x in maps[:2])
        if np.isnan(output).any():
            return np.full(4, math.nan)
        peaks = self._peaks(output)
        several = peaks.sum(axis=(1, 2)) > 1
        right = self._largest_near(_highest(target))
        wins = (right & _highest(output)).any(axis=(1, 2))
        there = (right & peaks).any(axis=(1, 2))
        return np.array(
            [len(output)] + [(x & several).sum() for x in (True, wins, there)]
        )

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """'several peaks', 'right peak wins' and 'right peak there'."""
        maps, several, wins, there = np.sum(results, axis=0).tolist()
        return {
            'several peaks': _percent(several, maps),
            'right peak wins': _percent(wins, several),
            'right peak there': _percent(there, several),
        }

    def _peaks(self, maps: np.ndarray) -> np.ndarray:
        """Where the peaks are, (N, H, W) to (N, H, W) of truth values."""
        largest = maps.max(axis=(1, 2), keepdims=True)
        peaks = maps == self._largest_near(maps)
        peaks &= (maps >= self.threshold * largest) & (largest > 0)
        # Of equal neighbours, only the first keeps its rank.
        rank = np.arange(maps[0].size, 0, -1).reshape(maps[0].shape) * peaks
        return peaks & (rank == self._largest_near(rank))

    def _largest_near(self, maps: np.ndarray) -> np.ndarray:
        size = 2 * self.radius + 1
        return maximum_filter(maps, (1, size, size), mode='nearest')


def _highest(maps: np.ndarray) -> np.ndarray:
    """Where the highest pixel of each map is, the first if there are some."""
    flat = maps.reshape(len(maps), -1)
    highest = np.zeros_like(flat, dtype=bool)
    np.put_along_axis(highest, flat.argmax(1)[:, None], True, axis=1)
    return highest.reshape(maps.shape)
