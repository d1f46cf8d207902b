"""What is wrong with labels and boxes in files of COCO's style."""

import re
from collections import Counter
from functools import partial
from typing import Any, Dict, Iterator, List, NamedTuple

from .entries import (
    INTEGER,
    NAME,
    Fields,
    are_numbers,
    is_integer,
    wrong_fields,
)


class Fault(NamedTuple):
    """What is wrong in a file, where, and what to do.

    An error ends a run or gives wrong numbers, a warning may be meant so.
    """

    severity: str
    file: str
    problem: str
    entry: str
    cure: str


Faults = Iterator[Fault]


def is_positive(value: Any) -> bool:
    return are_numbers(value) and value > 0


def is_inside(box: List[float], image: dict) -> bool:
    """Whether MMPose finds something of a box (x, y, w, h) in its image."""
    sizes: Any = image.get('width'), image.get('height')
    return all(
        min(start + size, end - 1) > max(start, 0)
        for start, size, end in zip(box[:2], box[2:], sizes)
        if is_positive(end)  # else that is what is wrong
    )


def entries_of(coco: dict, name: str) -> List[dict]:
    """What a COCO-style file lists, if it is a list of dicts."""
    found = coco.get(name)
    found = found if isinstance(found, list) else []
    return [x for x in found if isinstance(x, dict)]


def ids_of(coco: dict, name: str) -> set:
    """Ids of what a COCO-style file lists, without wrong ones."""
    return {x['id'] for x in entries_of(coco, name) if is_integer(x.get('id'))}


def check_list(coco: dict, file: str, name: str, fields: dict) -> Faults:
    """One of the lists of a COCO-style file, and that ids are of one entry.

    Args:
        coco (dict): Its content.
        file (str): Its path.
        name (str): Of the list.
        fields (dict): What its entries have, see :mod:`.entries`.
    """
    error = partial(Fault, 'error', file)
    found = coco.get(name)
    if not isinstance(found, list) or not found:
        at = f'{name}: {found!r:.40}'
        yield error(f'it lists no {name}', at, 'add them')
        return
    for index, field, value, expected in wrong_fields(found, fields):
        yield error(
            f'{field} in {name} is not {expected}',
            f'{name}[{index}]: {value!r:.40}',
            f'set {field} of each to {expected}',
        )
    ids = Counter(repr(x.get('id')) for x in entries_of(coco, name))
    for number in (n for n, count in ids.items() if count > 1):
        yield error(
            f'two {name} have one id', f'id {number}', 'number them anew'
        )


def check_images(coco: dict, file: str) -> Faults:
    """The images of a COCO-style file."""
    pixels = (is_positive, 'pixels')
    fields = dict(id=INTEGER, file_name=NAME, width=pixels, height=pixels)
    yield from check_list(coco, file, 'images', fields)


def check_names(coco: dict, file: str, names: Dict[int, str]) -> Faults:
    """The names of keypoints in a COCO-style file, if it has as many.

    Args:
        coco (dict): Its content.
        file (str): Its path.
        names (dict[int, str]): Of the data set, by their places.
    """

    def spelt(name: Any) -> str:
        return re.sub(r'\W+', '_', str(name)).lower()

    for i, category in enumerate(entries_of(coco, 'categories')):
        found = category.get('keypoints')
        if not isinstance(found, list) or len(found) != len(names):
            continue
        for k, name in enumerate(found):
            if spelt(name) != spelt(names[k]):
                yield Fault(
                    'warning',
                    file,
                    'it has other names of keypoints than metainfo, or '
                    'another order',
                    f'categories[{i}].keypoints[{k}] is {name!r}, in '
                    f'metainfo {names[k]!r}',
                    'label all in the order of metainfo, or correct metainfo',
                )
                break


