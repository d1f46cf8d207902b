import math
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import METRICS, MODELS
from scipy.stats import spearmanr
from torch import Tensor, nn

from .heatmap_metric import HeatmapMetric, Maps, to_logits
from .keypoint_metrics import KeypointErrors


class _LossMetric(HeatmapMetric):
    """A metric of MSE, whatever the training loss, and of ``loss``."""

    def __init__(
        self,
        codec: Optional[dict] = None,
        loss: Optional[dict] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(codec, **kwargs)
        self.losses: Dict[str, nn.Module] = dict(
            MSE=KeypointMSELoss(use_target_weight=True)
        )
        if loss is not None:
            # Not 'loss': what has that in its name is logged by MMEngine's
            # LogProcessor as a mean over the last validations.
            self.losses['objective'] = MODELS.build(loss)

    def inputs(self, maps: Maps) -> Iterator[Tuple[str, nn.Module, Tensor]]:
        """Name of each loss, the loss, and the output that it takes."""
        for name, loss in self.losses.items():
            if not getattr(loss, 'takes_logits', False):
                yield name, loss, maps.output.double()
                continue
            low, high = maps.output.min().item(), maps.output.max().item()
            if low < 0 or high > 1:
                raise ValueError(
                    f'{type(loss).__name__} takes logits, so that the maps '
                    'must be the probabilities of a SigmoidConv2d, got '
                    f'values from {low:g} to {high:g}: set final_layer='
                    "dict(type='SigmoidConv2d')."
                )
            yield name, loss, to_logits(maps.output)


@METRICS.register_module()
class HeatmapValidationLoss(_LossMetric):
    """Loss on the data that one validates on.

    'MSE' is always that of MMPose's ``KeypointMSELoss(use_target_weight=
    True)``, so that trainings with different losses can be compared, as
    sleap-nn does it, https://github.com/talmolab/sleap-nn/pull/733; with a
    ``SigmoidConv2d`` it compares probabilities. 'objective' is that of
    ``loss``. Wanted in https://github.com/open-mmlab/mmpose/issues/2607.

    Each is the mean over people of the loss of a batch of one, in float64:
    for a loss that is a mean over pixels, that of the whole data set as one
    batch. It is the training's own on the same pictures for a model of one
    stage with ``flip_test=False`` (see :class:`HeatmapMetric`, and
    :func:`to_logits` for losses that take logits).

    Args:
        codec (dict, optional): See :class:`HeatmapMetric`.
        loss (dict, optional): Config of the loss to report as 'objective',
            such as the model's; parameters that ``LossScheduleHook`` changes
            are not followed. ``None`` for none. Defaults to ``None``.
        **kwargs: See :class:`HeatmapMetric`.
    """

    default_prefix = 'heatmap'

    def measure(self, sample: dict, maps: Maps) -> Dict[str, float]:
        return {
            name: loss(output, maps.target, maps.weights).item()
            for name, loss, output in self.inputs(maps)
        }

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """'MSE' and, if there is one, 'objective': means over people."""
        return {
            name: float(np.mean([result[name] for result in results]))
            for name in self.losses
        }


@METRICS.register_module()
class LossConsistency(_LossMetric):
    """Rank correlation between loss and localization error, from -1 to 1.

    That one heatmap has a smaller loss than another does not mean that its
    peak is nearer to the keypoint: the "inconsistency problem" of MSE in
    Asymmetric mean squared error for human pose estimation, fig. 2, where
    eight maps of one MSE give two different peaks. With 1 the loss ranks the
    predictions as their errors do, with 0 it says nothing about them.

    'MSE' and 'objective' are Spearman's correlation over people, of the means
    over their keypoints that have a weight in training; 'MSE by map' and
    'objective by map' are over all keypoints of all people. 'objective at
    equal MSE' is the partial correlation of objective and error over
    keypoints, given MSE: what the loss knows of the error that MSE does not.
    If all values are equal, or the objective ranks all maps as MSE does, the
    correlation is NaN. Errors are those of :class:`KeypointErrors`.

    A loss that chooses among the keypoints (with a ``topk``, as
    ``KeypointOHKMMSELoss``) has none of a single map, so that there is only
    'objective'; a person's is the mean of the ``topk`` hardest.

    Args:
        codec (dict, optional): See :class:`HeatmapMetric`.
        loss (dict, optional): Config of a loss besides MSE, as the model's.
        norm_item (str): 'bbox' or 'head', see :class:`KeypointErrors`.
            Defaults to 'bbox'.
        **kwargs: See :class:`HeatmapMetric`.
    """

    default_prefix = 'consistency'

    def __init__(
        self,
        codec: Optional[dict] = None,
        loss: Optional[dict] = None,
        norm_item: str = 'bbox',
        **kwargs: Any,
    ) -> None:
        super().__init__(codec, loss, **kwargs)
        self.errors = KeypointErrors(norm_item)

    def measure(self, sample: dict, maps: Maps) -> Dict[str, Any]:
        errors = self.errors.of(sample)
        counted = (maps.weights[0] > 0).numpy() & np.isfinite(errors)
        result = dict(errors=errors[counted])
        if not counted.any():
            return result
        by_map: Dict[str, List[float]] = {
            f'{name} by map': [] for name in self.losses
        }
        for k in np.flatnonzero(counted):
            one = Maps(*(x[:, k : k + 1] for x in maps))
            for name, loss, output in self.inputs(one):
                if not hasattr(loss, 'topk'):
                    value = loss(output, one.target, one.weights).item()
                    by_map[f'{name} by map'].append(value)
        for name, loss in self.losses.items():
            if hasattr(loss, 'topk'):
                result[name] = self._hardest(loss, maps, counted)
            else:
                result[name] = np.mean(by_map[f'{name} by map'])
        return {**result, **by_map}

    def _hardest(
        self, loss: nn.Module, maps: Maps, counted: np.ndarray
    ) -> float:
        """Mean of the highest losses of one person's maps."""
        # It wants ``topk`` maps: those of zeros have no loss.
        keep = torch.from_numpy(counted)[:, None, None]
        output, target = (x.double() * keep for x in maps[:2])
        mean = loss(output, target, maps.weights).item()
        return mean * loss.topk / min(loss.topk, counted.sum())

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Correlations by name, see the class."""
        results = [result for result in results if result['errors'].size]
        means = [result['errors'].mean() for result in results]
        errors, by_map = (
            np.concatenate([[], *(result[key] for result in results)])
            for key in ('errors', 'MSE by map')
        )
        table = {}
        for name, loss in self.losses.items():
            table[name] = _spearman(means, [r[name] for r in results])
            if hasattr(loss, 'topk'):
                continue
            key = f'{name} by map'
            own = np.concatenate([[], *(result[key] for result in results)])
            table[key] = _spearman(errors, own)
            if name == 'objective':
                table['objective at equal MSE'] = _partial(
                    table[key], table['MSE by map'], _spearman(own, by_map)
                )
        return table


def _spearman(x: Any, y: Any) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(spearmanr(x, y)[0])


def _partial(xy: float, xz: float, yz: float) -> float:
    """Correlation of x and y given z, from those of the pairs."""
    if math.isnan(xz) or math.isnan(yz):  # all of one MSE
        return xy
    left = (1 - xz**2) * (1 - yz**2)
    # Equal ranks give 1 but for rounding.
    return (xy - xz * yz) / math.sqrt(left) if left > 1e-12 else math.nan


@METRICS.register_module()
class LossShare(_LossMetric):
    """Shares of the loss on foreground and background, in percent.

    The background has most of the pixels. Lest it have too much of the loss,
    the papers of FMSE and of heatmap weighting weight the foreground up;
    whether it has can be seen here.

    Foreground is where the target exceeds ``threshold`` times the largest
    value of its map. For MSE and 'objective' there are 'foreground',
    'background' and 'ratio', foreground to background; 'pixels foreground' is
    the share of the pixels. All are added up over all labelled keypoints. A
    loss of the BCE type has at least the entropy of the target, nearly all of
    it foreground. For losses that take no ``mask`` the shares are NaN.

    Args:
        codec (dict, optional): See :class:`HeatmapMetric`.
        loss (dict, optional): Config of a loss besides MSE, as the model's.
        threshold (float): Part of a target's largest value. The default is
            reached by a Gaussian at three sigmas. Defaults to 0.01.
        **kwargs: See :class:`HeatmapMetric`.
    """

    default_prefix = 'share'

    def __init__(
        self,
        codec: Optional[dict] = None,
        loss: Optional[dict] = None,
        threshold: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(codec, loss, **kwargs)
        if not 0 <= threshold < 1:
            raise ValueError(
                f'threshold must be at least 0 and below 1, got {threshold}.'
            )
        self.threshold = threshold

    def measure(self, sample: dict, maps: Maps) -> Dict[str, list]:
        labelled = maps.weights[0] > 0
        if not labelled.any():
            return {name: [0.0, 0.0] for name in ('pixels', *self.losses)}
        # Of a mean over all maps, so that people add up.
        part = labelled.double().mean().item()
        maps = Maps(*(x[:, labelled] for x in maps))
        peak = maps.target.amax(dim=(2, 3), keepdim=True)
        foreground = (maps.target > self.threshold * peak).double()
        parts = [foreground, 1 - foreground]
        result = dict(pixels=[p.sum().item() for p in parts])
        for name, loss, output in self.inputs(maps):
            result[name] = [math.nan, math.nan]
            if isinstance(loss, KeypointMSELoss):
                result[name] = [
                    part * loss(output, maps.target, maps.weights, mask).item()
                    for mask in parts
                ]
        return result

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """'... foreground', '... background' and '... ratio' by name."""
        table = {}
        for name in (*self.losses, 'pixels'):
            foreground, background = torch.tensor(
                [result[name] for result in results], dtype=torch.float64
            ).sum(dim=0)
            # Tensors divide by 0.
            share = 100 * foreground / (foreground + background)
            table[f'{name} foreground'] = share.item()
            if name != 'pixels':
                table[f'{name} background'] = 100 - share.item()
                table[f'{name} ratio'] = (foreground / background).item()
        return table
