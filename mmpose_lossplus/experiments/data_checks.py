"""What is wrong with the data of a config, before a training or a test."""

import codecs
import locale
import os.path as osp
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from hashlib import sha256
from typing import Any, Dict, Iterable, Iterator, List, Tuple

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
from .entries import is_integer, load_json
from .files import is_cut_off
from .label_checks import (
    Fault,
    Faults,
    check_boxes,
    check_images,
    check_names,
    check_people,
)
from .progress import track
from .weights import summary

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


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
        and isinstance(kind := component_class(value, METRICS), type)
        and issubclass(kind, CocoMetric)
    ]


def is_coco(dataset: BaseCocoStyleDataset) -> bool:
    """Whether a data set reads a file as COCO's are, without a change."""
    ours, base = type(dataset), BaseCocoStyleDataset
    names = ('_load_annotations', 'parse_data_info')
    return all(getattr(ours, x) is getattr(base, x) for x in names)


def picture_sizes(
    dataset: BaseCocoStyleDataset, read: Dict[str, Any]
) -> Dict[str, tuple]:
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
    yield from check_names(coco, file, dataset.metainfo['keypoint_id2name'])
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
    sizes: Dict[str, tuple],
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
