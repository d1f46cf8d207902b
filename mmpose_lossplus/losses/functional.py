"""The papers' equations.

Every function takes the predicted and the target heatmaps, both of shape
(B, K, H, W), and returns the loss of each pixel in that shape: no weights, no
reduction, no state. S is the output, G the target.

An attribute ``loss_and_grad`` is a function of the same arguments that returns
the loss and its derivative by S together, which have intermediate results in
common. It takes maps (N, 1, H * W) of N keypoints.
"""

from functools import wraps
from typing import Any, Callable, NamedTuple, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

try:
    from torch.compiler import is_compiling  # torch >= 2.3
except ImportError:
    try:
        from torch._utils import is_compiling
    except ImportError:  # torch < 2.0

        def is_compiling() -> bool:
            return False


AMSE_FORMS = (
    'quadratic',
    'difference_of_squares',
    'linear',
    'prediction_weighted',
    'error_weighted',
)

WEIGHT_FNS = {
    'linear': lambda x: x,
    'double': lambda x: 2 * x,
    'square': lambda x: x**2,
    'exp': torch.exp,
}


class Square(NamedTuple):
    """A summand w r^2 of a loss.

    The weight is constant in back-propagation, the residual grows with S at
    slope 1 wherever it is not 0.
    """

    weight: Union[float, Tensor]
    residual: Tensor


class Penalty(NamedTuple):
    """A summand of any other kind, and its derivative by S."""

    loss: Tensor
    grad: Tensor


def sum_of_squares(
    terms: Callable[..., Sequence[Union[Square, Penalty]]],
) -> Callable[..., Tensor]:
    """Make an equation of its terms: the loss is their sum.

    Args:
        terms (Callable): Takes maps and hyper-parameters, and returns the
            terms of each pixel, a :class:`Square` first, whose residual is
            nobody else's.

    Returns:
        Callable: Takes the same and returns the loss of each pixel; see the
        top of this file for its attribute ``loss_and_grad``.
    """

    @wraps(terms)
    def equation(*args: Any, **kwargs: Any) -> Tensor:
        return sum(
            term.weight * term.residual**2
            if isinstance(term, Square)
            else term.loss
            for term in terms(*args, **kwargs)
        )

    def loss_and_grad(*args: Any, **kwargs: Any) -> Tuple[Tensor, Tensor]:
        (weight, residual), *others = terms(*args, **kwargs)
        half_grad = residual
        if isinstance(weight, Tensor) or weight != 1:
            half_grad = weight * residual
        loss = half_grad * residual
        for term in others:
            if isinstance(term, Penalty):
                loss += term.loss
                half_grad += term.grad / 2
            else:
                weighted = term.weight * term.residual
                loss.addcmul_(weighted, term.residual)
                half_grad += weighted
        return loss, half_grad.mul_(2)

    equation.loss_and_grad = loss_and_grad
    return equation


def by_autograd(
    equation: Callable[..., Tensor], output: Tensor, *args: Any, **kwargs: Any
) -> Tuple[Tensor, Tensor]:
    """Loss of each pixel and its derivative, of any equation."""
    with torch.enable_grad():
        output = output.detach().requires_grad_()
        loss = equation(output, *args, **kwargs)
    (grad,) = torch.autograd.grad(loss, output, torch.ones_like(loss))
    return loss.detach(), grad


def get_weight_fn(
    weight_fn: Optional[Union[str, Callable[[Tensor], Tensor]]],
) -> Optional[Callable[[Tensor], Tensor]]:
    """Look a name of :data:`WEIGHT_FNS` up; pass ``None`` and functions on.

    Raises:
        ValueError: If ``weight_fn`` is an unknown name.
    """
    if weight_fn is None or callable(weight_fn):
        return weight_fn
    if weight_fn not in WEIGHT_FNS:
        raise ValueError(
            f'weight_fn must be None, a function or one of '
            f'{tuple(WEIGHT_FNS)}, got {weight_fn!r}.'
        )
    return WEIGHT_FNS[weight_fn]


