"""Detectors of people as ONNX files, for tools/deployment/run_onnx.py."""

import inspect
import json
from typing import Dict, Optional, Tuple

import numpy as np
import onnx
import onnxruntime
import torch
from mmdet.models.dense_heads import RTMDetHead, RTMDetInsHead
from mmdet.models.detectors import BaseDetector
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmpose_lossplus import __version__

from .configs import component_class
from .export import trace

CLASS = 'person'


class DeployedDetector(nn.Module):
    """An RTMDet in evaluation, from a picture to the boxes of people.

    It takes pixels from 0 to 255 and applies its mean and std itself. Its NMS
    is the caller's, which has one of its own and need not wait for all boxes.

    Args:
        model (BaseDetector): The detector.
        classes (tuple[str]): Of its labels.

    Raises:
        ValueError: If its head is not that of RTMDet, or finds no people.
    """

    def __init__(self, model: BaseDetector, classes: Tuple[str, ...]) -> None:
        super().__init__()
        head = getattr(model, 'bbox_head', None)
        kind = type(head or model).__name__
        if isinstance(head, RTMDetInsHead) or not isinstance(head, RTMDetHead):
            raise ValueError(f'the detector must be an RTMDet, got a {kind}')
        if CLASS not in classes:
            few = ', '.join(classes[:5])
            raise ValueError(f'it has no class "{CLASS}" but {few}')
        self.model = revert_sync_batchnorm(model).eval().requires_grad_(False)
        self.label = list(classes).index(CLASS)
        preprocessor = model.data_preprocessor
        for name, default in (('mean', 0.0), ('std', 1.0)):
            value = getattr(preprocessor, name, torch.full((3, 1, 1), default))
            self.register_buffer(name, value)

    def forward(self, image: Tensor) -> Tensor:
        """Map a picture (1, 3, H, W) to boxes (N, 5): corners and scores."""
        image = (image - self.mean) / self.std
        scores, distances = self.model(image, mode='tensor')
        head = self.model.bbox_head
        priors = head.prior_generator.grid_priors(
            [x.shape[-2:] for x in scores], image.dtype, image.device
        )
        distances = [x[0].flatten(1).T for x in distances]
        boxes = head.bbox_coder.decode(torch.cat(priors), torch.cat(distances))
        scores = [x[0, self.label].flatten() for x in scores]
        return torch.cat([boxes, torch.cat(scores).sigmoid()[:, None]], 1)


def is_detector(cfg: Config) -> bool:
    """Whether a config is one of MMDet's."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        kind = component_class(cfg.get('model', {}), MODELS)
    return inspect.isclass(kind) and issubclass(kind, BaseDetector)


def random_detector(
    cfg: Config, classes: Optional[Tuple[str, ...]] = None
) -> DeployedDetector:
    """Build the detector of a config, with the config's classes if not others.

    Raises:
        ValueError: If it is none that can be exported.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        if not classes:
            dataset = cfg.get('test_dataloader', {}).get('dataset', {})
            kind = component_class(dataset, DATASETS)
            meta = getattr(kind, 'METAINFO', {})
            classes = {**meta, **dataset.get('metainfo', {})}.get('classes')
        return DeployedDetector(MODELS.build(cfg.model), tuple(classes or ()))


def describe_detector(
    cfg: Config, net: DeployedDetector, weights: str
) -> Dict[str, str]:
    """What a caller has to know of a detector, JSON under each key.

    Raises:
        ValueError: If its test pipeline does something else than ``Resize``
            with ``keep_ratio`` and perhaps ``Pad``.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        steps = {
            getattr(component_class(step, TRANSFORMS), '__name__', '?'): step
            for step in cfg.test_dataloader.dataset.pipeline
        }
    resize, pad = steps.get('Resize', {}), steps.get('Pad')
    usual = {'LoadImageFromFile', 'LoadAnnotations', 'Resize', 'Pad'}
    others = set(steps) - usual - {'PackDetInputs'}
    if others or not resize.get('keep_ratio') or len(resize['scale']) != 2:
        raise ValueError(
            'its test pipeline must load, Resize with keep_ratio, and Pad, '
            f'got {", ".join(steps)}'
        )
    preprocessor = cfg.model.get('data_preprocessor', {})
    value = net.mean.flatten().tolist()  # which becomes 0
    if pad:
        value = pad.get('pad_val', 0)
        value = value.get('img', 0) if isinstance(value, dict) else value
        value = np.broadcast_to(value, 3).tolist()
    properties = dict(
        mmpose_lossplus=__version__,
        weights=weights,
        detects=CLASS,
        channels='RGB' if preprocessor.get('bgr_to_rgb') else 'BGR',
        fits_into=list(resize['scale']),
        pad_size=list(pad['size']) if pad and pad.get('size') else None,
        pad_divisor=max(preprocessor.get('pad_size_divisor', 1), 32),
        pad_value=value,
        nms_overlap=cfg.model.test_cfg.nms.iou_threshold,
    )
    return {key: json.dumps(value) for key, value in properties.items()}


def detector_to_onnx(
    net: DeployedDetector, opset: int, metadata: Dict[str, str]
) -> onnx.ModelProto:
    """Export a detector, from ``image`` (1, 3, H, W) to ``boxes`` (N, 5).

    Height and width are multiples of 32, the largest stride.
    """
    model = trace(
        net,
        torch.rand(1, 3, 64, 96),
        {'image': {2: 'height', 3: 'width'}, 'boxes': {0: 'number'}},
        opset,
        # PyTorch would fold the norms of all levels into the convolutions
        # that these share.
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    onnx.helper.set_model_props(model, metadata)
    return model


@torch.no_grad()
def detector_difference(
    net: DeployedDetector, session: onnxruntime.InferenceSession
) -> float:
    """Largest difference from PyTorch, in parts of the largest value."""
    differences = []
    for size in ((64, 96), (160, 128)):
        image = 255 * torch.rand(1, 3, *size)
        expected = net(image).numpy()
        (found,) = session.run(None, dict(image=image.numpy()))
        # Scores and coordinates are of different sizes.
        for part in (slice(4), slice(4, 5)):
            a, b = found[:, part], expected[:, part]
            differences.append(np.abs(a - b).max() / np.abs(b).max())
    return float(np.max(differences))
