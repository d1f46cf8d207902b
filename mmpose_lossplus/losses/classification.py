"""Losses of the Anchor Loss paper for MMPretrain's classification heads.

They are in MMEngine's root registry, where MMPretrain's looks too: nothing
here imports MMPretrain.
"""

from typing import Any, Optional, Union

import torch
from mmengine.registry import MODELS
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from . import functional as F
from .heatmap_losses import MAX_GAMMA, check_range, is_compiling


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Softmax cross entropy of each picture, (N,), of (N, C).

    PyTorch's own, with soft labels, does not compile in torch 2.1.
    """
    return -(target * output.log_softmax(-1)).sum(-1)


class ClassificationLoss(nn.Module):
    """Checks, one-hot labels, float32 and the mean over the batch.

    A loss is a subclass with hyper-parameters and :meth:`loss_of_samples`. It
    is computed in float32 or wider, whatever the precision of the scores.

    Args:
        loss_weight (float): Factor of the whole loss. Defaults to 1.0.
    """

    #: Whether a label must be one class, or a distribution over classes.
    needs_one_target = True

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self._first_batch_checked = False

    def loss_of_samples(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of each picture, (N,), of logits and labels, (N, C)."""
        raise NotImplementedError

    def forward(
        self,
        cls_score: Tensor,
        target: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
    ) -> Tensor:
        """Weighted mean of the losses of the pictures.

        Args:
            cls_score (Tensor): Logits, (N, C).
            target (Tensor): Classes as integers, (N,) or (N, 1), or soft
                labels as of mixup, (N, C).
            weight (Tensor, optional): Weights of the pictures, (N,).
                Defaults to ``None``.
            avg_factor (float, optional): What the sum is divided by.
                ``None`` is N. Defaults to ``None``.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: If the shapes do not fit or there is only one class.
                If a label is none of the classes, or soft labels lie outside
                of [0, 1] or, where the loss needs one target, do not sum to
                1: on the first batch, as a look at the values stalls a GPU,
                on a CPU always, and not when compiled.
        """
        self._check_shapes(cls_score, target, weight)
        if not len(cls_score):  # the mean of nothing is NaN
            return cls_score.float().sum()
        device = cls_score.device.type
        if not is_compiling() and (
            device == 'cpu' or not self._first_batch_checked
        ):
            self._check_values(cls_score, target)
            self._first_batch_checked = True
        # MMEngine's knows more devices, a compiler only the other.
        off = torch.autocast if is_compiling() else autocast
        with off(device, enabled=False):
            double = torch.float64 in (cls_score.dtype, target.dtype)
            output = cls_score.to(torch.float64 if double else torch.float32)
            if not target.is_floating_point():
                classes = target.long().reshape(-1, 1)
                target = torch.zeros_like(output).scatter(1, classes, 1)
            losses = self.loss_of_samples(output, target.to(output.dtype))
            if weight is not None:
                losses = losses * weight
            count = len(losses) if avg_factor is None else avg_factor
            return losses.sum() / count * self.loss_weight

    def _check_shapes(
        self, cls_score: Tensor, target: Tensor, weight: Optional[Tensor]
    ) -> None:
        name, shape = type(self).__name__, tuple(cls_score.shape)
        if cls_score.ndim != 2 or shape[1] < 2:
            raise ValueError(
                f'{name} needs scores of shape (N, C) of at least 2 classes, '
                f'got {shape}.'
            )
        known = [shape] if target.is_floating_point() else []
        known = known or [shape[:1], (shape[0], 1)]
        if tuple(target.shape) not in known:
            raise ValueError(
                f'{name} needs classes as integers (N,) or soft labels (N, C) '
                f'for scores of {shape}, got {target.dtype} of '
                f'{tuple(target.shape)}.'
            )
        if weight is not None and tuple(weight.shape) != shape[:1]:
            raise ValueError(
                f'{name} needs weights of shape (N,) for scores of {shape}, '
                f'got {tuple(weight.shape)}.'
            )

    def _check_values(self, cls_score: Tensor, target: Tensor) -> None:
        name = type(self).__name__
        low, high = target.min().item(), target.max().item()
        if not target.is_floating_point():
            classes = cls_score.shape[1]
            if low < 0 or high >= classes:
                raise ValueError(
                    f'{name} needs labels from 0 to {classes - 1} for scores '
                    f'of {classes} classes, got labels from {low} to {high}.'
                )
            return
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f'{name} needs soft labels in [0, 1], got values from '
                f'{low:g} to {high:g}.'
            )
        sums = target.double().sum(-1)
        # What half precision rounds away is no reason to stop.
        off = (sums - 1).abs() > 1e-2
        if self.needs_one_target and off.any():
            raise ValueError(
                f'{name} needs soft labels that sum to 1, for its anchor is '
                'the score of the true class, got a sum of '
                f'{sums[off][0]:g}.'
            )


