"""What is wrong with the data of a config, before a training or a test."""

import codecs
import locale
import os.path as osp
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from hashlib import sha256
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import get
from mmengine.registry import DefaultScope
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.datasets.transforms import KeypointConverter
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import DATASETS, METRICS, TRANSFORMS

from .configs import component_class, walk
from .entries import (
    INTEGER,
    NAME,
    are_numbers,
    is_integer,
    load_json,
    wrong_fields,
)
from .files import is_cut_off
from .progress import track
from .weights import summary

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


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


def check_data(
    cfg: Config, parts: Iterable[str] = LOADERS, thorough: bool = False
) -> List[Tuple[Fault, int]]:
    """Look for what would end a run or silently give wrong numbers.

    Args:
        cfg (Config): The config.
        parts (iterable[str]): Those of its loaders that count. Defaults to
            all.
        thorough (bool): Whether to load the data sets and all pictures, too.
            Defaults to False.

    Returns:
        list[tuple[Fault, int]]: The first fault of each kind in each file,
        errors first, and how many there are of it.
    """
    first: Dict[tuple, Fault] = {}
    counts: Counter = Counter()
    read: Dict[str, Any] = {}
    contents: Dict[str, str] = {}
    pictures: Dict[str, Dict[str, Tuple[str, str]]] = defaultdict(dict)

    def collect(faults: Iterable[Fault]) -> bool:
        """Whether there was no error among them."""
        right = True
        for fault in faults:
            first.setdefault(fault[:3], fault)
            counts[fault[:3]] += 1
            right &= fault.severity != 'error'
        return right

    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        done = []
        for part in parts:
            metrics = coco_metrics(cfg, part)
            datasets = [*dataset_configs(cfg, part)]
            if (datasets, metrics) in done:  # validation is often the test
                continue
            done.append((datasets, metrics))
            files = set()
            for options in datasets:
                try:
                    dataset = DATASETS.build({**options, 'pipeline': []})
                except Exception as error:  # whatever a class raises
                    file, reason = options['ann_file'], summary(error)
                    cure = 'correct its config'
                    problem = 'its data set cannot be built'
                    collect([Fault('error', file, problem, reason, cure)])
                    continue
                file = dataset.ann_file
                files.add(osp.normpath(file))
                right = collect(check_model(cfg, options, dataset))
                right &= collect(check_files(dataset, metrics, read))
                sizes = picture_sizes(dataset, read) if right else {}
                if thorough and right and collect(check_loaded(dataset)):
                    sizes = sizes or {x['img_path']: () for x in dataset}
                    steps = picture_loaders(options['pipeline'])
                    collect(check_pictures(file, steps, sizes, contents))
                for path in sizes:
                    content = contents.get(path, osp.normpath(path))
                    pictures[content][part] = file, path
            collect(check_metrics(metrics, files))
    collect(check_shared(pictures))
    return [(fault, counts[key]) for key, fault in sorted(first.items())]


def dataset_configs(cfg: Config, part: str) -> Iterator[dict]:
    """Those data sets of a loader that read keypoints of COCO's style.

    To the pipeline of each belongs that of a data set of several ones.
    """
    if cfg.get('default_scope', 'mmpose') != 'mmpose':  # a detector's
        return
    whole = (cfg.get(part) or {}).get('dataset') or {}
    for _, value in walk(whole):
        if isinstance(value, dict) and 'ann_file' in value:
            cls = component_class(value, DATASETS)
            if isinstance(cls, type) and issubclass(cls, BaseCocoStyleDataset):
                steps = [*(value.get('pipeline') or ())]
                if value is not whole:
                    steps += whole.get('pipeline') or ()
                options = dict(lazy_init=True, serialize_data=False)
                yield {**value, **options, 'pipeline': steps}


def picture_loaders(pipeline: List[dict]) -> List[dict]:
    """The steps of a pipeline that load pictures."""
    return [
        step
        for step in pipeline
        if isinstance(kind := component_class(step, TRANSFORMS), type)
        and issubclass(kind, LoadImageFromFile)
    ]


def coco_metrics(cfg: Config, part: str) -> List[dict]:
    """Configs of metrics that compute an AP from what a loader gives."""
    evaluator = cfg.get(part.replace('dataloader', 'evaluator'))
    return [
        value
        for _, value in walk(evaluator or {})
        if isinstance(value, dict)
        and component_class(value, METRICS) is CocoMetric
    ]


def is_coco(dataset: BaseCocoStyleDataset) -> bool:
    """Whether a data set reads a file as COCO's are, without a change."""
    ours, base = type(dataset), BaseCocoStyleDataset
    names = ('_load_annotations', 'parse_data_info')
    return all(getattr(ours, x) is getattr(base, x) for x in names)


def picture_sizes(
    dataset: BaseCocoStyleDataset, read: Dict[str, Any]
) -> Dict[str, Tuple[int, int]]:
    """Path, width and height of the images that a COCO-style file lists."""
    if not is_coco(dataset):
        return {}
    root = dataset.data_prefix['img']
    return {
        osp.join(root, image['file_name']): (image['width'], image['height'])
        for image in read[dataset.ann_file]['images']
    }


def check_model(
    cfg: Config, options: dict, dataset: BaseCocoStyleDataset
) -> Faults:
    """The number of keypoints of the head's maps against the data set's."""
    model = cfg.get('model') or {}
    model = model.get('module') or model  # of a test over scales
    channels = (model.get('head') or {}).get('out_channels')
    number = dataset.metainfo['num_keypoints']
    for step in options['pipeline']:
        if component_class(step, TRANSFORMS) is KeypointConverter:
            number = step['num_keypoints']
    # A combined target of UDP has two offsets beside each heatmap.
    if is_integer(channels) and channels not in (number, 3 * number):
        yield Fault(
            'error',
            dataset.ann_file,
            f'the data set has {number} keypoints, the head {channels}',
            'metainfo',
            'set out_channels of the head, or metainfo of the data set',
        )


