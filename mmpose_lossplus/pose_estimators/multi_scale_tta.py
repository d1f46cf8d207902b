from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, UDPHeatmap
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor, nn


@MODELS.register_module()
class MultiScaleTTA(BaseTTAModel):
    """Test-time augmentation (TTA) over crops of several scales.

    The heatmaps of all crops of a person are brought into the frame of the
    first crop, averaged, and decoded by the module's own head. The crops are
    those of a ``TestTimeAug`` with one ``GetBBoxCenterScale`` for each scale;
    ``configs/_base_/six_scales.py`` is an example, for a model
    ``dict(_delete_=True, type='MultiScaleTTA', module={{_base_.model}})``.

    Put first the crop of the plain test: like there, joints outside of it are
    not found, and boxes and scales for metrics are those of this crop. The
    order of the others does not matter. A crop that does not reach a place
    says nothing about it, so the average is over those that do. Flip test, as
    the module's ``test_cfg`` has it, is done within each scale. The cost is
    that of as many plain tests as there are crops.

    Source: Anchor Loss, tables 4 and 5, "an average over a six-scale pyramid
    with flip". The scales are not published; those of the six-scale test of
    the hourglass code https://github.com/bearpaw/PyraNet (``evalPyra.lua``)
    are 0.8 to 1.3 in steps of 0.1. That code counts what a crop does not
    reach as 0.

    Args:
        module (dict | nn.Module): The trained model, a
            ``TopdownPoseEstimator`` with heatmaps. Its ``test_cfg`` is
            replaced by one that outputs them; the merged ones, (K, H, W), are
            kept in ``pred_fields`` only if it had ``output_heatmaps=True``.
        data_preprocessor (dict, optional): See :class:`BaseTTAModel`.
            Defaults to ``None``.

    Raises:
        TypeError: If the module is another model, or its decoder is not
            ``MSRAHeatmap``, ``MegviiHeatmap`` or ``UDPHeatmap`` of type
            ``'gaussian'``.
    """

    def __init__(
        self,
        module: Union[dict, nn.Module],
        data_preprocessor: Optional[dict] = None,
    ) -> None:
        super().__init__(module, data_preprocessor)
        decoder = getattr(getattr(self.module, 'head', None), 'decoder', None)
        kind = getattr(decoder, 'heatmap_type', None)
        codecs = MSRAHeatmap, MegviiHeatmap, UDPHeatmap
        if (
            not isinstance(self.module, TopdownPoseEstimator)
            or not isinstance(decoder, codecs)
            or kind not in (None, 'gaussian')
        ):
            raise TypeError(
                'MultiScaleTTA averages the heatmaps of a '
                'TopdownPoseEstimator whose decoder is MSRAHeatmap, '
                "MegviiHeatmap or UDPHeatmap of heatmap_type='gaussian', got "
                f'{type(self.module).__name__} with '
                f'{type(decoder).__name__} of heatmap_type={kind!r}.'
            )
        # The merged prediction is made as the module was asked to make its
        # own; until then no keypoint may be left out.
        self.test_cfg = self.module.test_cfg
        self.module.test_cfg = {
            **self.test_cfg,
            'output_heatmaps': True,
            'output_keypoint_indices': None,
        }

    def test_step(self, data: Dict[str, list]) -> List[PoseDataSample]:
        """Predict from each crop and merge, see :meth:`merge_preds`.

        ``inputs`` and ``data_samples`` are lists over the crops of lists over
        the batch.
        """
        if isinstance(data['data_samples'][0], PoseDataSample):
            raise ValueError(
                'MultiScaleTTA needs a TestTimeAug in the pipeline of '
                'test_dataloader, got data with one crop per person.'
            )
        return super().test_step(data)

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[PoseDataSample]]
    ) -> List[PoseDataSample]:
        """Average the heatmaps of the crops and decode them.

        Args:
            data_samples_list (Sequence[Sequence[:obj:`PoseDataSample`]]): The
                predictions of each crop, for each person of the batch.

        Returns:
            list[:obj:`PoseDataSample`]: The first crop of each person with
            the merged prediction: ``keypoints`` in pixels of the picture, and
            the ``keypoint_scores`` that the decoder gives the averaged maps.

        Raises:
            ValueError: If crops of one person differ in more than scale.
        """
        samples, *others = zip(*data_samples_list)
        for crop in others:
            for sample, other in zip(samples, crop):
                _check_same_person(sample, other)

        total = _stack_heatmaps(samples)
        num_seen = torch.ones_like(total[:, :1])
        for crop in others:
            maps, seen = self._to_frame(_stack_heatmaps(crop), crop, samples)
            total += maps * seen
            num_seen += seen
        heatmaps = total / num_seen

        preds = self.module.head.decode(heatmaps)
        if self.test_cfg.get('output_heatmaps', False):
            fields = [PixelData(heatmaps=maps) for maps in heatmaps]
        else:
            fields = None
            for sample in samples:
                del sample.pred_fields
        # With the test_cfg of this model, not of the module.
        return TopdownPoseEstimator.add_pred_to_datasample(
            self, preds, fields, list(samples)
        )

    def _to_frame(
        self,
        heatmaps: Tensor,
        crop: Sequence[PoseDataSample],
        frame: Sequence[PoseDataSample],
    ) -> Tuple[Tensor, Tensor]:
        """Heatmaps in another crop's frame, and which cells they reach.

        In the host's map from cells to the picture, which is the decoder's
        and then that of ``add_pred_to_datasample``, the centre of a crop is
        cell ``W / 2`` for ``MSRAHeatmap`` and ``(W - 1) / 2``, the middle of
        the heatmap, for the others. Both crops have this point in common.
        """
        scales = [f.input_scale / c.input_scale for f, c in zip(frame, crop)]
        # Autocast leaves double precision alone, and half would blur places.
        zoom = torch.from_numpy(np.stack(scales)).double()
        # In the units of the grid, which goes from -1 to 1.
        center = 1 / (zoom.new_tensor(heatmaps.shape[:1:-1]) - 1)
        if not isinstance(self.module.head.decoder, MSRAHeatmap):
            center = 0 * center
        shift = (1 - zoom) * center
        theta = torch.cat([zoom.diag_embed(), shift[..., None]], dim=-1)
        grid = F.affine_grid(theta, heatmaps.shape, align_corners=True)
        # The outermost cells are reached, whichever way they were rounded.
        seen = (grid.abs() < 1 + 1e-6).all(dim=-1)[:, None]
        maps = F.grid_sample(
            heatmaps,
            grid.to(heatmaps),
            padding_mode='border',
            align_corners=True,
        )
        return maps, seen.to(heatmaps)


def _stack_heatmaps(samples: Sequence[PoseDataSample]) -> Tensor:
    return torch.stack([s.pred_fields.heatmaps for s in samples]).float()


def _check_same_person(sample: PoseDataSample, other: PoseDataSample) -> None:
    for key in ('input_center', 'input_size', 'bbox_rotation', 'flip'):
        a, b = sample.metainfo.get(key), other.metainfo.get(key)
        if not np.array_equal(a, b):
            raise ValueError(
                'MultiScaleTTA needs crops of a person that differ only in '
                f'scale, got {key} {a} and {b}.'
            )
