import inspect
import logging
import sys
from typing import Any, Callable, Optional, Set, Tuple, Union

import torch
from mmengine.logging import print_log
from mmengine.runner.amp import autocast
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from torch import Tensor

from ..layers.sigmoid_conv2d import refuse_logits
from . import functional as F
from .one_pass import OnePassMean, squares

try:
    from torch.compiler import is_compiling
except ImportError:  # torch < 2.3
    from torch._utils import is_compiling

# The modulator is at most 2^gamma, and its product with the cross entropy must
# be one of float32's numbers.
MAX_GAMMA = 64
# A loss and its derivative.
Maps = Tuple[Tensor, Tensor]


def arguments_of(cls: type) -> Set[str]:
    """Names of a class's arguments; ``**kwargs`` are those of its base."""
    names = set()
    for base in cls.__mro__:
        init = inspect.signature(base.__init__)  # type: ignore[misc]
        parameters = init.parameters.values()
        named = {p.name: p.kind for p in parameters if p.name != 'self'}
        more = inspect.Parameter.VAR_KEYWORD
        names |= {name for name, kind in named.items() if kind != more}
        if more not in named.values():
            break
    return names


def check_range(highest: float = sys.float_info.max, **values: float) -> None:
    for name, value in values.items():
        # Written so that NaN fails too.
        if not 0 <= value <= highest:
            raise ValueError(
                f'{name} must lie between 0 and {highest:g}, got {value}.'
            )


def _check_weights(loss: 'HeatmapLoss', target: Tensor) -> None:
    """Raise a ``ValueError`` if the weight of a squared error is none."""
    weight = loss.loss_map(target + 1, target)  # the loss of an error of 1
    if not (weight.isfinite() & (weight >= 0)).all():
        raise ValueError(
            f'{type(loss).__name__} has weights from {weight.min():g} to '
            f'{weight.max():g} on a target from {target.min():g} to '
            f'{target.max():g}, must be non-negative and finite.'
        )


