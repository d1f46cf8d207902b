from typing import Dict, Optional

import numpy as np
from mmengine.logging import print_log
from mmpose.evaluation.functional import keypoint_pck_accuracy
from mmpose.evaluation.metrics import PCKAccuracy
from mmpose.registry import METRICS

_COLUMNS = {
    'Head PCK': (12, 13),
    'Shoulder PCK': (8, 9),
    'Elbow PCK': (7, 10),
    'Wrist PCK': (6, 11),
    'Hip PCK': (2, 3),
    'Knee PCK': (1, 4),
    'Ankle PCK': (0, 5),
}
_TORSO = (9, 2)  # left shoulder, right hip


@METRICS.register_module()
class LspPCKAccuracy(PCKAccuracy):
    """PCK@0.2 as in the tables on Leeds Sports Pose, in percent.

    A joint counts as found when it is nearer to its label than ``thr`` times
    the torso, the distance from left shoulder to right hip in the labels.
    That is the measure of the toolkit behind the tables on LSP, ``eval_pck.m``
    in https://github.com/bearpaw/eval_pose, from MPII's "related benchmarks"
    page and after Sapp and Taskar, "MODEC: Multimodal Decomposable Models for
    Human Pose Estimation", CVPR 2013. Only at a distance of exactly ``thr``
    do they differ: found there, not here, as in MMPose's other PCK.

    Each column is the mean over a pair of joints, 'Head' that over neck and
    head top. 'PCK' is the mean of the seven columns, as in table 5 of the
    Anchor Loss paper: the columns of its own row sum to 657.9, its total is
    94.0. LSP has every joint labelled, so this is the toolkit's mean over all
    joints of all pictures as well.

    A picture without label for left shoulder or right hip, or with both at
    one point, has no torso to measure by: it is left out, and a line in the
    log says how many were. LSP has none; LSPET, should one validate on it,
    does. Joints without label are left out as everywhere in MMPose, and a
    column without any is NaN and left out of 'PCK'.

    Args:
        thr (float): Threshold in units of the torso. Defaults to 0.2.
        collect_device (str): See :class:`mmpose.evaluation.PCKAccuracy`.
            Defaults to 'cpu'.
        prefix (str, optional): Prefix of the metrics' names. ``None`` takes
            'lsp', hence 'lsp/PCK'. Defaults to ``None``.

    Raises:
        ValueError: If ``thr`` is not positive, or while evaluating if no
            picture has a torso.
    """

    default_prefix: Optional[str] = 'lsp'

    def __init__(
        self,
        thr: float = 0.2,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
    ) -> None:
        if not thr > 0:
            raise ValueError(f'thr must be positive, got {thr}.')
        # MMPose's 'torso' joins keypoints 4 and 5, which fits JHMDB only.
        super().__init__(
            thr=thr,
            norm_item=(),
            collect_device=collect_device,
            prefix=prefix,
        )

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute the columns, named as MpiiPCKAccuracy does, and 'PCK'."""
        pred, gt, mask = (
            np.concatenate([result[key] for result in results])
            for key in ('pred_coords', 'gt_coords', 'mask')
        )
        torso = np.linalg.norm(gt[:, _TORSO[0]] - gt[:, _TORSO[1]], axis=-1)
        torso[~mask[:, _TORSO].all(axis=1)] = 0
        without = np.count_nonzero(torso == 0)
        if without == len(torso):
            raise ValueError(
                'LspPCKAccuracy needs labels of left shoulder and right hip, '
                f'but none of the {len(torso)} pictures has both.'
            )
        if without:
            print_log(
                f'LspPCKAccuracy: {without} of {len(torso)} pictures have no '
                'torso in their labels and are left out.',
                'current',
            )
        # MMPose leaves out what has a norm of 0, and says -1 for no label.
        found, _, _ = keypoint_pck_accuracy(
            pred, gt, mask, self.thr, np.stack([torso, torso], axis=-1)
        )
        pairs = np.ma.masked_less(100 * found, 0)[list(_COLUMNS.values())]
        columns = pairs.mean(axis=1)
        table = dict(zip(_COLUMNS, columns.filled(np.nan).tolist()))
        return dict(table, PCK=float(columns.mean()))
