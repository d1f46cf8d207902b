"""Files that are there as a whole or not at all, and locks."""

import json
import os
import platform
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Callable, Iterator

from PIL import Image, UnidentifiedImageError

# Of pictures that OpenCV reads.
PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.tif', '.tiff', '.webp')


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    partial = path.with_name(f'{path.name}.partial')
    write(partial)
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, in the way of :func:`replace`."""
    # Names of files that the locale has no letters for stay what they are.
    content = text.encode('utf-8', errors='surrogateescape')
    replace(path, lambda partial: partial.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, in the way of :func:`replace`."""
    write_text(path, json.dumps(content, indent=2))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding='utf-8'))


def name_in_utf8(name: str) -> str:
    """The name of a file as it is in UTF-8, in any locale."""
    return os.fsencode(name).decode('utf-8', errors='replace')


def is_cut_off(picture: bytes) -> bool:
    """Whether the end of a JPEG file is missing, for which OpenCV makes grey.

    Other kinds it refuses itself.
    """
    try:
        with Image.open(BytesIO(picture), formats=['JPEG']) as image:
            image.draft('L', (1, 1))  # decodes no finer than that
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return False  # another kind, or one too large to tell
    except OSError:
        return True
    return False


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock, or end the script with the name of who holds it.

    It is the system's, which takes it back from a process that was killed.
    """
    # Here, since metrics use this module, and must need no more than MMPose.
    from filelock import FileLock, Timeout

    held = FileLock(path)
    owner = path.with_name(f'{path.name}.owner')
    try:
        held.acquire(timeout=0)
    except NotImplementedError:
        pass  # a file system without locks
    except Timeout:
        # It may not have signed yet.
        who = 'another process'
        if owner.exists():
            who = owner.read_text(encoding='utf-8')
        sys.exit(
            f'{path.parent} is in use by {who}: wait until it ends, or end '
            'it, and start again.'
        )
    try:
        write_text(owner, f'process {os.getpid()} on {platform.node()}')
        yield
    finally:
        held.release()
