"""What a training that was cut off leaves, and what a finished one gives."""

import re
import shutil
import zipfile
from pathlib import Path
from typing import Optional

from mmengine.runner import CheckpointLoader

from .files import replace, write_text


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


def summary(error: Exception) -> str:
    """The first sentence of an error, with its kind."""
    sentence = re.split(r'\n|\. ', str(error).strip())[0].rstrip('.')
    return f'{type(error).__name__} {sentence}'.strip()