@sum_of_squares
def amse(
    output: Tensor,
    target: Tensor,
    beta: float = 0.01,
    reference: Optional[
        Union[Tensor, float, Callable[[Tensor, Tensor], Tensor]]
    ] = None,
    form: str = 'quadratic',
) -> Tensor:
    r"""Asymmetric MSE: over-prediction costs more than under-prediction.

    The paper's equations (6) and (7) did not survive in any available text.
    Known is that they add to the squared error a penalty with weight
    ``beta`` and a matrix W, constant in back-propagation, so that the minimum
    lies at the target. The five forms are our readings of that, not the
    paper's equation:

    ========================= ======================================== =======
    form                      loss of a pixel                          W
    ========================= ======================================== =======
    ``quadratic``             (S - G)^2 + beta relu(S - W)^2           G
    ``difference_of_squares`` (S - G)^2 + beta relu(relu(S)^2 - W^2)   G
    ``linear``                (S - G)^2 + beta relu(S - W)             G
    ``prediction_weighted``   (1 + beta W) (S - G)^2                   S
    ``error_weighted``        (S - G)^2 + beta W S^2                   abs(S-G)
    ========================= ======================================== =======

    With beta = 0 each is the squared error. With the default W (last column,
    detached) the minimum of each is at S = G. ``quadratic`` and
    ``difference_of_squares`` with W = 0 equal :func:`rmse` for S >= 0, and so
    does ``error_weighted`` with W = 1 for every S. At G = 0
    ``error_weighted`` is symmetric in value, and so is
    ``prediction_weighted`` with W = G at every G.

    Source: Asymmetric mean squared error for human pose estimation, eqs. (6)
    and (7), beta from its table 1.

    Args:
        output (Tensor): S, shape (B, K, H, W).
        target (Tensor): G, shape (B, K, H, W).
        beta (float): Weight of the penalty. Defaults to 0.01.
        reference (Tensor | float | Callable, optional): W, a number, a tensor
            that broadcasts to (B, K, H, W), or a function of output and
            target that returns one; it is detached. ``None`` takes the form's
            own. Defaults to ``None``.
        form (str): One of :data:`AMSE_FORMS`. Defaults to 'quadratic'.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).

    Raises:
        ValueError: If ``form`` is unknown.
    """
    if reference is None:
        if form == 'prediction_weighted':
            reference = output
        elif form == 'error_weighted':
            reference = (output - target).abs()
        else:
            reference = target
    elif callable(reference):
        reference = reference(output, target)
    if isinstance(reference, Tensor):
        reference = reference.detach()

    error = Square(1, output - target)
    if form == 'quadratic':
        return error, Square(beta, (output - reference).relu_())
    if form == 'difference_of_squares':
        positive = F.relu(output)
        excess = F.relu(positive**2 - reference**2)
        slope = 2 * positive * (excess > 0)
        return error, Penalty(beta * excess, beta * slope)
    if form == 'linear':
        excess = F.relu(output - reference)
        return error, Penalty(beta * excess, beta * (excess > 0))
    if form == 'prediction_weighted':
        return (Square(1 + beta * reference, output - target),)
    if form == 'error_weighted':
        return error, Square(beta * reference, output)
    raise ValueError(f'form must be one of {AMSE_FORMS}, got {form!r}.')


@sum_of_squares
def rmse(output: Tensor, target: Tensor, beta: float = 0.01) -> Tensor:
    r"""Regularized MSE (*not* root mean square): (S - G)^2 + beta S^2.

    With beta = 0 it is the squared error. The minimum is not at the target
    but at S = G / (1 + beta), which is the defect that :func:`amse` mends.

    Source: Asymmetric mean squared error for human pose estimation, eq. (5).

    Args:
        output (Tensor): S, shape (B, K, H, W).
        target (Tensor): G, shape (B, K, H, W).
        beta (float): Weight of the L2 penalty. Defaults to 0.01.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).
    """
    return Square(1, output - target), Square(beta, output)


