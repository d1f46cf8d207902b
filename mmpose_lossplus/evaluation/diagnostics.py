from typing import List, Optional

from mmengine.config import Config
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS

from ..experiments.configs import component_class


def diagnostic_metrics(
    cfg: Config, norm_item: str = 'bbox', loss: Optional[dict] = None
) -> List[dict]:
    """All diagnostics for the model of a config.

    They look at heatmaps, so the model must give them, with
    ``cfg.model.test_cfg.output_heatmaps = True``.

    Args:
        cfg (Config): Config of a top-down heatmap model. Codec and loss are
            taken from its head, of several losses that of the last stage, and
            whether there is UDP from the ``TopdownAffine`` of its data.
        norm_item (str): What distances are divided by, 'bbox' or 'head'.
            Defaults to 'bbox'.
        loss (dict, optional): A loss to look at instead of the head's.
            Defaults to ``None``.

    Returns:
        list[dict]: Metrics, for ``val_evaluator`` or ``test_evaluator``.

    Raises:
        ValueError: If the head has no decoder or no loss.
    """
    model = cfg.model.get('module', cfg.model)  # of a MultiScaleTTA
    head = model.get('head') or {}
    codec, loss = head.get('decoder'), loss or head.get('loss')
    if not codec or not loss:
        raise ValueError(
            'The diagnostics are for top-down heatmap models, whose head has '
            f'a decoder and a loss, got a {model.get("type")} with the head '
            f'{head.get("type")}.'
        )
    if isinstance(loss, (list, tuple)):
        loss = loss[-1]
    target = dict(codec=codec, use_udp=_uses_udp(cfg))
    return [
        dict(type='HeatmapValidationLoss', loss=loss, **target),
        dict(type='LossConsistency', loss=loss, norm_item=norm_item, **target),
        dict(type='LossShare', loss=loss, **target),
        dict(type='DoubleCounting', **target),
        dict(type='SideSwaps', norm_item=norm_item),
        dict(type='KeypointErrors', norm_item=norm_item),
    ]


def _uses_udp(cfg: Config) -> Optional[bool]:
    """Whether the data of a config is cropped as UDP wants it, if known."""
    for loader in ('val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset') or {}
        for step in dataset.get('pipeline') or ():
            if component_class(step, TRANSFORMS) is TopdownAffine:
                return step.get('use_udp', False)
    return None
