"""Losses as the command lines of tools name them, and in a config."""

import ast
import inspect
import math
import re
from typing import Any, Dict, List, Optional

from mmengine.config import Config
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, UDPHeatmap
from mmpose.models.losses import KeypointOHKMMSELoss
from mmpose.registry import HOOKS, KEYPOINT_CODECS, MODELS

from ..hooks import LossScheduleHook
from ..layers import SigmoidConv2d
from .configs import component_class

LOSSES: Dict[str, dict] = dict(
    mse=dict(type='KeypointMSELoss', use_target_weight=True),
    amse=dict(type='AsymmetricMSELoss'),
    rmse=dict(type='RegularizedMSELoss'),
    fmse=dict(type='FocusedMSELoss'),
    hmw=dict(type='HeatmapWeightingMSELoss'),
    anchor=dict(type='AnchorLoss'),
    bce=dict(type='AnchorLoss', gamma=0.0),
    focal=dict(type='HeatmapFocalLoss'),
    ohkm=dict(type='KeypointOHKMMSELoss', use_target_weight=True),
)
# The codecs with a heatmap, and nothing else, for each keypoint.
CODECS = (MSRAHeatmap, UDPHeatmap, MegviiHeatmap)
# That of the demo's config of Anchor Loss.
PRIOR = 0.01


def parse_losses(texts: List[str]) -> Dict[str, dict]:
    """Configs by name, of keys of ``LOSSES`` and ``NAME=dict(...)``.

    A name may end in @RATE (see :func:`learning_rate`).

    Raises:
        ValueError: If one is neither, or cannot be built.
    """
    losses: Dict[str, dict] = {}
    for text in texts:
        name, equals, value = text.partition('=')
        plain = name.partition('@')[0]
        learning_rate(name)
        if not equals and plain in LOSSES:
            losses[name] = LOSSES[plain]
            continue
        if not equals or not re.fullmatch(r'\w[\w.-]*', plain):
            raise ValueError(
                f'--losses takes {", ".join(LOSSES)} and NAME=dict(...), got '
                f'{text}.'
            )
        if name in (*losses, *LOSSES):
            raise ValueError(
                f'--losses needs another name for {text}: {name} is taken.'
            )
        try:
            loss = _literal_dict(value)
            built = MODELS.build(dict(loss))
            if not hasattr(built, 'loss_weight'):
                raise ValueError(f'{loss["type"]} has no loss_weight')
        # A class may raise anything.
        except Exception as error:
            raise ValueError(
                f'--losses {text} is no config of a loss: '
                f'{str(error).splitlines()[0].rstrip(".")}.'
            ) from None
        losses[name] = loss
    return losses


def learning_rate(name: str) -> Optional[float]:
    """What comes after the @ in the name of a loss, such as mse@3e-4.

    Raises:
        ValueError: If that is no positive number.
    """
    _, given, text = name.partition('@')
    if not given:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(
            f'--losses takes a positive learning rate after the @, got {name}.'
        )
    return rate


def _literal_dict(text: str) -> dict:
    """What ``dict(key=value, ...)`` says, without running it."""
    node = ast.parse(text, mode='eval').body
    if (
        not isinstance(node, ast.Call)
        or getattr(node.func, 'id', None) != 'dict'
        or node.args
    ):
        raise ValueError('it is not of the form dict(type=...)')
    return {k.arg: ast.literal_eval(k.value) for k in node.keywords}