@sum_of_squares
def fmse(
    output: Tensor,
    target: Tensor,
    gamma: float = 1.0,
    delta: float = 1e-3,
) -> Tensor:
    r"""Focused MSE: (G + delta)^gamma (S - G)^2.

    The weight depends on the target alone, 1.001 at a peak and 0.001 on the
    background at the defaults, so foreground errors dominate. With gamma = 0
    it is the squared error. The print lacks the square, without which the
    loss has no minimum, and halves the sum, a constant that is left out here
    as MMPose leaves it out of its MSE.

    Source: Design of focused mean square loss function in convolutional
    neural networks, eq. (5).

    Args:
        output (Tensor): S, shape (B, K, H, W).
        target (Tensor): G in [0, 1], shape (B, K, H, W).
        gamma (float): Focusing exponent. Defaults to 1.0.
        delta (float): Keeps the weight of the background above zero.
            Defaults to 1e-3.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).
    """
    return (Square((target + delta) ** gamma, output - target),)


@sum_of_squares
def heatmap_weighting_mse(
    output: Tensor,
    target: Tensor,
    weight_fn: Optional[Union[str, Callable[[Tensor], Tensor]]] = 'linear',
) -> Tensor:
    r"""Heatmap-weighting MSE: (F(G) + 1) (S - G)^2.

    The weight functions of the paper's table 4 are 'linear' (x), 'double'
    (2x), 'square' (x^2) and 'exp' (e^x, which doubles the background's weight
    too); ``None`` is its row without weighting, the squared error. The print
    has a norm without the square; the official code, followed here, squares.

    Source: Lightweight Human Pose Estimation Using Heatmap-Weighting Loss,
    eq. (8).

    Args:
        output (Tensor): S, shape (B, K, H, W).
        target (Tensor): G, shape (B, K, H, W).
        weight_fn (str | Callable, optional): F, a key of :data:`WEIGHT_FNS`
            or a function of the target. Defaults to 'linear'.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).

    Raises:
        ValueError: If ``weight_fn`` is an unknown name.
    """
    weight_fn = get_weight_fn(weight_fn)
    weight = 1 if weight_fn is None else weight_fn(target) + 1
    return (Square(weight, output - target),)


def anchor_loss(
    output: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    slack: float = 0.05,
    anchor_threshold: float = 0.5,
    background_threshold: float = 0.0,
) -> Tensor:
    r"""Anchor Loss: m BCE(q, G), background boosted where it beats the peak.

    With q = sigmoid(S) and the anchor probability q* = max of q where
    G > ``anchor_threshold``, less ``slack``, at least 0, of each keypoint's
    map::

        m = (1 + q - q*)^gamma   where G <= background_threshold
        m = 1                    elsewhere

    q* is constant in back-propagation, q in the modulator m is not. With
    gamma = 0, and for a map with no pixel above ``anchor_threshold``, the loss
    is plain binary cross entropy. Where 0 < G < 1 its minimum is at q = G but
    not zero there: it is the entropy of the soft label.

    Source: Anchor Loss: Modulating Loss Scale based on Prediction Difficulty,
    eqs. (5) to (8); ``slack`` for poses is the author's answer in
    slryou41/AnchorLoss#4. ``background_threshold`` is ours: above zero it
    suits targets whose Gaussian fills the whole map (DARK).

    Args:
        output (Tensor): S, logits of shape (B, K, H, W).
        target (Tensor): G in [0, 1], shape (B, K, H, W).
        gamma (float): Exponent of the modulator. Defaults to 2.0.
        slack (float): Margin taken from the anchor. Defaults to 0.05.
        anchor_threshold (float): Where G exceeds it, q may be the anchor.
            Defaults to 0.5.
        background_threshold (float): Where G does not exceed it, the pixel
            is background. Defaults to 0.0.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).
    """
    _, base, _ = _anchor_factors(
        output, target, slack, anchor_threshold, background_threshold
    )
    bce = F.binary_cross_entropy_with_logits(output, target, reduction='none')
    return base**gamma * bce


