"""The papers' equations.

Every function takes the predicted heatmaps S and the target heatmaps G, both
of shape (B, K, H, W), and returns the loss of each pixel in that shape: no
weights, no reduction, no state. The one for classification takes scores and
labels of shape (N, C) instead.
"""

from typing import Any, Callable, Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

# Penalty of each form of AMSE, of S, G and W.
AMSE_FORMS = {
    'quadratic': lambda s, g, w: F.relu(s - w) ** 2,
    'difference_of_squares': lambda s, g, w: F.relu(F.relu(s) ** 2 - w**2),
    'linear': lambda s, g, w: F.relu(s - w),
    'prediction_weighted': lambda s, g, w: w * (s - g) ** 2,
    'error_weighted': lambda s, g, w: w * s**2,
}
# Their W, where it is not G.
AMSE_REFERENCES = {
    'prediction_weighted': lambda s, g: s,
    'error_weighted': lambda s, g: (s - g).abs(),
}

# F of the heatmap-weighting paper's table 4.
WEIGHT_FNS = {
    'linear': lambda x: x,
    'double': lambda x: 2 * x,
    'square': lambda x: x**2,
    'exp': torch.exp,
}

# Designs of Anchor Loss for classification (the appendix's cases i to iii):
# whether the target and the background are modulated.
ANCHOR_DESIGNS = {
    'target': (True, False),
    'background': (False, True),
    'both': (True, True),
}


def choose(argument: str, name: str, options: Dict[str, Any]) -> Any:
    """Look a function, or what else a name stands for, up.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in options:
        raise ValueError(
            f'{argument} must be one of {tuple(options)}, got {name!r}.'
        )
    return options[name]


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
        form (str): A key of :data:`AMSE_FORMS`. Defaults to 'quadratic'.

    Returns:
        Tensor: Loss of each pixel, shape (B, K, H, W).

    Raises:
        ValueError: If ``form`` is unknown.
    """
    penalty = choose('form', form, AMSE_FORMS)
    if reference is None:
        reference = AMSE_REFERENCES.get(form, lambda s, g: g)
    if callable(reference):
        reference = reference(output, target)
    if isinstance(reference, Tensor):
        reference = reference.detach()
    squared_error = (output - target) ** 2
    return squared_error + beta * penalty(output, target, reference)


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
    return (output - target) ** 2 + beta * output**2


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
    return (target + delta) ** gamma * (output - target) ** 2


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
    if isinstance(weight_fn, str):
        weight_fn = choose('weight_fn', weight_fn, WEIGHT_FNS)
    weight = 1 if weight_fn is None else weight_fn(target) + 1
    return weight * (output - target) ** 2


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
    _, base, _ = anchor_modulator(
        output, target, slack, anchor_threshold, background_threshold
    )
    bce = F.binary_cross_entropy_with_logits(output, target, reduction='none')
    return base**gamma * bce


def anchor_modulator(
    output: Tensor,
    target: Tensor,
    slack: float,
    anchor_threshold: float,
    background_threshold: float,
) -> Tuple[Tensor, Tensor, Tensor]:
    r"""The base of Anchor Loss's modulator, see :func:`anchor_loss`.

    Returns:
        tuple[Tensor, Tensor, Tensor]: q; 1 + q - q* on the background of maps
        that have an anchor, else 1; 1 where that is, else 0. Each
        (B, K, H, W).
    """
    q = output.sigmoid()
    # Numbers 0 and 1: truth values take several times as long on a CPU.
    other = target.clone().le_(anchor_threshold)
    lowest = torch.finfo(output.dtype).min
    peak = torch.add(output.detach(), other, alpha=lowest).amax((-2, -1), True)
    anchor = (peak.sigmoid() - slack).clamp(min=0)
    has_anchor = 1 - other.amin(dim=(-2, -1), keepdim=True)
    background = target.clone().le_(background_threshold).mul_(has_anchor)
    base = modulator_base(q - anchor, background, slack)
    return q, base, background


