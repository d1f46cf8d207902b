"""Losses as the command lines of tools name them."""

import ast
import re
from typing import Dict, List

from mmpose.registry import MODELS

LOSSES = dict(
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


def parse_losses(texts: List[str]) -> Dict[str, dict]:
    """Configs of losses by name.

    Args:
        texts (list[str]): Keys of ``LOSSES``, or ``NAME=dict(...)``.

    Returns:
        dict[str, dict]: The configs.

    Raises:
        ValueError: If one is neither, or cannot be built.
    """
    losses = {}
    for text in texts:
        name, equals, value = text.partition('=')
        if not equals and name in LOSSES:
            losses[name] = LOSSES[name]
            continue
        if not equals or not re.fullmatch(r'\w[\w.-]*', name):
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