@MODELS.register_module()
class ClassificationAnchorLoss(ClassificationLoss):
    """Anchor Loss for classification, for MMPretrain's heads.

    See :func:`.functional.classification_anchor_loss`; summed over classes,
    averaged over the batch. ``gamma=0`` is the BCE row of the paper's tables
    1 and A-1. MMPretrain's ``CrossEntropyLoss(use_sigmoid=True)`` is the same
    but takes no classes as integers, and ``FocalLoss`` the paper's equation
    (9) with ``alpha=0.5`` and ``loss_weight=2.0``.

    Args:
        gamma (float): Exponent of the modulator; 0.5 is the default of the
            paper's code. Defaults to 0.5.
        slack (float): Margin of the anchors. Defaults to 0.05.
        design (str): What is modulated, 'target', 'background' or 'both', the
            cases i to iii of the paper's appendix. Defaults to 'background'.
        static_anchor (float | str, optional): An anchor probability in
            [0, 1] instead of the network's own scores, as in table 3, or
            '1-p', with which ``design='both'`` is focal loss. Defaults to
            ``None``.
        ce_share (float): Share of softmax cross entropy, from 0 to 1. Set by
            ``LossScheduleHook`` it is the paper's warm-up. Defaults to 0.0.
        **kwargs: See :class:`ClassificationLoss`.

    Raises:
        ValueError: If a parameter is out of its range or ``design`` unknown.

    Examples:
        The paper's warm-up, cross entropy in the first five epochs.

        >>> schedule = dict(ce_share=[(0, 1.0), (5, 0.0)])
        >>> custom_hooks = [
        ...     dict(type='mmpose.LossScheduleHook', schedule=schedule)
        ... ]
    """

    def __init__(
        self,
        gamma: float = 0.5,
        slack: float = 0.05,
        design: str = 'background',
        static_anchor: Optional[Union[float, str]] = None,
        ce_share: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_range(MAX_GAMMA, gamma=gamma)
        check_range(1, slack=slack, ce_share=ce_share)
        F.choose('design', design, F.ANCHOR_DESIGNS)
        if isinstance(static_anchor, str):
            if static_anchor != '1-p':
                raise ValueError(
                    "static_anchor must be a number, '1-p' or None, got "
                    f'{static_anchor!r}.'
                )
        elif static_anchor is not None:
            check_range(1, static_anchor=static_anchor)
        self.gamma = gamma
        self.slack = slack
        self.design = design
        self.static_anchor = static_anchor
        self.ce_share = ce_share
        self.needs_one_target = static_anchor is None

    def loss_of_samples(self, output: Tensor, target: Tensor) -> Tensor:
        losses = torch.zeros_like(output[:, 0])
        if self.ce_share > 0:
            losses = losses + self.ce_share * cross_entropy(output, target)
        if self.ce_share < 1:
            anchor = self.static_anchor
            if anchor == '1-p':
                anchor = 1 - target
            of_classes = F.classification_anchor_loss(
                output, target, self.gamma, self.slack, self.design, anchor
            )
            losses = losses + (1 - self.ce_share) * of_classes.sum(-1)
        return losses


@MODELS.register_module()
class OHEMCrossEntropyLoss(ClassificationLoss):
    """Softmax cross entropy of the hardest pictures of each batch (OHEM).

    The rows of that name in the Anchor Loss paper's tables 1 and 2: of each
    batch only the share rho with the highest loss is trained on. That rho is
    the share kept, of pictures, is our reading; its value is not published.

    Source: Training Region-based Object Detectors with Online Hard Example
    Mining, arXiv 1604.03540.

    Args:
        rho (float): Share that is kept, at least one picture, in (0, 1]; 1 is
            cross entropy. Defaults to 0.9.
        **kwargs: See :class:`ClassificationLoss`.

    Raises:
        ValueError: If ``rho`` is out of its range.
    """

    needs_one_target = False

    def __init__(self, rho: float = 0.9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < rho <= 1:
            raise ValueError(f'rho must lie in (0, 1], got {rho}.')
        self.rho = rho

    def loss_of_samples(self, output: Tensor, target: Tensor) -> Tensor:
        losses = cross_entropy(output, target)
        kept = max(1, round(self.rho * len(losses)))
        hardest = losses.detach().topk(kept).indices
        # Zeros, and the others so that the mean over all is theirs.
        share = torch.zeros_like(losses)
        share[hardest] = len(losses) / kept
        return losses * share