def modulator_base(excess: Tensor, where: Tensor, slack: float) -> Tensor:
    """1 and what a score exceeds its anchor by, else 1: to the power gamma.

    Args:
        excess (Tensor): q - q* of background, q* - q of the target; changed.
        where (Tensor): 1 where it counts, else 0.
        slack (float): What it is at least above -1.

    Returns:
        Tensor: The base, positive, of the shape of ``excess``.
    """
    base = excess.mul_(where).add_(1)
    if slack < 1e-6:  # it can be 0, where powers below 1 have infinite slopes
        base = base.clamp(min=torch.finfo(base.dtype).tiny)
    return base


def classification_anchor_loss(
    output: Tensor,
    target: Tensor,
    gamma: float = 0.5,
    slack: float = 0.05,
    design: str = 'background',
    static_anchor: Optional[Union[float, Tensor]] = None,
) -> Tensor:
    r"""Anchor Loss for classification, rivals boosted beyond the true class.

    With q = sigmoid(S) and the label p::

        -p (1 - q + q_pos)^gamma_t log q - (1 - p) (1 + q - q_neg)^gamma_b log(1 - q)

    ============== ================= =========================================
    ``design``     gamma_t, gamma_b  anchor probability
    ============== ================= =========================================
    ``target``     gamma, 0          q_pos: highest q where p = 0, plus slack
    ``background`` 0, gamma          q_neg: q of the true class, minus slack
    ``both``       gamma, gamma      both
    ============== ================= =========================================

    Anchors are kept in [0, 1] and constant in back-propagation, q in the
    modulator is not. With gamma = 0 it is binary cross entropy. With
    ``design='both'`` and the static anchor q* = 1 - p, a tensor, it is the
    focal loss of hard labels (eqs. 14 to 18).

    Of soft labels the paper does not speak. Here the q of the true class is
    then the mean of q by the label, as of a class drawn from it, and without
    a class that has p = 0 there is no rival and the target is not modulated.

    Source: Anchor Loss: Modulating Loss Scale based on Prediction Difficulty,
    eqs. (2) to (4) and (A-1) to (A-4), gamma and slack from its code,
    https://github.com/slryou41/AnchorLoss.

    Args:
        output (Tensor): S, logits of shape (N, C).
        target (Tensor): p in [0, 1], shape (N, C), one-hot or soft.
        gamma (float): Exponent of the modulator. Defaults to 0.5.
        slack (float): Margin of the anchors. Defaults to 0.05.
        design (str): A key of :data:`ANCHOR_DESIGNS`. Defaults to
            'background', the paper's choice.
        static_anchor (float | Tensor, optional): q* in [0, 1] for both
            anchors, without the slack, a number or (N, C). ``None`` takes the
            scores of ``output``. Defaults to ``None``.

    Returns:
        Tensor: Loss of each class, shape (N, C).

    Raises:
        ValueError: If ``design`` is unknown.
    """  # noqa: E501
    on_target, on_background = choose('design', design, ANCHOR_DESIGNS)
    q = output.sigmoid()
    every = torch.ones_like(q)
    rivals, q_pos, q_neg = every, static_anchor, static_anchor
    if static_anchor is None:
        others = target == 0
        rivals = others.any(-1, True).to(q.dtype)
        scores = q.detach()
        q_pos = (scores * others).amax(-1, True).add(slack).clamp(max=1)
        q_neg = (scores * target).sum(-1, True).sub(slack).clamp(min=0)
    else:
        slack = 0
    loss_of_target = -F.logsigmoid(output)
    loss_of_background = -F.logsigmoid(-output)
    if on_target:
        base = modulator_base(q_pos - q, rivals, slack)
        loss_of_target = base**gamma * loss_of_target
    if on_background:
        base = modulator_base(q - q_neg, every, slack)
        loss_of_background = base**gamma * loss_of_background
    return target * loss_of_target + (1 - target) * loss_of_background


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
