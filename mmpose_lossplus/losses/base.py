import warnings
from functools import partial
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple

import torch
from mmengine.runner.amp import autocast
from mmpose.models.losses import KeypointMSELoss
from torch import Tensor

from .functional import by_autograd, is_compiling
from .fused import CAN_COMPILE, LossAndGrad, fused_mean


def _at_least_float32(*maps: Tensor) -> List[Tensor]:
    double = any(x.dtype == torch.float64 for x in maps)
    return [x.to(torch.float64 if double else torch.float32) for x in maps]


def _no_autocast(device_type: str) -> ContextManager:
    # A compiler knows torch.autocast alone.
    if is_compiling():
        return torch.autocast(device_type, enabled=False)
    if not hasattr(torch, 'autocast'):  # torch < 1.10, where it is CUDA's
        return autocast(enabled=False)
    return autocast(device_type, enabled=False)


class HeatmapLoss(KeypointMSELoss):
    """Weights, masks and averages the loss of each pixel.

    A loss is a subclass with one method, :meth:`loss_map`, or with
    :meth:`equation`, which trains faster. Weights and masks go through
    MMPose's own code and the mean is over all pixels, masked ones too, so a
    subclass is weighted exactly as the MSE baseline. The loss is computed in
    float32 or wider, whatever the precision of its inputs, and can be
    differentiated once.

    Args:
        use_target_weight (bool): Whether to apply ``target_weights``. Unlike
            ``KeypointMSELoss``, which stores this flag but always applies
            the weights, ``False`` is honoured; the default is therefore what
            the baseline does. Defaults to ``True``.
        skip_empty_channel (bool): Whether to leave out keypoints whose target
            is zero everywhere. Defaults to ``False``.
        loss_weight (float): Factor of the whole loss. Defaults to 1.0.
    """

    #: Whether the output is logits (of ``SigmoidConv2d``) or heatmaps.
    takes_logits = False

    _maps_equation = True

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        cls._maps_equation = cls.loss_map is HeatmapLoss.loss_map

    def __init__(
        self,
        use_target_weight: bool = True,
        skip_empty_channel: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(use_target_weight, skip_empty_channel, loss_weight)

    def equation(self) -> Tuple[Callable[..., Tensor], Dict[str, Any]]:
        """The function of :mod:`.functional` and its hyper-parameters."""
        raise NotImplementedError

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of each pixel; arguments and result are (B, K, H, W)."""
        function, parameters = self.equation()
        return function(output, target, **parameters)

    def forward(
        self,
        output: Tensor,
        target: Tensor,
        target_weights: Optional[Tensor] = None,
        mask: Optional[Tensor] = None,
    ) -> Tensor:
        """Weighted mean of the loss map.

        Args:
            output (Tensor): Predicted heatmaps, (B, K, H, W).
            target (Tensor): Target heatmaps, (B, K, H, W).
            target_weights (Tensor, optional): Weights of the keypoints,
                (B, K) or (B, K, 1), or of the pixels, (B, K, H, W).
                Defaults to ``None``.
            mask (Tensor, optional): Valid pixels, (B, K, H, W) or
                (B, 1, H, W). Defaults to ``None``.

        Returns:
            Tensor: The loss, a scalar.

        Raises:
            ValueError: If the shapes do not fit, or if the output is logits
                and the loss takes heatmaps.
        """
        if not self.use_target_weight:
            target_weights = None
        self._check_inputs(output, target, target_weights, mask)
        if target_weights is not None and target_weights.ndim == 3:
            target_weights = target_weights.squeeze(-1)
        factor = self._get_mask(target, target_weights, None)
        if mask is None or factor is None:
            mask = factor if mask is None else mask
        else:
            mask = mask * factor

        output, target = _at_least_float32(output, target)
        # The mean of nothing is NaN. Not numel(), for which a compiler would
        # make a graph per batch size.
        if output.shape[0] == 0:
            return output.sum()
        loss_and_grad = None
        if CAN_COMPILE or not is_compiling():
            loss_and_grad = self._loss_and_grad(output, target, mask)
        with _no_autocast(output.device.type):
            if loss_and_grad is None:
                mean = self._mean(output, target, mask)
            else:
                mean = fused_mean(output, target, mask, loss_and_grad)
        return mean * self.loss_weight

    def _mean(
        self, output: Tensor, target: Tensor, mask: Optional[Tensor]
    ) -> Tensor:
        loss = self.loss_map(output, target)
        if mask is not None:
            loss = loss * mask
        return loss.mean()

    def _loss_and_grad(
        self, output: Tensor, target: Tensor, mask: Optional[Tensor]
    ) -> Optional[LossAndGrad]:
        """What :func:`fused_mean` needs, None where autograd is needed."""
        needed = torch.is_grad_enabled() and output.requires_grad
        constant = not any(
            x is not None and x.requires_grad for x in (target, mask)
        )
        if not needed or not constant:
            return None
        if not self._maps_equation:
            return None  # somebody's own loss map
        function, parameters = self.equation()
        # Somebody's function may look at the whole batch.
        if any(callable(value) for value in parameters.values()):
            return None
        loss_and_grad = getattr(function, 'loss_and_grad', None)
        if loss_and_grad is None:
            if is_compiling():
                return None
            loss_and_grad = partial(by_autograd, function)
        return partial(loss_and_grad, **parameters)

    def _check_inputs(
        self,
        output: Tensor,
        target: Tensor,
        target_weights: Optional[Tensor],
        mask: Optional[Tensor],
    ) -> None:
        name = type(self).__name__
        if target.ndim != 4 or output.shape != target.shape:
            raise ValueError(
                f'{name} needs output and target of one shape (B, K, H, W), '
                f'got {tuple(output.shape)} and {tuple(target.shape)}.'
            )
        if target_weights is not None:
            weights, (batch, num_maps) = target_weights.shape, target.shape[:2]
            if weights == (batch, num_maps / 3):
                raise ValueError(
                    f'{name} takes one map per keypoint, but the target has '
                    f'{num_maps} maps for {weights[1]} keypoints: the UDP '
                    "codec's heatmap_type='combined' is not supported, use "
                    "'gaussian'."
                )
            if weights not in (
                target.shape[:2],
                target.shape[:2] + (1,),
                target.shape,
            ):
                raise ValueError(
                    f'{name} needs target_weights of shape (B, K), (B, K, 1) '
                    f'or (B, K, H, W) for a target of {tuple(target.shape)}, '
                    f'got {tuple(weights)}.'
                )
        if mask is not None and (
            mask.ndim != 4
            or any(m not in (1, t) for m, t in zip(mask.shape, target.shape))
        ):
            raise ValueError(
                f'{name} needs a mask of shape (B, K, H, W) or (B, 1, H, W) '
                f'for a target of {tuple(target.shape)}, '
                f'got {tuple(mask.shape)}.'
            )
        if is_compiling():
            return  # a compiler knows no marks on tensors
        if not self.takes_logits and getattr(output, 'is_logits', False):
            raise ValueError(
                f'{name} compares heatmaps, but the final layer is '
                'SigmoidConv2d, which gives logits in training: remove '
                "type='SigmoidConv2d' from final_layer."
            )


class LogitHeatmapLoss(HeatmapLoss):
    """A :class:`HeatmapLoss` on logits, for losses of the BCE type.

    The target must lie in [0, 1], which is checked on the first batch that
    has a visible keypoint: a check of every batch would stall a GPU. A model
    under ``torch.compile`` is not checked, it would break the graph.
    """

    takes_logits = True

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self._first_batch_checked = False

    def _check_inputs(
        self,
        output: Tensor,
        target: Tensor,
        target_weights: Optional[Tensor],
        mask: Optional[Tensor],
    ) -> None:
        super()._check_inputs(output, target, target_weights, mask)
        if is_compiling() or self._first_batch_checked or not target.numel():
            return
        name = type(self).__name__
        (target,) = _at_least_float32(target)  # PyTorch 1.8 wants it here too
        low, high = target.min().item(), target.max().item()
        if low < 0 or high > 1:
            raise ValueError(
                f'{name} needs a target in [0, 1], got values from {low:g} to '
                f'{high:g} (MegviiHeatmap peaks at 255): use the MSRAHeatmap '
                'or UDPHeatmap codec.'
            )
        if not getattr(output, 'is_logits', False):
            warnings.warn(
                f'{name} takes logits, but the output does not come from a '
                'SigmoidConv2d: with MMPose set final_layer=dict(type='
                "'SigmoidConv2d'), or raw logits are decoded as heatmaps at "
                'test time.',
                stacklevel=3,
            )
        self._first_batch_checked = high > 0
