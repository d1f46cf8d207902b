"""Top-down pose models as ONNX files."""

import copy
import inspect
import io
import json
import logging
import warnings
from typing import Dict, List, Optional, Union
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import DATASETS, MODELS
from onnx.tools.update_model_dims import update_inputs_outputs_dims
from torch import Tensor, nn

from mmpose_lossplus import __version__

from .configs import component_class
from .split_deconvs import split_deconvs

OPSET = 14  # the first with HardSwish


class Deployed(nn.Module):
    """A pose model in evaluation, from crops to heatmaps.

    With ``normalize`` it takes pixels from 0 to 255 and applies its mean and
    std itself.
    """

    def __init__(
        self, model: BasePoseEstimator, normalize: bool = False
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.normalize = normalize
        width, height = model.head.decoder.input_size
        first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
        #: Channels, height and width of a crop.
        self.input_shape = [first.in_channels, height, width]
        for name, default in (('mean', 0.0), ('std', 1.0)):
            default = torch.full((1, 1, 1), default)
            value = getattr(model.data_preprocessor, name, default)
            self.register_buffer(name, value)

    def random_input(self, batch: int) -> Tensor:
        """Crops of noise (B, C, H, W)."""
        shape, device = (batch, *self.input_shape), self.mean.device
        image = 255 * torch.rand(shape, device=device)
        return image if self.normalize else (image - self.mean) / self.std

    def forward(self, image: Tensor) -> Union[Tensor, tuple]:
        """Map crops to heatmaps (B, K, h, w), or what else the head gives."""
        if self.normalize:
            image = (image - self.mean) / self.std
        output = self.model(image, None, mode='tensor')
        # Of several stages the last.
        return output[-1] if isinstance(output, list) else output

    @torch.no_grad()
    def predict(self, image: Tensor) -> List[Tensor]:
        """The heatmaps, or the two vectors of SimCC, as a list."""
        output = self(image)
        return [output] if isinstance(output, Tensor) else list(output)


def random_model(cfg: Config, normalize: bool = False) -> Deployed:
    """Build the model of a config, the one inside a test-time augmentation.

    Its weights are random, and its batch norms have seen noise: without, they
    would change nothing.
    """
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    model_cfg = cfg.model.get('module', cfg.model)
    model_cfg.backbone.init_cfg = None  # nothing is downloaded
    net = Deployed(MODELS.build(model_cfg), normalize)
    logging.disable(logging.INFO)  # MMEngine tells of each parameter
    net.model.init_weights()
    logging.disable(logging.NOTSET)
    net.train().predict(net.random_input(4))
    return net.eval()


def describe(cfg: Config, net: Deployed, weights: str) -> Dict[str, str]:
    """What a caller has to know of a model, JSON under each key."""
    channels, height, width = net.input_shape
    model_cfg = cfg.model.get('module', cfg.model)
    preprocessor = model_cfg.get('data_preprocessor', {})
    color = 'RGB' if preprocessor.get('bgr_to_rgb') else 'BGR'
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    kind = component_class(dataset, DATASETS)
    meta = dataset.get('metainfo') or getattr(kind, 'METAINFO', None)
    meta = parse_pose_metainfo(meta) if meta else {}
    names = meta.get('keypoint_id2name', {})
    properties = dict(
        mmpose_lossplus=__version__,
        weights=weights,
        input_size=[width, height],
        channels='grayscale' if channels == 1 else color,
        mean=net.mean.flatten().tolist(),
        std=net.std.flatten().tolist(),
        normalizes=net.normalize,
        keypoint_names=[names[i] for i in sorted(names)],
        flip_indices=list(meta.get('flip_indices', [])),
        decoder=model_cfg.head.decoder,
    )
    # Types may be classes.
    encode = json.JSONEncoder(default=lambda kind: kind.__name__).encode
    return {key: encode(value) for key, value in properties.items()}


def _pool(x: Tensor, size: Union[int, tuple], pool=F.adaptive_avg_pool2d):
    """Pooling with a kernel where Lite-HRNet's has no counterpart in ONNX."""
    if isinstance(size, int) or any(n in (None, 1) for n in size):
        return pool(x, size)
    kernel = [int(n) // int(m) for n, m in zip(x.shape[2:], size)]
    return F.avg_pool2d(x, kernel)


@mock.patch.object(F, 'adaptive_avg_pool2d', _pool)
def to_onnx(
    net: Deployed,
    split_deconv: bool = False,
    opset: int = OPSET,
    metadata: Optional[Dict[str, str]] = None,
) -> onnx.ModelProto:
    """Export a model, from ``image`` to ``heatmaps`` or the two of SimCC.

    Raises:
        ValueError: If the head gives something else, or cannot be rewritten
            by :func:`split_deconvs`.
    """
    image = net.random_input(1)
    outputs = net.predict(image)
    kinds = {(4,): ['heatmaps'], (3, 3): ['simcc_x', 'simcc_y']}
    names = kinds.get(tuple(x.ndim for x in outputs))
    if names is None:
        raise ValueError(
            'the head must give heatmaps or the two vectors of SimCC, got a '
            f'{type(net.model.head).__name__}'
        )
    if split_deconv:
        net = copy.deepcopy(net)
        split_deconvs(net.model.head)
    options = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False
    file = io.BytesIO()
    with warnings.catch_warnings():
        # That sizes but the batch's become constants, as they shall.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            net,
            (image,),
            file,
            opset_version=opset,
            input_names=['image'],
            output_names=names,
            dynamic_axes=dict.fromkeys(['image', *names], {0: 'batch'}),
            **options,
        )
    model = update_inputs_outputs_dims(
        onnx.load_from_string(file.getvalue()),
        {'image': ['batch', *image.shape[1:]]},
        # PyTorch has lost some of these sizes on the way.
        {n: ['batch', *x.shape[1:]] for n, x in zip(names, outputs)},
    )
    onnx.helper.set_model_props(model, metadata or {})
    return model


def load_session(
    model: onnx.ModelProto, threads: int = 0
) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, on the CPU, 0 threads: all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else its threads go on for a while and slow down who comes next.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, ['CPUExecutionProvider']
    )


def relative_difference(
    net: Deployed, session: onnxruntime.InferenceSession
) -> float:
    """Largest difference from PyTorch, in parts of the largest value."""
    differences = []
    for batch in (1, 3):
        image = net.random_input(batch)
        found = session.run(None, dict(image=image.numpy()))
        differences += [
            np.abs(a - b.numpy()).max() / b.abs().max()
            for a, b in zip(found, net.predict(image))
        ]
    return float(np.max(differences))  # unlike Python's, it keeps a NaN
