"""What is wrong with the data of a config, before a training or a test."""

import os.path as osp
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import DATASETS, METRICS

from .configs import component_class, walk
from .entries import are_numbers, is_integer, load_json
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
    if cfg.get('default_scope', 'mmpose') != 'mmpose':  # a detector's
        return []
    first: Dict[tuple, Fault] = {}
    counts: Counter = Counter()
    read: Dict[str, Any] = {}
    pictures: Dict[str, Dict[str, str]] = defaultdict(dict)

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
            metrics = coco_metrics(
                cfg.get(part.replace('dataloader', 'evaluator'))
            )
            for options in dataset_configs(cfg.get(part) or {}):
                if (options, metrics) in done:  # validation is often the test
                    continue
                done.append((options, metrics))
                dataset = DATASETS.build({**options, 'pipeline': []})
                right = collect(check_model(cfg, dataset))
                right &= collect(check_files(dataset, metrics, read))
                sizes = picture_sizes(dataset, read) if right else {}
                for path in sizes:
                    pictures[path][part] = dataset.ann_file
                if thorough and right and collect(check_loaded(dataset)):
                    sizes = sizes or {x['img_path']: () for x in dataset}
                    load = Compose(options['pipeline'][:1])
                    file = dataset.ann_file
                    collect(check_pictures(file, load, sizes))
    collect(check_shared(pictures))
    return [(fault, counts[key]) for key, fault in sorted(first.items())]


def dataset_configs(loader: dict) -> Iterator[dict]:
    """Those data sets of a loader that read keypoints of COCO's style."""
    for _, part in walk(loader.get('dataset') or {}):
        if isinstance(part, dict) and 'ann_file' in part:
            cls = component_class(part, DATASETS)
            if isinstance(cls, type) and issubclass(cls, BaseCocoStyleDataset):
                yield {**part, 'lazy_init': True, 'serialize_data': False}


