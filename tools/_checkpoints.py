"""What a training that was cut off leaves, and what a finished one gives."""

import os
import re
import shutil
import sys
import zipfile
from copy import copy
from pathlib import Path
from typing import Any, Callable, Optional

from mmengine.model import BaseTTAModel
from mmengine.runner import CheckpointLoader
from torch import nn

import mmpose_lossplus  # noqa: F401  PyTorch 2.6 reads checkpoints with it


class Misfit(ValueError):
    """The weights of a checkpoint are not those of a model."""


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
    # Not a plain dict, which has no versions of modules.
    weights = copy(checkpoint.get('state_dict', checkpoint))
    # Saved from inside of a wrapper.
    for names in (weights, getattr(weights, '_metadata', {})):
        for name in [n for n in names if n.startswith('module.')]:
            names[name[len('module.') :]] = names.pop(name)
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


def load_from_file(model: nn.Module, checkpoint: str, config: str) -> None:
    """Load the weights of a file into a model, or end the script.

    Args:
        model (nn.Module): The model.
        checkpoint (str): Path of the checkpoint.
        config (str): Path of the model's config, for the sentence that tells
            why not.
    """
    try:
        loaded = CheckpointLoader.load_checkpoint(
            checkpoint, map_location='cpu', logger='silent'
        )
        load_weights(model, loaded)
    except Misfit as error:
        sys.exit(
            f'The checkpoint {checkpoint} does not fit {config}: {error}.'
        )
    except Exception as error:  # a checkpoint may hold and raise anything
        sys.exit(
            f'The checkpoint {checkpoint} cannot be read: {summary(error)}.'
        )


def epoch_of(checkpoint: Path) -> int:
    """Epoch in the name of a checkpoint, -1 if there is none."""
    found = re.search(r'epoch_(\d+)\.pth$', checkpoint.name)
    return int(found[1]) if found else -1


def checkpoint_to_resume(folder: Path) -> Optional[Path]:
    """Newest checkpoint from which a training that was cut off can go on.

    MMEngine saves a checkpoint, validates, and saves it once more if it is
    the best. Resuming does not validate again, so it must not begin in
    between: the log has to show an iteration after it. And the file must be
    whole, as it is not if the process was killed while writing.

    Args:
        folder (Path): Work folder of the training.

    Returns:
        Path: The checkpoint, None if there is none.
    """
    epochs = [
        int(found[1])
        for scalars in folder.glob('*/vis_data/scalars.json')
        for line in scalars.read_text().splitlines()
        if '"loss"' in line
        for found in [re.search(r'"epoch": (\d+)', line)]
        if found
    ]
    for path in sorted(folder.glob('epoch_*.pth'), key=epoch_of, reverse=True):
        # The end of a zip file is what makes it one.
        if epoch_of(path) < max(epochs, default=0) and zipfile.is_zipfile(
            path
        ):
            return path
    return None


def rewind(folder: Path, checkpoint: Optional[Path]) -> None:
    """Make a work folder look as it did when a checkpoint was the newest.

    Args:
        folder (Path): Work folder of the training.
        checkpoint (Path, optional): The checkpoint. None for a new start.

    Raises:
        FileNotFoundError: If the best checkpoint of then is lost.
    """
    for path in folder.glob('*.pth'):
        if checkpoint is None or epoch_of(path) > epoch_of(checkpoint):
            path.unlink()
    last = folder / 'last_checkpoint'
    if checkpoint is None:
        # Nor must the log tell of epochs that are to come.
        for path in (last, *folder.glob('*/vis_data/scalars.json')):
            if path.exists():
                path.unlink()
        return
    write_text(last, str(checkpoint))
    best = best_checkpoint(checkpoint)
    if best is not None and not zipfile.is_zipfile(best):
        # It is removed before the next best is written.
        same = folder / f'epoch_{epoch_of(best)}.pth'
        if not same.exists():
            raise FileNotFoundError(
                f'{best}, the best checkpoint so far, was lost when the '
                f'training was cut off, so it has to begin again: remove '
                f'{folder}.'
            )
        replace(best, lambda path: shutil.copyfile(same, path))


def best_checkpoint(checkpoint: Path) -> Optional[Path]:
    """The best checkpoint that a checkpoint of the training knows of.

    Args:
        checkpoint (Path): A checkpoint, not itself the best.

    Returns:
        Path: Path beside it, None if the training keeps none.
    """
    loaded = CheckpointLoader.load_checkpoint(
        str(checkpoint), map_location='cpu', logger='silent'
    )
    info = loaded['message_hub']['runtime_info']
    for key, value in info.items():
        if key.startswith('best_ckpt') and value:
            return checkpoint.parent / Path(value).name
    return None


def checkpoint_to_test(folder: Path) -> Path:
    """The best checkpoint of a training, the last if it keeps no best.

    Args:
        folder (Path): Work folder of the training.

    Returns:
        Path: The checkpoint.

    Raises:
        FileNotFoundError: If it is not there.
    """
    last = folder / 'last_checkpoint'
    if not last.exists():
        raise FileNotFoundError(
            f'{last}, which the training writes, does not exist.'
        )
    last = folder / Path(last.read_text().strip()).name
    checkpoint = last
    if last.exists():
        checkpoint = best_checkpoint(last) or last
    if not checkpoint.exists():
        raise FileNotFoundError(
            f'{checkpoint} does not exist: remove {folder} to train again.'
        )
    return checkpoint


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    partial = path.with_name(f'{path.name}.partial')
    write(partial)
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, in the way of :func:`replace`."""
    replace(path, lambda partial: partial.write_text(text, encoding='utf-8'))


def summary(error: Exception) -> str:
    """The first sentence of an error, with its kind."""
    sentence = re.split(r'\n|\. ', str(error).strip())[0].rstrip('.')
    return f'{type(error).__name__} {sentence}'.strip()
