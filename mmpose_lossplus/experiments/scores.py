"""Which of a config's metrics tells whether a model is good."""

from typing import List, Optional

from mmengine.config import Config
from mmpose.evaluation.metrics import CocoMetric, MpiiPCKAccuracy, PCKAccuracy
from mmpose.registry import METRICS

from ..evaluation import (
    HeatmapMetric,
    KeypointErrors,
    LspPCKAccuracy,
    SideSwaps,
)
from .configs import component_class

# Of which more is better.
SCORES = {
    CocoMetric: 'coco/AP',
    LspPCKAccuracy: 'lsp/PCK',
    MpiiPCKAccuracy: 'PCK',
    PCKAccuracy: 'PCK',
}


def has_evaluator(cfg: Config) -> bool:
    """Whether there is an evaluator, as of several data sets, or metrics."""
    evaluator = cfg.val_evaluator
    return isinstance(evaluator, dict) and 'metrics' in evaluator


def own_metrics(cfg: Config) -> List[dict]:
    """A config's metrics without diagnostics of this package."""
    metrics = cfg.val_evaluator
    metrics = metrics['metrics'] if has_evaluator(cfg) else metrics
    ours = (HeatmapMetric, KeypointErrors, SideSwaps)
    return [
        metric
        for metric in ([metrics] if isinstance(metrics, dict) else metrics)
        if not issubclass(component_class(metric, METRICS) or object, ours)
    ]


def take_score(cfg: Config, score: Optional[str] = None) -> str:
    """Name of the score, in place of the one of which the best is kept.

    It is the one asked for, the config's ``save_best``, or AP or PCK as the
    config evaluates.

    Raises:
        ValueError: If none is known of which more is better.
    """
    checkpoint = cfg.default_hooks.checkpoint
    best = checkpoint.pop('save_best', None)
    rule = checkpoint.pop('rule', None)
    metrics = own_metrics(cfg)
    classes = [component_class(metric, METRICS) for metric in metrics]
    known = [score] if score else [SCORES[x] for x in classes if x in SCORES]
    if isinstance(best, str) and best != 'auto' and score in (None, best):
        known = [] if rule == 'less' else [best]
    if not known:
        names = ', '.join(metric['type'] for metric in metrics)
        raise ValueError(
            f'The config evaluates by {names} with save_best={best!r} and '
            f'rule={rule!r}: give a --score of which more is better.'
        )
    return known[0]