def coco_metrics(evaluator: Any) -> List[dict]:
    """Configs of metrics that compute an AP."""
    return [
        part
        for _, part in walk(evaluator or {})
        if isinstance(part, dict)
        and component_class(part, METRICS) is CocoMetric
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


def check_model(cfg: Config, dataset: BaseCocoStyleDataset) -> Faults:
    """The number of keypoints of the head's maps against the data set's."""
    model = cfg.model.get('module') or cfg.model  # of a test over scales
    channels = (model.get('head') or {}).get('out_channels')
    number = dataset.metainfo['num_keypoints']
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
    files = [dataset.ann_file, dataset.bbox_file]
    for file in filter(None, files):
        try:
            read[file] = read[file] if file in read else load_json(file)
        except ValueError as error:
            yield Fault('error', file, 'not read', str(error), 'correct it')
            return
    if not is_coco(dataset):
        return
    coco = read[dataset.ann_file]
    if not isinstance(coco, dict):
        yield Fault(
            'error',
            dataset.ann_file,
            'it is not a COCO-style file',
            f'{coco!r:.40}',
            'expected a dict with images, annotations and categories',
        )
        return
    boxes = read.get(dataset.bbox_file)
    yield from check_images(coco, dataset.ann_file)
    if not boxes or 'annotations' in coco:  # a test set may have none
        number = dataset.metainfo['num_keypoints']
        areas = any(metric.get('use_area', True) for metric in metrics)
        yield from check_people(coco, dataset.ann_file, number, areas)
    if boxes is not None:
        yield from check_boxes(boxes, dataset.bbox_file, coco)
    for metric in metrics:
        other = metric.get('ann_file')
        if other and other != dataset.ann_file:
            yield Fault(
                'warning',
                dataset.ann_file,
                'the evaluator reads another file than the data set',
                other,
                'give both the same ann_file',
            )


def is_positive(value: Any) -> bool:
    return are_numbers(value) and value > 0


def check_images(coco: dict, file: str) -> Faults:
    """The images of a COCO-style file."""
    error = partial(Fault, 'error', file)
    fields = dict(
        id=(is_integer, 'an integer'),
        file_name=(lambda value: isinstance(value, str), 'a name'),
        width=(is_positive, 'pixels'),
        height=(is_positive, 'pixels'),
    )
    images = coco.get('images')
    if not isinstance(images, list) or not images:
        yield error('it lists no images', 'images', 'add what it labels')
        return
    ids = Counter()
    for index, image in enumerate(images):
        for field, (is_right, expected) in fields.items():
            value = image.get(field) if isinstance(image, dict) else None
            if not is_right(value):
                yield error(
                    f'{field} of an image is not {expected}',
                    f'images[{index}]: {value!r:.40}',
                    f'give each image {field}, {expected}',
                )
        ids[repr(image.get('id') if isinstance(image, dict) else '')] += 1
    for number in (n for n, count in ids.items() if count > 1):
        yield error(
            'two images have one id', f'id {number}', 'number them anew'
        )


def check_people(coco: dict, file: str, number: int, areas: bool) -> Faults:
    """The labelled people of a COCO-style file.

    Args:
        coco (dict): Its content.
        file (str): Its path.
        number (int): Of keypoints.
        areas (bool): Whether an AP is computed from it, which takes areas.
    """
    error = partial(Fault, 'error', file)
    warning = partial(Fault, 'warning', file)
    people = coco.get('annotations')
    if not isinstance(people, list) or not people:
        yield error('it lists no annotations', 'annotations', 'add the labels')
        return
    images = {repr(x.get('id')): x for x in coco.get('images') or ()}
    categories = {repr(x.get('id')) for x in coco.get('categories') or ()}
    ids, kept = Counter(), 0
    for index, person in enumerate(people):
        if not isinstance(person, dict):
            yield error('no annotation', f'annotations[{index}]', 'remove it')
            continue
        get = person.get
        at = f'id {get("id")}'
        ids[repr(get('id'))] += 1
        if not is_integer(get('id')):
            at = f'annotations[{index}]'
            yield error(
                'id is not an integer', f'{at}: {get("id")!r:.40}', 'number it'
            )
        if repr(get('category_id')) not in categories:
            yield error(
                'category_id is of no category',
                f'{at}: {get("category_id")!r:.40}',
                'list it in categories',
            )
        image = images.get(repr(get('image_id')))
        if image is None:
            yield error(
                'image_id is of no image',
                f'{at}: {get("image_id")!r:.40}',
                'list the image, or remove the annotation',
            )
            continue
        if areas and not is_integer(get('iscrowd')):
            yield error(
                'iscrowd is missing, which the AP needs',
                f'{at}: {get("iscrowd")!r:.40}',
                'set 0, or 1 for a crowd',
            )
        if get('iscrowd'):
            continue
        if 'bbox' not in person or 'keypoints' not in person:
            yield warning(
                'no bbox or no keypoints, so that MMPose leaves it out',
                at,
                'label it or remove it',
            )
            continue
        faults = [*check_labels(person, at, number, file)]
        yield from faults
        box, labels = person['bbox'], person['keypoints']
        if any(fault.severity == 'error' for fault in faults):
            continue
        x, y, width, height = box
        inside = min(x + width, image['width'] - 1) > max(x, 0)
        inside &= min(y + height, image['height'] - 1) > max(y, 0)
        if not inside:
            yield warning(
                'bbox is empty, inverted or outside of its image, so that '
                'MMPose leaves it out',
                f'{at}: {box}',
                'correct it: x, y of a corner, then width and height > 0',
            )
        visible = sum(v > 0 for v in labels[2::3])
        kept += inside and visible > 0 and get('num_keypoints', 1) != 0
        if get('num_keypoints', visible) != visible:
            yield warning(
                'num_keypoints is not the number of labelled keypoints'
                + (
                    ', so that MMPose leaves it out'
                    * (not get('num_keypoints'))
                ),
                f'{at}: {get("num_keypoints")!r}, labelled {visible}',
                'correct or remove it',
            )
        if areas and visible and not is_positive(get('area')):
            yield error(
                'area is missing or not above 0, so that its OKS is 0 and AP '
                'too low',
                f'{at}: {get("area")!r:.40}',
                'set the area of the person in square pixels, or use_area='
                'False in CocoMetric',
            )
    for number in (n for n, count in ids.items() if count > 1):
        yield error(
            'two annotations have one id', f'id {number}', 'number them anew'
        )
    if not kept:
        yield error(
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
    if not are_numbers(labels, 3 * number):
        size = len(labels) / 3 if isinstance(labels, list) else 0
        if size == number:
            yield error(
                'keypoints are not finite numbers',
                f'{at}: {labels!r:.40}',
                'set 0, 0, 0 where a keypoint is not labelled',
            )
        else:
            yield error(
                f'keypoints are not x, y, v of each of {number} keypoints',
                f'{at}: {size:g} keypoints',
                'label all in the order of metainfo, or correct metainfo',
            )
    elif not set(labels[2::3]) <= {0, 1, 2}:
        odd = next(v for v in labels[2::3] if v not in (0, 1, 2))
        yield Fault(
            'error' if odd < 0 else 'warning',
            file,
            'visibility is not 0, 1 or 2'
            + (', and becomes a negative weight' if odd < 0 else ''),
            f'{at}: {odd!r}',
            'set 0 for not labelled, 1 for hidden, 2 for visible',
        )


def check_boxes(boxes: Any, file: str, coco: dict) -> Faults:
    """The entries of a box file."""
    error = partial(Fault, 'error', file)
    images = {x['id'] for x in coco['images']}
    if not isinstance(boxes, list) or not boxes:
        yield error('it lists no boxes', f'{boxes!r:.40}', 'detect people')
        return
    people = 0
    for index, box in enumerate(boxes):
        at = f'entry {index}'
        get = box.get if isinstance(box, dict) else {}.get
        if get('category_id') != 1:
            yield Fault(
                'warning',
                file,
                'category_id is not the number 1, so that MMPose leaves it '
                'out',
                f'{at}: {get("category_id")!r:.40}',
                'set 1 for people',
            )
            continue
        people += 1
        if get('image_id') not in images:
            yield error(
                'image_id is of no image of the annotation file',
                f'{at}: {get("image_id")!r:.40}',
                'use the ids of that file',
            )
        value = get('bbox')
        if not are_numbers(value, 4) or value[2] <= 0 or value[3] <= 0:
            yield error(
                'bbox is not x, y, width > 0 and height > 0',
                f'{at}: {value!r:.40}',
                'correct or remove it',
            )
        if not are_numbers(get('score')):
            yield error(
                'score is missing or not a number',
                f'{at}: {get("score")!r:.40}',
                'give each box its score',
            )
    if not people:
        yield error('it has no box of a person', '', 'set category_id to 1')
    labelled = {x.get('category_id') for x in coco.get('annotations') or ()}
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
    file: str, load: Compose, sizes: Dict[str, Tuple[int, int]]
) -> Faults:
    """Pictures, read as the pipeline of a data set reads them.

    Args:
        file (str): The annotation file that lists them.
        load (Compose): The begin of the pipeline.
        sizes (dict[str, tuple[int, int]]): Width and height by path, empty
            where the file does not say.
    """
    error = partial(Fault, 'error', file)

    def read(path: str) -> Any:
        try:
            return load(dict(img_path=path))['img'].shape[1::-1]
        except Exception as reason:  # of any decoder
            return summary(reason)

    with ThreadPoolExecutor() as pool:
        for path, found in zip(sizes, pool.map(read, sizes)):
            if isinstance(found, str):
                yield error(
                    'a picture cannot be read',
                    f'{path}: {found}',
                    'correct data_prefix, or get the picture again',
                )
            elif sizes[path] and found != sizes[path]:
                yield error(
                    'a picture has another size than its labels are for',
                    '{}: {} x {}, listed {} x {}'.format(
                        *(path, *found, *sizes[path])
                    ),
                    'use the picture that was labelled, or correct the labels',
                )


def check_shared(pictures: Dict[str, Dict[str, str]]) -> Faults:
    """Pictures of training among those of validation or test."""
    for path, files in pictures.items():
        for part, file in files.items():
            if 'train_dataloader' in files and part != 'train_dataloader':
                yield Fault(
                    'warning',
                    file,
                    'the model is trained on its pictures, too',
                    path,
                    'leave them out of one of the two, or scores are too good',
                )