def check_files(
    dataset: BaseCocoStyleDataset, metrics: List[dict], read: Dict[str, Any]
) -> Faults:
    """The files of a data set, which are read once."""
    file, box_file = dataset.ann_file, dataset.bbox_file
    for path in filter(None, (file, box_file)):
        try:
            read[path] = read[path] if path in read else load_json(path)
        except ValueError as error:
            yield Fault('error', path, 'not read', str(error), 'correct it')
            return
    encoding = locale.getpreferredencoding(False)
    if codecs.lookup(encoding).name != 'utf-8' and not get(file).isascii():
        yield Fault(
            'error',
            file,
            f'it is UTF-8, which pycocotools reads as {encoding} here',
            'a letter that is not of ASCII',
            'set the environment variable PYTHONUTF8=1',
        )
    if not is_coco(dataset):
        return
    coco = read[file]
    if not isinstance(coco, dict):
        yield Fault(
            'error',
            file,
            'it is not a COCO-style file',
            f'{coco!r:.40}',
            'expected a dict with images, annotations and categories',
        )
        return
    yield from check_images(coco, file)
    if not box_file or 'annotations' in coco:  # a test set may have none
        metrics = [x for x in metrics if x.get('ann_file') in (None, file)]
        areas = any(metric.get('use_area', True) for metric in metrics)
        number = dataset.metainfo['num_keypoints']
        yield from check_people(coco, file, number, bool(metrics), areas)
    if box_file:
        yield from check_boxes(read[box_file], box_file, coco)


def check_metrics(metrics: List[dict], files: set) -> Faults:
    """The files of metrics against those of the data sets."""
    for file in filter(None, (metric.get('ann_file') for metric in metrics)):
        if files and osp.normpath(file) not in files:
            yield Fault(
                'warning',
                file,
                'the evaluator reads another file than the data set',
                ', '.join(sorted(files)),
                'give both the same ann_file',
            )


def is_positive(value: Any) -> bool:
    return are_numbers(value) and value > 0


def is_inside(box: List[float], image: dict) -> bool:
    """Whether MMPose finds something of a box (x, y, w, h) in its image."""
    sizes = image.get('width'), image.get('height')
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
    fields = dict(
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


def check_loaded(dataset: BaseCocoStyleDataset) -> Faults:
    """A data set as MMPose loads it."""
    error = partial(Fault, 'error', dataset.ann_file)
    try:
        with redirect_stdout(None):  # pycocotools tells how long it takes
            dataset.full_init()
    except Exception as reason:  # whatever a data set raises
        yield error('it cannot be loaded', summary(reason), 'correct it')
        return
    if is_coco(dataset):  # its file has been looked at
        return
    if not dataset.data_list:
        yield error('no person is left', '', 'see what it lists')
    for person in dataset.data_list:
        at = f'id {person.get("id")}'
        for name in ('bbox', 'keypoints'):
            if not np.isfinite(person.get(name, 0)).all():
                yield error(f'{name} is not finite', at, 'correct it')
        if np.min(person.get('keypoints_visible', 1)) < 0:
            yield error('a negative weight', at, 'correct the visibility')


def check_pictures(
    file: str,
    steps: List[dict],
    sizes: Dict[str, Tuple[int, int]],
    contents: Dict[str, str],
) -> Faults:
    """Pictures, read as the pipeline of a data set reads them.

    Args:
        file (str): The annotation file that lists them.
        steps (list[dict]): Those of the pipeline that load pictures.
        sizes (dict[str, tuple[int, int]]): Width and height by path, empty
            where the file does not say.
        contents (dict[str, str]): Gets the digest of each by path.
    """
    error = partial(Fault, 'error', file)
    load, backend_args = Compose(steps), (steps or [{}])[0].get('backend_args')

    def read(path: str) -> Any:
        try:
            picture = get(path, backend_args)
            contents[path] = sha256(picture).hexdigest()
            found = load(dict(img_path=path))['img'].shape[1::-1]
            return 'its end is missing' if is_cut_off(picture) else found
        except OSError as reason:
            return reason.strerror or summary(reason)
        except Exception as reason:  # of any decoder
            return summary(reason)

    with ThreadPoolExecutor() as pool:
        found = track(pool.map(read, sizes), 'Pictures', len(sizes))
        for path, size in zip(sizes, found):
            if isinstance(size, str):
                yield error(
                    'a picture cannot be read',
                    f'{path}: {size}',
                    'correct data_prefix, or get the picture again',
                )
            elif sizes[path] and size != sizes[path]:
                yield error(
                    'a picture has another size than its labels are for',
                    '{}: {} x {}, listed {} x {}'.format(
                        *(path, *size, *sizes[path])
                    ),
                    'use the picture that was labelled, or correct the labels',
                )


def check_shared(
    pictures: Dict[str, Dict[str, Tuple[str, str]]],
) -> Faults:
    """Pictures of training among those of validation or test.

    Args:
        pictures (dict[str, dict[str, tuple[str, str]]]): File and path by
            content and loader.
    """
    for parts in pictures.values():
        for part, (file, path) in parts.items():
            if 'train_dataloader' in parts and part != 'train_dataloader':
                yield Fault(
                    'warning',
                    file,
                    'the model is trained on its pictures, too',
                    f'{path}, trained on {parts["train_dataloader"][1]}',
                    'leave them out of one of the two, or scores are too good',
                )
