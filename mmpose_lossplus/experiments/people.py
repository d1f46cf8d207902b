"""Scores on other people: those of a test set, drawn with replacement."""

import contextlib
import inspect
import io
import pickle
from pathlib import Path
from typing import Optional

import numpy as np
from mmengine.config import Config
from mmpose.evaluation.metrics import CocoMetric, PCKAccuracy
from mmpose.registry import DATASETS, METRICS
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from .statistics import Detections, OtherPeople, average_precision, draw_people


def keep_people(metric: dict) -> dict:
    """Make a metric write down what it collected, if it has a use.

    Args:
        metric (dict): Config of a metric.

    Returns:
        dict: A ``KeptMetric`` of a ``PCKAccuracy``, the config of another.
    """
    cls = METRICS.get(metric['type'])
    if inspect.isclass(cls) and issubclass(cls, PCKAccuracy):
        return dict(type='KeptMetric', metric=metric)
    return metric


def key_of_file(metric: dict) -> Optional[str]:
    """Argument of a metric that names a file with what it collected.

    Args:
        metric (dict): Config that :func:`keep_people` gave.

    Returns:
        str: The name; ``None`` for all but ``KeptMetric`` and COCO's AP.
    """
    if metric['type'] == 'KeptMetric':
        return 'out_file'
    plain = metric.get('iou_type', 'keypoints') == 'keypoints'
    if metric['type'] == 'CocoMetric' and plain and metric.get('ann_file'):
        return 'outfile_prefix'
    return None


def score_on_others(
    cfg: Config, metric: dict, score: str
) -> Optional[OtherPeople]:
    """Score on drawn people, or for COCO's AP on drawn images.

    Args:
        cfg (Config): The config of the training.
        metric (dict): The metric, as :func:`keep_people` gave it, with its
            file under :func:`key_of_file` if it has one.
        score (str): Name of the score.

    Returns:
        OtherPeople: ``None`` if the score is not one of the metric's, or it
        has no file.
    """
    key = key_of_file(metric)
    if key is None:
        return None
    # The names and sigmas of the keypoints need no data.
    dataset = DATASETS.build(dict(cfg.val_dataloader.dataset, lazy_init=True))
    if metric['type'] == 'KeptMetric':
        results = pickle.loads(Path(metric[key]).read_bytes())
        n, unit = len(results), 'people'
        metric = METRICS.build(metric['metric'])
        metric.dataset_meta = dataset.metainfo
        name = score
        if metric.prefix and score.startswith(f'{metric.prefix}/'):
            name = score[len(metric.prefix) + 1 :]
        if name not in metric.compute_metrics(results):
            return None

        def function(times: np.ndarray) -> float:
            drawn = [results[i] for i in np.repeat(np.arange(n), times)]
            try:
                return float(metric.compute_metrics(drawn)[name])
            except ValueError:  # nobody with what LspPCKAccuracy divides by
                return np.nan

    elif score == f'{metric.get("prefix") or CocoMetric.default_prefix}/AP':
        sigmas = dataset.metainfo['sigmas']
        detections = match(metric, f'{metric[key]}.keypoints.json', sigmas)
        n, unit = len(detections.people), 'images'

        def function(times: np.ndarray) -> float:
            return average_precision(detections, times)

    else:
        return None
    everybody = np.ones(n, dtype=int)
    scores = [function(x) for x in (everybody, *draw_people(n))]
    return OtherPeople(np.array(scores), n, unit)


def match(metric: dict, results: str, sigmas: np.ndarray) -> Detections:
    """Match predictions and people as COCO's evaluation does.

    Args:
        metric (dict): Config of the ``CocoMetric``.
        results (str): The file that it wrote.
        sigmas (np.ndarray): Of the keypoints.

    Returns:
        Detections: With the images in the order of their ids.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(metric['ann_file'])
        evaluation = COCOeval(
            truth,
            truth.loadRes(results),
            'keypoints',
            sigmas,
            metric.get('use_area', True),
        )
        params = evaluation.params
        params.useSegm = None
        params.areaRng, params.areaRngLbl = params.areaRng[:1], ['all']
        evaluation.evaluate()
    images = {image: i for i, image in enumerate(params.imgIds)}
    people = np.zeros(len(images))
    parts = []
    for part in filter(None, evaluation.evalImgs):
        index = images[part['image_id']]
        people[index] += np.count_nonzero(np.equal(part['gtIgnore'], 0))
        matched = part['dtMatches'] >= 0
        ignored = np.asarray(part['dtIgnore'], dtype=bool)
        scores = np.asarray(part['dtScores'], dtype=float)
        parts.append(
            (
                matched & ~ignored,
                ignored,
                scores,
                np.full(len(scores), index),
            )
        )
    found, ignored, scores, image = zip(*parts)
    return Detections(
        np.concatenate(found, axis=1),
        np.concatenate(ignored, axis=1),
        np.concatenate(scores),
        np.concatenate(image),
        people,
    )