def check_people(
    coco: dict, file: str, number: int, scored: bool, areas: bool
) -> Faults:
    """The labelled people of a COCO-style file.

    Args:
        coco (dict): Its content.
        file (str): Its path.
        number (int): Of keypoints.
        scored (bool): Whether an AP is computed from it.
        areas (bool): Whether that takes the areas of people.
    """
    warning = partial(Fault, 'warning', file)
    images = {repr(x.get('id')): x for x in entries_of(coco, 'images')}
    known = {x: ids_of(coco, x) for x in ('images', 'categories')}
    fields = dict(
        # xtcocotools takes a negative id of a label for "no match".
        id=(lambda value: is_integer(value) and value >= 0, 'an integer >= 0'),
        image_id=(
            lambda value: is_integer(value) and value in known['images'],
            'the id of one of its images',
        ),
        category_id=(
            lambda value: is_integer(value) and value in known['categories'],
            'the id of one of its categories',
        ),
    )
    if scored:
        fields['iscrowd'] = (
            lambda value: is_integer(value) and value in (0, 1),
            '0, or 1 for a crowd, which the AP needs',
        )
    yield from check_list(coco, file, 'annotations', fields)
    kept, people = 0, coco.get('annotations')
    for index, person in enumerate(people if isinstance(people, list) else ()):
        image = isinstance(person, dict) and images.get(
            repr(person.get('image_id'))
        )
        if not image or person.get('iscrowd'):
            continue
        at = f'annotations[{index}], id {person.get("id")}'
        if 'bbox' not in person or 'keypoints' not in person:
            yield warning(
                'no bbox or no keypoints, so that MMPose leaves it out',
                at,
                'label it or remove it',
            )
            continue
        faults = [*check_labels(person, at, number, file)]
        yield from faults
        if any(fault.severity == 'error' for fault in faults):
            continue
        visible = sum(v > 0 for v in person['keypoints'][2::3])
        inside = is_inside(person['bbox'], image)
        said = person.get('num_keypoints', visible)
        kept += bool(inside and visible and said)
        if not inside:
            yield warning(
                'bbox is empty, inverted or outside of its image, so that '
                'MMPose leaves it out',
                f'{at}: {person["bbox"]}',
                'correct it: x, y of a corner, then width and height > 0',
            )
        if said != visible:
            left_out = '' if said else ', so that MMPose leaves it out'
            yield warning(
                f'num_keypoints is not the number of labels{left_out}',
                f'{at}: {said!r}, labelled {visible}',
                'correct or remove it',
            )
        if areas and visible and not is_positive(person.get('area')):
            yield Fault(
                'error',
                file,
                'area is missing or not above 0, so that the AP fails or is '
                'too low',
                f'{at}: {person.get("area")!r:.40}',
                'set the area of the person in square pixels, or use_area='
                'False in CocoMetric',
            )
    if people and not kept:
        yield Fault(
            'error',
            file,
            'no person is left to train or test on',
            f'{len(people)} annotations',
            'see the other faults of the file',
        )


def check_labels(person: dict, at: str, number: int, file: str) -> Faults:
    """Box and keypoints of a person."""
    error = partial(Fault, 'error', file)
    if not are_numbers(person['bbox'], 4):
        yield error(
            'bbox is not four finite numbers',
            f'{at}: {person["bbox"]!r:.40}',
            'correct it: x, y of a corner, then width and height',
        )
    labels = person['keypoints']
    if not isinstance(labels, list) or len(labels) != 3 * number:
        size = len(labels) / 3 if isinstance(labels, list) else 0
        yield error(
            f'keypoints are not x, y, v of each of {number} keypoints',
            f'{at}: {size:g} keypoints',
            'label all in the order of metainfo, or correct metainfo',
        )
    elif not are_numbers(labels, 3 * number):
        yield error(
            'keypoints are not finite numbers',
            f'{at}: {labels!r:.40}',
            'set 0, 0, 0 where a keypoint is not labelled',
        )
    elif not set(labels[2::3]) <= {0, 1, 2}:
        odd = min(set(labels[2::3]) - {0, 1, 2})
        severity, what = 'warning', ''
        if odd < 0:
            severity, what = 'error', ', and becomes a negative weight'
        yield Fault(
            severity,
            file,
            f'visibility is not 0, 1 or 2{what}',
            f'{at}: {odd!r}',
            'set 0 for not labelled, 1 for hidden, 2 for visible',
        )


def check_boxes(boxes: Any, file: str, coco: dict) -> Faults:
    """The entries of a box file."""
    error = partial(Fault, 'error', file)
    if not isinstance(boxes, list) or not boxes:
        yield error('it lists no boxes', f'{boxes!r:.40}', 'detect people')
        return
    # MMPose leaves out what has another category.
    people = [
        (index, box)
        for index, box in enumerate(boxes)
        if not isinstance(box, dict) or box.get('category_id') == 1
    ]
    images = ids_of(coco, 'images')
    fields: Fields = dict(
        image_id=(
            lambda value: is_integer(value) and value in images,
            'the id of an image of the annotation file',
        ),
        bbox=(
            lambda value: are_numbers(value, 4) and min(value[2:]) > 0,
            'x, y, width > 0 and height > 0',
        ),
        score=(are_numbers, 'a number'),
    )
    for i, field, value, expected in wrong_fields(
        [box for _, box in people], fields
    ):
        yield error(
            f'{field} of a box is not {expected}',
            f'entry {people[i][0]}: {value!r:.40}',
            'correct or remove it',
        )
    category = (
        lambda value: is_integer(value) and value > 0,
        '1 for people or another integer > 0',
    )
    for i, field, value, expected in wrong_fields(
        boxes, dict(category_id=category)
    ):
        yield Fault(
            'warning',
            file,
            f'{field} is not {expected}, so that MMPose leaves it out',
            f'entry {i}: {value!r:.40}',
            'set 1 for people',
        )
    if not people:
        yield error(
            'it has no box of a person',
            f'{len(boxes)} boxes',
            'set category_id of people to the number 1',
        )
    labelled = {x.get('category_id') for x in entries_of(coco, 'annotations')}
    if labelled and 1 not in labelled:
        yield error(
            'predictions of its boxes have category_id 1, which no annotation '
            'has, so that AP is 0',
            f'annotated: {sorted(labelled, key=str)}',
            'set category_id of people to 1 in the annotation file',
        )
