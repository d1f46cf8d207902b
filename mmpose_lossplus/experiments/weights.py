"""Weights of a checkpoint, loaded into the model that they belong to."""

import re
import sys
from contextlib import contextmanager
from copy import copy
from typing import Iterator

from mmengine.model import BaseTTAModel
from mmengine.runner import CheckpointLoader
from torch import nn


class Misfit(ValueError):
    """The weights of a checkpoint are not those of a model."""


def unwrapped(checkpoint: dict) -> dict:
    """The weights of a checkpoint, also if it was saved inside a wrapper."""
    # Not a plain dict, which has no versions of modules.
    weights = copy(checkpoint.get('state_dict', checkpoint))
    for names in (weights, getattr(weights, '_metadata', {})):
        for name in [n for n in names if n.startswith('module.')]:
            names[name[len('module.') :]] = names.pop(name)
    return weights


def load_weights(model: nn.Module, checkpoint: dict) -> None:
    """Load weights into a model, if they are of this model.

    MMEngine only warns when they are not, and what is missing stays random.
    Parts of which the model has no weights may be there too: the published
    models of MMPose and MMDet have mean and std of a ``data_preprocessor``,
    see https://github.com/open-mmlab/mmpose/issues/2363.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): A loaded checkpoint, or the weights alone.

    Raises:
        Misfit: If weights of a part of the model are missing, are too many
            or have another shape.
    """
    if isinstance(model, BaseTTAModel):
        model = model.module
    weights = unwrapped(checkpoint)
    own = model.state_dict()
    parts = {name.split('.')[0] for name in own}
    try:
        missing, extra = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        _, first, *_ = str(error).splitlines()
        raise Misfit(first.strip().rstrip('.')) from None
    # Models saved before PyTorch 0.4.1 do not have these.
    missing = [n for n in missing if not n.endswith('num_batches_tracked')]
    if missing:
        raise Misfit(
            f'it lacks {len(missing)} of the {len(own)} weights, such as '
            f'{missing[0]}'
        )
    extra = [name for name in extra if name.split('.')[0] in parts]
    if extra:
        raise Misfit(
            f'it has {len(extra)} weights more than the model, such as '
            f'{extra[0]}'
        )


@contextmanager
def exit_on_misfit(checkpoint: str, config: str) -> Iterator[None]:
    """End the script in one sentence if a checkpoint cannot be used."""
    try:
        yield
    except Misfit as error:
        sys.exit(
            f'The checkpoint {checkpoint} does not fit {config}: {error}.'
        )
    except Exception as error:  # a checkpoint may hold and raise anything
        sys.exit(
            f'The checkpoint {checkpoint} cannot be used with {config}: '
            f'{summary(error)}.'
        )


def read_checkpoint(checkpoint: str) -> dict:
    """Read whatever MMEngine loads: a path, a URL, ..."""
    return CheckpointLoader.load_checkpoint(
        checkpoint, map_location='cpu', logger='silent'
    )


def load_from_file(model: nn.Module, checkpoint: str, config: str) -> None:
    """Load a checkpoint into a model, or end the script.

    Args:
        model (nn.Module): The model.
        checkpoint (str): See :func:`read_checkpoint`.
        config (str): Path of its config, for the sentence that says why not.
    """
    with exit_on_misfit(checkpoint, config):
        load_weights(model, read_checkpoint(checkpoint))


def say_what_fits(model: nn.Module, checkpoint: str, config: str) -> str:
    """How many weights a training begins with, or end the script if none.

    That some do not fit may be meant so, such as those of another head.
    """
    with exit_on_misfit(checkpoint, config):
        weights, own = (
            unwrapped(read_checkpoint(checkpoint)),
            model.state_dict(),
        )
        fitting = sum(
            name in weights and weights[name].shape == own[name].shape
            for name in own
        )
        if not fitting:
            raise Misfit(
                f'it has none of the {len(own)} weights, such as '
                f'{next(iter(own))}, but {next(iter(weights), "nothing")}'
            )
    return f'{fitting} of {len(own)} weights are from {checkpoint}'


def summary(error: Exception) -> str:
    """The first sentence of an error, with its kind."""
    sentence = re.split(r'\n|\. ', str(error).strip())[0].rstrip('.')
    return f'{type(error).__name__} {sentence}'.strip()