def _anchor_factors(
    output: Tensor,
    target: Tensor,
    slack: float,
    anchor_threshold: float,
    background_threshold: float,
) -> Tuple[Tensor, Tensor, Tensor]:
    """q, 1 + q - q* where it counts, else 1, and 1 there, else 0."""
    q = output.sigmoid()
    # Numbers, not truth values: these are slow, also in a compiler. And the
    # highest logit, not the highest q, which a compiler would keep as a map.
    unlabelled = _compare(torch.le, target, anchor_threshold)
    lowest = -torch.finfo(output.dtype).max
    peak = torch.add(output.detach(), unlabelled, alpha=lowest)
    peak = peak.amax(dim=(-2, -1), keepdim=True)
    anchor = (peak.sigmoid() - slack).clamp(min=0)
    # No background without foreground: log(0) is below every target.
    foreground = _compare(torch.gt, peak, lowest / 2)
    modulated = _compare(
        torch.le, target, background_threshold + foreground.log()
    )
    base = torch.addcmul(torch.ones_like(anchor), q - anchor, modulated)
    if slack == 0:
        # It can be 0, where a power below 1 has an infinite gradient.
        base = base.clamp(min=torch.finfo(q.dtype).tiny)
    return q, base, modulated


def _compare(
    comparison: Callable[..., Tensor],
    maps: Tensor,
    threshold: Union[float, Tensor],
) -> Tensor:
    """1 where a comparison holds, else 0."""
    if is_compiling():
        return comparison(maps, threshold).to(maps.dtype)
    return comparison(maps, threshold, out=torch.empty_like(maps))


def _anchor_loss_and_grad(
    output: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    slack: float = 0.05,
    anchor_threshold: float = 0.5,
    background_threshold: float = 0.0,
) -> Tuple[Tensor, Tensor]:
    """:func:`anchor_loss` and its derivative.

    It is m (q - G), and where the modulator m counts besides
    gamma (1 + q - q*)^(gamma - 1) q (1 - q) BCE.
    """
    q, base, modulated = _anchor_factors(
        output, target, slack, anchor_threshold, background_threshold
    )
    # PyTorch's own takes longer.
    bce = torch.addcmul(F.relu(output), output, target, value=-1)
    bce += torch.log1p(torch.exp(-output.abs()))
    m = base**gamma
    # The power last: it may overflow where q (1 - q) is 0.
    growth = torch.addcmul(q, q, q, value=-1).mul_(bce).mul_(modulated)
    growth.mul_(base.pow_(gamma - 1))
    return bce.mul_(m), q.sub_(target).mul_(m).add_(growth, alpha=gamma)


anchor_loss.loss_and_grad = _anchor_loss_and_grad


def heatmap_focal_loss(
    output: Tensor, target: Tensor, gamma: float = 2.0
) -> Tensor:
    r"""Focal loss with soft labels, easy pixels weighted down.

    With q = sigmoid(S)::

        -[ G (1 - q)^gamma log q + (1 - G) q^gamma log(1 - q) ]

    With gamma = 0 it is binary cross entropy.

    Source: Anchor Loss: Modulating Loss Scale based on Prediction Difficulty,
    eq. (9). The gamma of its table 7 is not published in the available text.

    Args:
        output (Tensor): S, logits of shape (B, K, H, W).
        target (Tensor): G in [0, 1], shape (B, K, H, W).
        gamma (float): Focusing exponent. Defaults to 2.0.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).
    """
    log_q, log_not_q = F.logsigmoid(output), F.logsigmoid(-output)
    # exp(gamma log q) is q^gamma with a finite gradient at q = 0.
    foreground = target * (gamma * log_not_q).exp() * log_q
    background = (1 - target) * (gamma * log_q).exp() * log_not_q
    return -(foreground + background)
