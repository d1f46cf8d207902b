from abc import abstractmethod
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmpose.codecs import UDPHeatmap
from mmpose.datasets.transforms import GenerateTarget
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix
from torch import Tensor

CODEC_WANTED = 'give it the codec that the model is trained with'


class Maps(NamedTuple):
    """Maps of one person, a batch of one on the CPU.

    The weight of a keypoint is 0 without label, or if no pixel of the map is
    within the target's Gaussian.
    """

    output: Tensor  # predicted heatmaps, (1, K, H, W), as decoded
    target: Tensor  # (1, K, H, W), float64
    weights: Tensor  # (1, K), float64


class HeatmapMetric(BaseMetric):
    """A metric of predicted heatmaps and their targets.

    A metric is a subclass with :meth:`measure`, which takes one person's maps
    and returns some numbers: maps are not kept, so that any data set fits in
    memory. The model gives its maps with ``model=dict(test_cfg=dict(
    output_heatmaps=True))``.

    The maps are those that the keypoints are decoded from: of the last stage,
    after a sigmoid if the final layer is ``SigmoidConv2d``, and with
    ``flip_test=True``, which most configs of MMPose set, the mean of the
    picture's maps and its mirror image's. Set ``flip_test=False`` for those
    of the picture alone.

    Target and weights are what training would take: pipelines that validate
    have none, so the labels go through the same affine transformation and
    codec. With ``codec=None`` they are taken from the data instead, if there
    is a ``GenerateTarget`` in the pipeline.

    Args:
        codec (dict, optional): Config of the codec that the model is trained
            with, one that gives a map per keypoint. Defaults to ``None``.
        use_udp (bool, optional): That of the pipeline's ``TopdownAffine``.
            ``None`` for ``True`` with a :class:`UDPHeatmap` and ``False``
            with others. Defaults to ``None``.
        **kwargs: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(
        self,
        codec: Optional[dict] = None,
        use_udp: Optional[bool] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generate = None if codec is None else GenerateTarget(codec)
        self.use_udp = use_udp

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure each person of a batch."""
        for sample in data_samples:
            self.results.append(self.measure(sample, self.maps(sample)))

    @abstractmethod
    def measure(self, sample: dict, maps: Maps) -> Any:
        """Numbers of one person for ``compute_metrics``."""

    def maps(self, sample: dict) -> Maps:
        """Take the maps of one person out of a data sample."""
        name = type(self).__name__
        output = (sample.get('pred_fields') or {}).get('heatmaps')
        if output is None:
            raise ValueError(
                f'{name} needs the predicted heatmaps, but there are none: '
                'set model.test_cfg.output_heatmaps=True in the config or '
                'with --cfg-options.'
            )
        check_labels(sample, name)
        target, weights = (
            torch.as_tensor(x).cpu().double() for x in self._target(sample)
        )
        if output.shape != target.shape or weights.shape != (1, len(target)):
            raise ValueError(
                f'{name} compares one map per keypoint, but for '
                f'{weights.numel()} keypoints the model predicts maps of '
                f'shape {tuple(output.shape)} and the target has '
                f'{tuple(target.shape)}: {CODEC_WANTED}.'
            )
        return Maps(output.detach().cpu()[None], target[None], weights)

    def _target(self, sample: dict) -> Tuple[Any, Any]:
        name = type(self).__name__
        if self.generate is None:
            if 'heatmaps' not in sample.get('gt_fields', {}):
                raise ValueError(f'{name} needs targets: {CODEC_WANTED}.')
            labels = sample['gt_instance_labels']
            return sample['gt_fields']['heatmaps'], labels['keypoint_weights']
        codec, size = self.generate.encoder, tuple(sample['input_size'])
        if size != tuple(codec.input_size):
            raise ValueError(
                f'{name} has a codec for inputs of {tuple(codec.input_size)}, '
                f'but the model got one of {size}: {CODEC_WANTED}.'
            )
        udp = self.use_udp
        if udp is None:
            udp = isinstance(codec, UDPHeatmap)
        matrix = (get_udp_warp_matrix if udp else get_warp_matrix)(
            sample['input_center'], sample['input_scale'], 0.0, size
        )
        labels = sample['gt_instances']
        keypoints = labels['keypoints'].copy()
        keypoints[..., :2] = cv2.transform(keypoints[..., :2], matrix)
        encoded = self.generate.transform(
            dict(
                transformed_keypoints=keypoints,
                keypoints_visible=labels['keypoints_visible'],
            )
        )
        if 'heatmaps' not in encoded:
            raise ValueError(
                f'{name} needs a codec of heatmaps, got '
                f'{type(codec).__name__}.'
            )
        return encoded['heatmaps'], encoded['keypoint_weights']


def check_labels(sample: dict, name: str) -> None:
    """Raise a ``ValueError`` that names the metric if there are no labels."""
    labels = sample['gt_instances']
    picture = sample.get('img_path')
    if 'keypoints' not in labels:
        raise ValueError(f'{name} needs labels, but {picture} has none.')
    # MMPose's placeholders: all visible, in the corner.
    if np.all(labels['keypoints_visible']) and not labels['keypoints'].any():
        raise ValueError(
            f'{name} needs labels, but {picture} has a detected person, '
            "without: set the dataset's bbox_file=None."
        )


def to_logits(probabilities: Tensor) -> Tensor:
    """Logits of the probabilities that ``SigmoidConv2d`` gives, in float64.

    A probability of exactly 1 or 0, to which large logits are rounded, counts
    as the number next to it (the smallest normal number next to 0): in
    float32 that is a logit of 16.6 or -87.3. So a loss that such a pixel
    raises is finite, and at most what the lost logit would give.
    """
    info = torch.finfo(probabilities.dtype)
    inside = probabilities.double().clamp(info.tiny, 1 - info.eps / 2)
    logits = inside.logit()
    logits.is_logits = True
    return logits
