"""What a training that was cut off leaves, and what a finished one gives."""

from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..host import load_checkpoint
from .files import write_text


def read_checkpoint(path: Path) -> dict:
    """Read what a checkpoint says of itself; its weights stay on the disk."""
    return load_checkpoint(str(path), map_location='cpu', mmap=True)


def checkpoint_to_resume(folder: Path) -> Optional[Path]:
    """Newest checkpoint from which a training that was cut off can go on.

    The checkpoints tell themselves, whatever they are called and wherever the
    training logs to. One that the process was killed in writing is not whole,
    and the best has no state of an optimizer.
    """
    iterations = {}
    for path in folder.glob('*.pth'):
        with suppress(Exception):  # half of one, or of something else
            checkpoint = read_checkpoint(path)
            if 'optimizer' in checkpoint:
                iterations[path] = checkpoint['meta']['iter']
    return max(iterations, key=iterations.__getitem__, default=None)


def rewind(folder: Path, checkpoint: Optional[Path]) -> None:
    """Let ``--resume`` go on from a checkpoint; nothing is removed.

    MMEngine's own note of the last checkpoint may be half-written, and has
    the path that the folder had then.
    """
    if checkpoint is not None:
        write_text(folder / 'last_checkpoint', str(checkpoint))


def checkpoint_to_test(folder: Path) -> Path:
    """The best checkpoint of a training, the last if it keeps no best.

    Raises:
        FileNotFoundError: If it is not there.
    """
    last = folder / 'last_checkpoint'
    if not last.exists():
        raise FileNotFoundError(
            f'{last}, which the training writes, does not exist.'
        )
    # Its folder may have been moved, and be written in another encoding.
    path = last.read_text(encoding='utf-8', errors='replace').strip()
    checkpoint = folder / Path(path).name
    if checkpoint.exists():
        info = read_checkpoint(checkpoint)['message_hub']['runtime_info']
        for key, value in info.items():
            if key.startswith('best_ckpt') and value:
                checkpoint = folder / Path(value).name
                break
    if not checkpoint.exists():
        raise FileNotFoundError(
            f'{checkpoint} does not exist: remove {folder} to train again.'
        )
    return checkpoint