class HeatmapLoss(KeypointMSELoss):
    """Weights, masks and averages the loss of each pixel.

    A loss is a subclass with hyper-parameters and :meth:`loss_map`. Weights
    and masks go through MMPose's own code and the mean is over all pixels,
    masked ones too, so a subclass is weighted exactly as the MSE baseline.
    The loss is computed in float32 or wider, whatever the precision of its
    inputs.

    Args:
        use_target_weight (bool): Whether to apply ``target_weights``. Unlike
            ``KeypointMSELoss``, which stores this flag but always applies
            the weights, ``False`` is honoured; the default is therefore what
            the baseline does. Defaults to ``True``.
        skip_empty_channel (bool): Whether to leave out keypoints whose target
            is zero everywhere. Defaults to ``False``.
        loss_weight (float): Factor of the whole loss. Defaults to 1.0.

    Raises:
        TypeError: If the class has no such argument.
    """

    #: Whether the output is logits (of ``SigmoidConv2d``) or heatmaps.
    takes_logits = False

    #: An optional faster form, which takes what :meth:`loss_map` takes, also
    #: as maps (N, 1, H * W), and returns the loss and its derivative by the
    #: output.
    loss_and_grad: Optional[Callable[..., Maps]] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = {'loss_map', 'loss_and_grad'}
        own = next(filter(None, (names & vars(c).keys() for c in cls.__mro__)))
        if 'loss_and_grad' not in own:
            cls.loss_and_grad = None  # that of a base is of another loss

    def __init__(
        self,
        use_target_weight: bool = True,
        skip_empty_channel: bool = False,
        loss_weight: float = 1.0,
        **unknown: Any,
    ) -> None:
        if unknown:
            known = arguments_of(type(self))
            raise TypeError(
                f'{type(self).__name__} has no argument '
                f'{", ".join(unknown)}, but: {", ".join(sorted(known))}.'
            )
        super().__init__(use_target_weight, skip_empty_channel, loss_weight)
        self._first_batch_checked = False

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of each pixel; arguments and result are (B, K, H, W)."""
        raise NotImplementedError

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
            ValueError: If the shapes do not fit, or the output is logits and
                the loss takes heatmaps. On the first batch with a visible
                keypoint, as a look at the values stalls a GPU, and not when
                compiled: if a weight is negative or the target does not fit.
        """
        if not self.use_target_weight:
            target_weights = None
        self._check_shapes(output, target, target_weights, mask)
        if target_weights is not None and target_weights.ndim == 3:
            target_weights = target_weights.squeeze(-1)
        # Without the mask, at whose check a compiler stops (torch 2.1).
        factor = self._get_mask(target, target_weights, None)
        if mask is None or factor is None:
            mask = factor if mask is None else mask
        else:
            mask = mask * factor
        # The mean of nothing is NaN. Not numel(), for which a compiler would
        # make a graph per batch size.
        if output.shape[0] == 0:
            return output.float().sum()
        # MMEngine's knows more devices, a compiler only the other.
        off = torch.autocast if is_compiling() else autocast
        with off(output.device.type, enabled=False):
            if not is_compiling():  # for which a look at the values is a break
                self._check_values(output, target, target_weights)
            double = torch.float64 in (output.dtype, target.dtype)
            dtype = torch.float64 if double else torch.float32
            mean = self._mean(output.to(dtype), target.to(dtype), mask)
        return mean * self.loss_weight

    def _mean(
        self, output: Tensor, target: Tensor, mask: Optional[Tensor]
    ) -> Tensor:
        constants = [x for x in (target, mask) if x is not None]
        fast = self.loss_and_grad is not None
        fast = fast and not any(x.requires_grad for x in constants)
        needed = torch.is_grad_enabled() and output.requires_grad
        if fast and needed and not is_compiling():
            mask = output.new_ones(1, 1, 1, 1) if mask is None else mask
            return OnePassMean.apply(output, target, mask, self)
        if fast and is_compiling():
            # A compiler makes one pass of this: the value is that of the
            # loss, the slope by the output is the derivative.
            fixed = output.detach()
            loss, grad = self.loss_and_grad(fixed, target)  # type: ignore[misc]
            loss = loss + grad * (output - fixed)
        else:
            loss = self.loss_map(output, target)
        return (loss if mask is None else loss * mask).mean()

    def check_target(self, target: Tensor) -> None:
        """Raise a ``ValueError`` if the target is not one for this loss."""

    def _check_values(
        self, output: Tensor, target: Tensor, weights: Optional[Tensor]
    ) -> None:
        name = type(self).__name__
        if not self.takes_logits:
            refuse_logits(self, output)
        if self._first_batch_checked or not target.numel():
            return
        self.check_target(target)
        if weights is not None and weights.min() < 0:
            raise ValueError(
                f'{name} needs target_weights of at least 0, got '
                f'{weights.min():g}: the visibility of keypoints in the '
                'annotations is 0, 1 or 2.'
            )
        if self.takes_logits and not getattr(output, 'is_logits', False):
            print_log(
                f'{name} takes logits, but the output does not come from a '
                'SigmoidConv2d: with MMPose set final_layer=dict(type='
                "'SigmoidConv2d'), or raw logits are decoded as heatmaps at "
                'test time.',
                logger='current',
                level=logging.WARNING,
            )
        self._first_batch_checked = bool(target.max() > 0)

    def _check_shapes(
        self,
        output: Tensor,
        target: Tensor,
        target_weights: Optional[Tensor],
        mask: Optional[Tensor],
    ) -> None:
        name = type(self).__name__
        shape = tuple(target.shape)
        if target.ndim != 4 or output.shape != target.shape:
            raise ValueError(
                f'{name} needs output and target of one shape (B, K, H, W), '
                f'got {tuple(output.shape)} and {shape}.'
            )
        if target_weights is not None:
            weights = tuple(target_weights.shape)
            if weights not in (shape[:2], (*shape[:2], 1), shape):
                combined = ''
                if len(weights) > 1 and weights[1] * 3 == shape[1]:
                    combined = (
                        '; three maps for a keypoint, as of UDPHeatmap with '
                        "heatmap_type='combined', are not supported"
                    )
                raise ValueError(
                    f'{name} needs target_weights of shape (B, K), (B, K, 1) '
                    f'or (B, K, H, W) for a target of {shape}, got '
                    f'{weights}{combined}.'
                )
        if mask is not None and (
            mask.ndim != 4
            or any(m not in (1, t) for m, t in zip(mask.shape, shape))
        ):
            raise ValueError(
                f'{name} needs a mask of shape (B, K, H, W) or (B, 1, H, W) '
                f'for a target of {shape}, got {tuple(mask.shape)}.'
            )


class LogitHeatmapLoss(HeatmapLoss):
    """A :class:`HeatmapLoss` on logits, for losses of the BCE type.

    The target must lie in [0, 1].
    """

    takes_logits = True

    def check_target(self, target: Tensor) -> None:
        low, high = target.min().item(), target.max().item()
        if low < 0 or high > 1:
            raise ValueError(
                f'{type(self).__name__} needs a target in [0, 1], got values '
                f'from {low:g} to {high:g} (MegviiHeatmap peaks at 255): use '
                'the MSRAHeatmap or UDPHeatmap codec.'
            )


