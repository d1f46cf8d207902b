"""Files that are there as a whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    partial = path.with_name(f'{path.name}.partial')
    write(partial)
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, in the way of :func:`replace`."""
    replace(path, lambda partial: partial.write_text(text, encoding='utf-8'))


def write_json(path: Path, content: Dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2))