def set_loss(cfg: Config, loss: dict) -> None:
    """Give the head of a config a loss, and its model the final layer for it.

    Of several losses, one for each stage, all are replaced. The factors that
    the config sets (``loss_weight``) stay unless the new loss has one. A loss
    that takes logits gets a ``SigmoidConv2d`` with a prior, another one loses
    it; that of ``StackedHourglass``, which predicts within, too.

    Args:
        cfg (Config): Config of a top-down heatmap model, changed in place.
        loss (dict): Config of the loss.

    Raises:
        ValueError: If the model or its codec has no use for such a loss.
    """
    head = cfg.model.head
    codec = head.get('decoder') or {}
    codec_class = component_class(codec, KEYPOINT_CODECS)
    if (
        not (codec_class and issubclass(codec_class, CODECS))
        or codec.get('heatmap_type', 'gaussian') != 'gaussian'
    ):
        raise ValueError(
            'Heatmap losses need a codec with one heatmap for each keypoint, '
            f'{", ".join(c.__name__ for c in CODECS)}, got {dict(codec)}.'
        )
    loss = dict(loss)
    loss_class: Any = component_class(loss, MODELS)
    if loss_class is KeypointOHKMMSELoss:
        # 8 of 17, as in the paper of the cascaded pyramid network.
        loss.setdefault('topk', max(1, head.out_channels // 2))

    old = head.get('loss')
    stages = old if isinstance(old, (list, tuple)) else [old]
    weights = [(x or {}).get('loss_weight') for x in stages]
    new = [
        loss if weight is None else {'loss_weight': weight, **loss}
        for weight in weights
    ]
    head.loss = new if stages is old else new[0]
    takes_logits = getattr(loss_class, 'takes_logits', False)
    part = final_layer_part(cfg)
    final_layer = part.get('final_layer', dict(kernel_size=1))
    sigmoid = component_class(final_layer or {}, MODELS) is SigmoidConv2d
    if takes_logits and not sigmoid:
        if final_layer is None or not _takes_final_layer(part):
            head_class: Any = component_class(head, MODELS)
            raise ValueError(
                f'{loss_class.__name__} takes logits, for which this '
                f'{head_class.__name__} has no final layer '
                'to replace.'
            )
        layer = dict(final_layer, type='SigmoidConv2d', prior_prob=PRIOR)
        part['final_layer'] = layer
    elif sigmoid and not takes_logits:
        layer = dict(final_layer)
        for key in ('type', 'prior_prob'):
            layer.pop(key, None)
        part['final_layer'] = layer


def final_layer_part(cfg: Config) -> dict:
    """The part of a model whose ``final_layer`` predicts the heatmaps.

    It is the head, unless that adds nothing to a backbone that has one.
    """
    backbone, head = cfg.model.backbone, cfg.model.head
    within = head.get('final_layer', {}) is None
    return backbone if within and _takes_final_layer(backbone) else head


def _takes_final_layer(part: dict) -> bool:
    kind = component_class(part, MODELS)
    return kind is not None and any(
        'final_layer' in inspect.signature(init).parameters
        for init in (vars(base).get('__init__') for base in kind.__mro__)
        if init
    )


def drop_schedules(cfg: Config, loss: dict) -> List[str]:
    """Take from ``LossScheduleHook`` what is not meant for another loss.

    A schedule is for the loss that the config trains with: another loss may
    lack the parameter, or have another one of that name. It stays for losses
    of the same class that do not set the parameter themselves, and that of
    ``loss_weight``, which all have, for any.

    Args:
        cfg (Config): The config, still with its own loss; changed in place.
        loss (dict): Config of the loss that it is to get.

    Returns:
        list[str]: The parameters that are not scheduled any more.
    """
    own = cfg.model.head.get('loss') or {}
    own = own[-1] if isinstance(own, (list, tuple)) else own
    same = component_class(own, MODELS) is component_class(loss, MODELS)
    hooks, dropped = [], []
    for hook in cfg.get('custom_hooks') or ():
        if component_class(hook, HOOKS) is LossScheduleHook:
            kept = {
                name: pairs
                for name, pairs in hook['schedule'].items()
                if name not in loss and (same or name == 'loss_weight')
            }
            dropped += [name for name in hook['schedule'] if name not in kept]
            if not kept:
                continue
            hook = dict(hook, schedule=kept)
        hooks.append(hook)
    if dropped:
        cfg.custom_hooks = hooks
    return dropped