@MODELS.register_module()
class AsymmetricMSELoss(HeatmapLoss):
    """Asymmetric MSE loss (AMSE), see :func:`.functional.amse`.

    The paper's equation did not survive, and this is our reading of its text.
    ``form='error_weighted'``, with abs(S - G) or its square as W, fits the
    words about W best; the default is the one that is asymmetric for every
    target.

    Args:
        beta (float): Weight of the penalty; the paper recommends 0.01 to 0.1.
            Defaults to 0.01.
        form (str): One of five readings of the paper's equation:
            'quadratic', 'difference_of_squares', 'linear',
            'prediction_weighted', 'error_weighted'. Defaults to 'quadratic'.
        reference (float | str | Callable, optional): W, a number, 'target',
            'output', 'error' for abs(S - G), 'squared_error', or a function
            of output and target that returns a tensor. ``None`` takes the
            form's own. Defaults to ``None``.
        **kwargs: See :class:`HeatmapLoss`.

    Raises:
        ValueError: If ``beta`` is negative, ``form`` unknown or
            ``reference`` something else.
    """

    def __init__(
        self,
        beta: float = 0.01,
        form: str = 'quadratic',
        reference: Optional[
            Union[float, str, Callable[[Tensor, Tensor], Tensor]]
        ] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_range(beta=beta)
        F.choose('form', form, F.AMSE_FORMS)
        kinds = (type(None), int, float, str)
        if not callable(reference) and not isinstance(reference, kinds):
            raise ValueError(
                'reference must be None, a number, one of '
                f'{tuple(F.AMSE_REFERENCES)} or a function of output and '
                f'target, got {reference!r}.'
            )
        if isinstance(reference, str):
            F.choose('reference', reference, F.AMSE_REFERENCES)
        self.beta = beta
        self.form = form
        self.reference = reference
        named = isinstance(reference, str) or callable(reference)
        if form != 'quadratic' or named:
            self.loss_and_grad = None  # type: ignore[assignment,method-assign]

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        return F.amse(output, target, self.beta, self.reference, self.form)

    def loss_and_grad(self, output: Tensor, target: Tensor) -> Maps:
        reference = target if self.reference is None else self.reference
        excess = (output - reference).relu_()
        return squares((1, output - target), (self.beta, excess))


@MODELS.register_module()
class RegularizedMSELoss(HeatmapLoss):
    """Regularized MSE loss (RMSE, *not* root mean square).

    See :func:`.functional.rmse`.

    Args:
        beta (float): Weight of the L2 penalty on the output; 0.01 is the
            only value the paper gives. Defaults to 0.01.
        **kwargs: See :class:`HeatmapLoss`.

    Raises:
        ValueError: If ``beta`` is negative.
    """

    def __init__(self, beta: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_range(beta=beta)
        self.beta = beta

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        return F.rmse(output, target, self.beta)

    def loss_and_grad(self, output: Tensor, target: Tensor) -> Maps:
        return squares((1, output - target), (self.beta, output))


@MODELS.register_module()
class FocusedMSELoss(HeatmapLoss):
    """Focused MSE loss (FMSE), see :func:`.functional.fmse`.

    With the defaults the mean weight over a 64x48 map is about 0.01. Adam
    hides such a scale as long as the gradients stay well above its ``eps``;
    beside other losses mind ``loss_weight``.

    Args:
        gamma (float): Focusing exponent; 1 is best in the paper's figure 3.
            Defaults to 1.0.
        delta (float): Keeps the weight of the background above zero.
            Defaults to 1e-3.
        **kwargs: See :class:`HeatmapLoss`.

    Raises:
        ValueError: If ``gamma`` or ``delta`` is negative, and on the first
            batch if a weight is, as where the target is below ``-delta``.
    """

    def __init__(
        self, gamma: float = 1.0, delta: float = 1e-3, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_range(gamma=gamma, delta=delta)
        self.gamma = gamma
        self.delta = delta

    check_target = _check_weights

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        return F.fmse(output, target, self.gamma, self.delta)

    def loss_and_grad(self, output: Tensor, target: Tensor) -> Maps:
        return squares(((target + self.delta) ** self.gamma, output - target))


@MODELS.register_module()
class HeatmapWeightingMSELoss(HeatmapLoss):
    """Heatmap-weighting MSE loss.

    See :func:`.functional.heatmap_weighting_mse`.

    The official code multiplies output and target by the target weight
    before squaring; here, as in MMPose 1.x, a weight enters once. For the
    weights 0 and 1 that is the same.

    Args:
        weight_fn (str | Callable, optional): F of the paper's table 4:
            'linear', 'double', 'square', 'exp', ``None`` for no weighting,
            or a function of the target. Defaults to 'linear', its best row.
        **kwargs: See :class:`HeatmapLoss`.

    Raises:
        ValueError: If ``weight_fn`` is an unknown name, and on the first
            batch if a weight is negative or no finite number.
    """

    def __init__(
        self,
        weight_fn: Optional[Union[str, Callable[[Tensor], Tensor]]] = 'linear',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(weight_fn, str):
            F.choose('weight_fn', weight_fn, F.WEIGHT_FNS)
        else:
            # Somebody's function may look at the whole batch.
            self.loss_and_grad = None  # type: ignore[assignment,method-assign]
        self.weight_fn = weight_fn

    check_target = _check_weights

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        return F.heatmap_weighting_mse(output, target, self.weight_fn)

    def loss_and_grad(self, output: Tensor, target: Tensor) -> Maps:
        name: Any = self.weight_fn
        weight = F.WEIGHT_FNS[name](target) + 1
        return squares((weight, output - target))


@MODELS.register_module()
class AnchorLoss(LogitHeatmapLoss):
    """Anchor Loss for heatmaps, see :func:`.functional.anchor_loss`.

    The output is logits: use it with ``final_layer=dict(
    type='SigmoidConv2d')``, which also makes MMPose see probabilities at test
    time. ``gamma=0`` is the BCE row of the paper's table 7.

    A joint without label is masked, as by MMPose's losses. The hourglass code
    that the paper builds on trains on it, with a target of zeros.

    Args:
        gamma (float): Exponent of the modulator; 2 is best in table 7, the
            gamma of tables 4 to 6 is not stated. Defaults to 2.0.
        slack (float): Margin taken from the anchor. Defaults to 0.05.
        anchor_threshold (float): Where the target exceeds it, the output may
            be the anchor. Defaults to 0.5.
        background_threshold (float): Where the target does not exceed it, the
            pixel is background. Raise it for targets that are nowhere zero,
            ``MSRAHeatmap(unbiased=True)``. Defaults to 0.0.
        **kwargs: See :class:`HeatmapLoss`.

    Raises:
        ValueError: If a parameter is negative, ``gamma`` exceeds 64 or
            ``background_threshold`` exceeds ``anchor_threshold``.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        slack: float = 0.05,
        anchor_threshold: float = 0.5,
        background_threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_range(MAX_GAMMA, gamma=gamma)
        check_range(slack=slack, anchor_threshold=anchor_threshold)
        # Else the anchor itself would be background.
        check_range(
            anchor_threshold, background_threshold=background_threshold
        )
        self.gamma = gamma
        self.slack = slack
        self.anchor_threshold = anchor_threshold
        self.background_threshold = background_threshold

    def _thresholds(self) -> Tuple[float, float, float]:
        return self.slack, self.anchor_threshold, self.background_threshold

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        return F.anchor_loss(output, target, self.gamma, *self._thresholds())

    def loss_and_grad(self, output: Tensor, target: Tensor) -> Maps:
        """The derivative is m (q - G), and where the modulator m counts
        besides gamma (1 + q - q*)^(gamma - 1) q (1 - q) BCE."""
        q, base, background = F.anchor_modulator(
            output, target, *self._thresholds()
        )
        # PyTorch's own takes longer.
        bce = torch.addcmul(output.relu(), output, target, value=-1)
        bce += torch.log1p(torch.exp(-output.abs()))
        m = base**self.gamma
        # The power last: it may overflow where q (1 - q) is 0.
        growth = torch.addcmul(q, q, q, value=-1).mul_(bce).mul_(background)
        growth *= base.pow_(self.gamma - 1)
        grad = q.sub_(target).mul_(m).add_(growth, alpha=self.gamma)
        return bce.mul_(m), grad


@MODELS.register_module()
class HeatmapFocalLoss(LogitHeatmapLoss):
    """Focal loss with soft labels, see :func:`.functional.heatmap_focal_loss`.

    The focal row of the Anchor Loss paper's table 7. The output is logits, as
    for :class:`AnchorLoss`.

    Args:
        gamma (float): Focusing exponent; the paper's is not published in the
            available text. Defaults to 2.0.
        **kwargs: See :class:`HeatmapLoss`.

    Raises:
        ValueError: If ``gamma`` is negative.
    """

    def __init__(self, gamma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_range(gamma=gamma)
        self.gamma = gamma

    def loss_map(self, output: Tensor, target: Tensor) -> Tensor:
        return F.heatmap_focal_loss(output, target, self.gamma)
