import math
from typing import Any, Callable, Dict, Optional, Tuple, Union

from mmpose.registry import MODELS
from torch import Tensor

from . import functional as F
from .base import HeatmapLoss, LogitHeatmapLoss

# The modulator is at most 2^gamma, and its product with the cross entropy must
# be one of float32's numbers.
MAX_GAMMA = 64

Equation = Tuple[Callable[..., Tensor], Dict[str, Any]]


def _check_non_negative(**values: float) -> None:
    for name, value in values.items():
        # Written so that NaN fails too.
        if not 0 <= value < math.inf:
            raise ValueError(
                f'{name} must be non-negative and finite, got {value}.'
            )


@MODELS.register_module()
class AsymmetricMSELoss(HeatmapLoss):
    """Asymmetric MSE loss (AMSE), see :func:`.functional.amse`.

    Args:
        beta (float): Weight of the penalty; the paper recommends 0.01 to 0.1.
            Defaults to 0.01.
        form (str): One of five readings of the paper's equation:
            'quadratic', 'difference_of_squares', 'linear',
            'prediction_weighted', 'error_weighted'. Defaults to 'quadratic'.
        reference (float | Callable, optional): W, a number or a function of
            output and target that returns a tensor. ``None`` takes the
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
            Union[float, Callable[[Tensor, Tensor], Tensor]]
        ] = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        _check_non_negative(beta=beta)
        if form not in F.AMSE_FORMS:
            raise ValueError(
                f'form must be one of {F.AMSE_FORMS}, got {form!r}.'
            )
        if not (
            reference is None
            or callable(reference)
            or isinstance(reference, (int, float))
        ):
            raise ValueError(
                'reference must be None, a number or a function of output '
                f'and target, got {reference!r}.'
            )
        self.beta = beta
        self.form = form
        self.reference = reference

    def equation(self) -> Equation:
        return F.amse, dict(
            beta=self.beta, reference=self.reference, form=self.form
        )


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

    def __init__(self, beta: float = 0.01, **kwargs) -> None:
        super().__init__(**kwargs)
        _check_non_negative(beta=beta)
        self.beta = beta

    def equation(self) -> Equation:
        return F.rmse, dict(beta=self.beta)


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
        ValueError: If ``gamma`` or ``delta`` is negative.
    """

    def __init__(
        self, gamma: float = 1.0, delta: float = 1e-3, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        _check_non_negative(gamma=gamma, delta=delta)
        self.gamma = gamma
        self.delta = delta

    def equation(self) -> Equation:
        return F.fmse, dict(gamma=self.gamma, delta=self.delta)


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
        ValueError: If ``weight_fn`` is an unknown name.
    """

    def __init__(
        self,
        weight_fn: Optional[Union[str, Callable[[Tensor], Tensor]]] = 'linear',
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        F.get_weight_fn(weight_fn)
        self.weight_fn = weight_fn

    def equation(self) -> Equation:
        return F.heatmap_weighting_mse, dict(weight_fn=self.weight_fn)


@MODELS.register_module()
class AnchorLoss(LogitHeatmapLoss):
    """Anchor Loss for heatmaps, see :func:`.functional.anchor_loss`.

    The output is logits: use it with ``final_layer=dict(
    type='SigmoidConv2d')``, which also makes MMPose see probabilities at test
    time. ``gamma=0`` is the BCE row of the paper's table 7.

    Args:
        gamma (float): Exponent of the modulator; 2 is best in table 7, the
            gamma of tables 4 to 6 is not stated. Defaults to 2.0.
        slack (float): Margin taken from the anchor. Defaults to 0.05.
        anchor_threshold (float): Where the target exceeds it, the output may
            be the anchor. Defaults to 0.5.
        background_threshold (float): Where the target does not exceed it, the
            pixel is background. Raise it for targets that are nowhere zero,
            ``MSRAHeatmap(unbiased=True)``. Defaults to 0.0.
        **kwargs: See :class:`LogitHeatmapLoss`.

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
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        _check_non_negative(
            gamma=gamma,
            slack=slack,
            anchor_threshold=anchor_threshold,
            background_threshold=background_threshold,
        )
        if gamma > MAX_GAMMA:
            raise ValueError(
                f'gamma must be at most {MAX_GAMMA}, got {gamma}.'
            )
        if background_threshold > anchor_threshold:
            raise ValueError(
                'background_threshold must not exceed anchor_threshold '
                f'{anchor_threshold}, got {background_threshold}.'
            )
        self.gamma = gamma
        self.slack = slack
        self.anchor_threshold = anchor_threshold
        self.background_threshold = background_threshold

    def equation(self) -> Equation:
        return F.anchor_loss, dict(
            gamma=self.gamma,
            slack=self.slack,
            anchor_threshold=self.anchor_threshold,
            background_threshold=self.background_threshold,
        )


@MODELS.register_module()
class HeatmapFocalLoss(LogitHeatmapLoss):
    """Focal loss with soft labels, see :func:`.functional.heatmap_focal_loss`.

    The focal row of the Anchor Loss paper's table 7. The output is logits, as
    for :class:`AnchorLoss`.

    Args:
        gamma (float): Focusing exponent; the paper's is not published in the
            available text. Defaults to 2.0.
        **kwargs: See :class:`LogitHeatmapLoss`.

    Raises:
        ValueError: If ``gamma`` is negative.
    """

    def __init__(self, gamma: float = 2.0, **kwargs) -> None:
        super().__init__(**kwargs)
        _check_non_negative(gamma=gamma)
        self.gamma = gamma

    def equation(self) -> Equation:
        return F.heatmap_focal_loss, dict(gamma=self.gamma)
