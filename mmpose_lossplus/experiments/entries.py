"""Lists in JSON files of others: a wrong field of an entry is named."""

from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
from mmengine.fileio import load

# Whether a value is right, and what is, in words.
Check = Tuple[Callable[[Any], bool], str]
Fields = Dict[str, Check]


def load_json(file: str) -> Any:
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


def wrong_fields(
    entries: List[Any], fields: Fields
) -> Iterator[Tuple[int, str, Any, str]]:
    """Position, name, value and what is expected of each wrong field."""
    for i, entry in enumerate(entries):
        for field, (is_right, expected) in fields.items():
            value = entry.get(field) if isinstance(entry, dict) else None
            if not is_right(value):
                yield i, field, value, expected


def check_fields(entries: Any, name: str, fields: Fields) -> None:
    """Check that a value is a list of entries with such fields.

    Raises:
        ValueError: If it is not, with the first wrong field.
    """
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f'{name} must be a list of entries with {", ".join(fields)}, got '
            f'{str(entries)[:60]}.'
        )
    for i, field, value, expected in wrong_fields(entries, fields):
        raise ValueError(
            f'{field} of entry {i} of {name} is {value!r:.60}, expected '
            f'{expected}.'
        )


def is_integer(value: Any) -> bool:
    return type(value) is int  # True is an int, too


def are_numbers(value: Any, *shape: int) -> bool:
    """Whether a value is a finite number, or lists of some in a shape."""
    try:
        array = np.array(value)
    except ValueError:  # of several lengths
        return False
    real = array.shape == shape and array.dtype.kind in 'iuf'
    return real and bool(np.isfinite(array).all())


INTEGER: Check = (is_integer, 'an integer')
NAME: Check = (lambda value: isinstance(value, str), 'a name')


def read_images(file: str) -> Tuple[dict, List[dict]]:
    """Read a COCO-style file: all of it, and its images' id and file_name.

    Raises:
        ValueError: If it is none.
    """
    coco = load_json(file)
    images: Any = coco.get('images') if isinstance(coco, dict) else None
    fields = dict(id=INTEGER, file_name=NAME)
    check_fields(images, f'images in {file}', fields)
    ids = {image['id'] for image in images}
    if len(ids) < len(images):
        raise ValueError(
            f'{file} lists {len(images)} images with {len(ids)} different '
            'ids, expected one for each.'
        )
    return coco, [{key: image[key] for key in fields} for image in images]
