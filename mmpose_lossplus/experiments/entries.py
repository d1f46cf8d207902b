"""Lists in JSON files of others: a wrong field of an entry is named."""

from typing import Any, Callable, Dict, List, Tuple

import numpy as np
from mmengine.fileio import load


def read_json(file: str) -> Any:
    """Read a JSON file from any file backend, as UTF-8 in any locale.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return load(file, file_format='json')
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f'{file} cannot be read: {reason}.') from None
    except ValueError as error:  # of the encoding, too
        raise ValueError(f'{file} is not JSON: {error}.') from None


def check_entries(
    entries: Any,
    name: str,
    fields: Dict[str, Tuple[Callable[[Any], bool], str]],
) -> List[dict]:
    """Check all entries of a list.

    Args:
        entries (Any): Should be a list of dicts.
        name (str): What to call the list.
        fields (dict): For each field that an entry must have, whether a value
            is right, and what is, in words.

    Returns:
        list[dict]: The entries.

    Raises:
        ValueError: If it is no list or empty, or of the first wrong field.
    """
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f'{name} must be a list of entries with {", ".join(fields)}, got '
            f'{str(entries)[:60]}.'
        )
    for i, entry in enumerate(entries):
        for field, (is_right, expected) in fields.items():
            value = entry.get(field) if isinstance(entry, dict) else None
            if not is_right(value):
                raise ValueError(
                    f'{field} of entry {i} of {name} is {value!r:.60}, '
                    f'expected {expected}.'
                )
    return entries


def is_integer(value: Any) -> bool:
    return type(value) is int  # True is an int, too


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def are_numbers(value: Any, *shape: int) -> bool:
    """Whether a value is a finite number, or lists of some in a shape."""
    try:
        array = np.array(value)
    except ValueError:  # of several lengths
        return False
    real = array.shape == shape and array.dtype.kind in 'iuf'
    return real and bool(np.isfinite(array).all())


IMAGE = dict(id=(is_integer, 'an integer'), file_name=(is_text, 'a name'))
