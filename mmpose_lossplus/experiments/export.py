"""Top-down pose models as ONNX files."""

import copy
import inspect
import io
import json
import logging
import warnings
from typing import Any, Callable, Dict, List, Optional, Union
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.codecs.utils import get_heatmap_maximum
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import DATASETS, MODELS, TRANSFORMS
from onnx.tools.update_model_dims import update_inputs_outputs_dims
from torch import Tensor, nn

from mmpose_lossplus import __version__

from .configs import component_class, walk
from .decoding import HeatmapDecoder
from .progress import silence
from .split_deconvs import split_deconvs

OPSET = 14  # the first with HardSwish


class Deployed(nn.Module):
    """A pose model in evaluation, from crops to heatmaps.

    With ``normalize`` it takes pixels from 0 to 255 and applies its mean and
    std itself. :meth:`add_flip_test` and :meth:`add_decoder` put in what comes
    after the network.

    Raises:
        ValueError: If the head has no decoder, as one that is made of several.
    """

    def __init__(
        self, model: BasePoseEstimator, normalize: bool = False
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.normalize = normalize
        self.decoder: Optional[HeatmapDecoder] = None
        self.register_buffer('flip_indices', None)
        self.shift_heatmap = False
        decoder = getattr(model.head, 'decoder', None)
        if decoder is None:
            raise ValueError(
                'the head must have a decoder, which knows the size of a '
                f'crop, got a {type(model.head).__name__}'
            )
        width, height = decoder.input_size
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

    def add_flip_test(self, flip_indices: List[int], test_cfg: dict) -> None:
        """Give the mean of the heatmaps of a crop and of its mirror image.

        Args:
            flip_indices (list[int]): For each keypoint, which one it is in a
                mirror.
            test_cfg (dict): The model's; with ``shift_heatmap`` the mirrored
                heatmaps go one cell to the right, as in MMPose.

        Raises:
            ValueError: If the head gives something else than a heatmap for
                each of the ``flip_indices``.
        """
        number = self.check_heatmaps('--flip-test')
        mode = test_cfg.get('flip_mode', 'heatmap')
        if mode != 'heatmap':
            raise ValueError(
                f"--flip-test needs flip_mode 'heatmap', got {mode!r}"
            )
        if len(flip_indices) != number:
            raise ValueError(
                f'--flip-test needs flip_indices of {number} keypoints in the '
                f'metainfo of the test dataset, got {len(flip_indices)}'
            )
        self.flip_indices = torch.tensor(flip_indices)
        self.shift_heatmap = test_cfg.get('shift_heatmap', False)

    def add_decoder(self) -> None:
        """Give keypoints, scores and then heatmaps.

        Raises:
            ValueError: If the head gives no heatmaps, or they cannot be
                decoded by :class:`HeatmapDecoder`.
        """
        decoder = HeatmapDecoder(self.model.head.decoder)
        self.check_heatmaps('--decode')
        self.decoder = decoder

    def check_heatmaps(self, what: str) -> int:
        """Number of heatmaps, if ``what`` can be had.

        Raises:
            ValueError: If the head gives something else, or more.
        """
        shapes = [tuple(x.shape) for x in self.predict(self.random_input(1))]
        if [len(shape) for shape in shapes] != [4]:
            raise ValueError(
                f'{what} needs a head that gives heatmaps alone, got a '
                f'{type(self.model.head).__name__} with outputs of {shapes}'
            )
        return shapes[0][1]

    def heatmaps(self, image: Tensor) -> Union[Tensor, tuple]:
        """Map crops to heatmaps (B, K, h, w), or what else the head gives."""
        if self.normalize:
            image = (image - self.mean) / self.std
        if self.flip_indices is not None:
            image = torch.cat([image, image.flip(-1)])
        output = self.model(image, None, mode='tensor')
        # Of several stages the last.
        output = output[-1] if isinstance(output, list) else output
        if self.flip_indices is None:
            return output
        sizes = map(int, output.shape[1:])
        straight, mirrored = output.reshape(2, -1, *sizes)
        mirrored = mirrored.flip(-1).index_select(1, self.flip_indices)
        if self.shift_heatmap:
            mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], -1)
        return (straight + mirrored) * 0.5

    def forward(self, image: Tensor) -> Union[Tensor, tuple]:
        """The heatmaps, or with a decoder keypoints, scores and heatmaps."""
        output = self.heatmaps(image)
        if self.decoder is None:
            return output
        return (*self.decoder(output), output)

    @torch.no_grad()
    def predict(self, image: Tensor) -> List[Tensor]:
        """The heatmaps, or the two vectors of SimCC, as a list."""
        output = self.heatmaps(image)
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
    with silence(logging.INFO):  # MMEngine tells of each parameter
        net.model.init_weights()
    net.train().predict(net.random_input(4))
    return net.eval()


def metainfo(cfg: Config) -> Dict[str, Any]:
    """What the test dataset says of its keypoints, nothing without one."""
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    kind = component_class(dataset, DATASETS)
    meta = dataset.get('metainfo') or getattr(kind, 'METAINFO', None)
    return parse_pose_metainfo(meta) if meta else {}


def find_transform(cfg: Config, kind: str) -> dict:
    """The first transform of a kind in the test pipeline, or an empty one."""
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    wanted = TRANSFORMS.get(kind)
    for _, part in walk(dataset.get('pipeline', [])):
        if isinstance(part, dict):
            found = component_class(part, TRANSFORMS)
            if inspect.isclass(found) and issubclass(found, wanted):
                return part
    return {}


def describe(cfg: Config, net: Deployed, weights: str) -> Dict[str, str]:
    """What a caller has to know of a model, JSON under each key."""
    channels, height, width = net.input_shape
    model_cfg = cfg.model.get('module', cfg.model)
    preprocessor = model_cfg.get('data_preprocessor', {})
    color = 'RGB' if preprocessor.get('bgr_to_rgb') else 'BGR'
    meta = metainfo(cfg)
    names = meta.get('keypoint_id2name', {})
    padding = find_transform(cfg, 'GetBBoxCenterScale').get('padding', 1.25)
    properties = dict(
        mmpose_lossplus=__version__,
        weights=weights,
        input_size=[width, height],
        channels='grayscale' if channels == 1 else color,
        mean=net.mean.flatten().tolist(),
        std=net.std.flatten().tolist(),
        normalizes=net.normalize,
        flip_test=net.flip_indices is not None,
        decoded=net.decoder is not None,
        precision='fp32',
        box_padding=padding,
        box_aspect_ratio=width / height,
        use_udp=bool(find_transform(cfg, 'TopdownAffine').get('use_udp')),
        keypoint_names=[names[i] for i in sorted(names)],
        flip_indices=list(meta.get('flip_indices', [])),
        skeleton_links=meta.get('skeleton_links', []),
        keypoint_colors=as_lists(meta.get('keypoint_colors')),
        skeleton_link_colors=as_lists(meta.get('skeleton_link_colors')),
        decoder=model_cfg.head.decoder,
    )
    # Types may be classes.
    encode = json.JSONEncoder(default=lambda kind: kind.__name__).encode
    return {key: encode(value) for key, value in properties.items()}


def as_lists(colors: Optional[np.ndarray]) -> List[List[int]]:
    """RGB colours (N, 3) of a dataset, none where it has none."""
    return [] if colors is None else np.asarray(colors).tolist()


def _pad(
    x: Tensor, size: list, *args: Any, pad: Callable = F.pad, **kwargs: Any
) -> Tensor:
    """Padding by constants, which ONNX Runtime makes part of a convolution.

    It does so only if their value is said, too. Where inputs may have several
    sizes, multiples of the stride, it is the same for all of them.
    """
    if not args and not kwargs:
        kwargs = dict(value=0.0)
    return pad(x, [int(n) for n in size], *args, **kwargs)


def _pool(
    x: Tensor,
    size: Union[int, tuple],
    pool: Callable = F.adaptive_avg_pool2d,
) -> Tensor:
    """Pooling with a kernel where Lite-HRNet's has no counterpart in ONNX."""
    if isinstance(size, int) or any(n in (None, 1) for n in size):
        return pool(x, size)
    kernel = [int(n) // int(m) for n, m in zip(x.shape[2:], size)]
    return F.avg_pool2d(x, kernel)


@mock.patch.object(F, 'adaptive_avg_pool2d', _pool)
@mock.patch.object(F, 'pad', _pad)
def trace(
    net: nn.Module,
    image: Tensor,
    sizes: Dict[str, Dict[int, str]],
    opset: int,
    **options: Any,
) -> onnx.ModelProto:
    """Export what PyTorch does with an image, by its older exporter.

    Args:
        net (nn.Module): From an image to tensors.
        image (Tensor): An input, of a size that it takes.
        sizes (dict[str, dict[int, str]]): Names of the input and the outputs,
            and of those of their dimensions that are not constant.
        opset (int): Of ONNX's operators.
        **options: Of :func:`torch.onnx.export`.
    """
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False
    file, (name, *outputs) = io.BytesIO(), sizes
    with warnings.catch_warnings():
        # That all other sizes become constants, as they shall.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            net,
            (image,),
            file,
            opset_version=opset,
            input_names=[name],
            output_names=outputs,
            dynamic_axes=sizes,
            **options,
        )
    return onnx.load_from_string(file.getvalue())


def to_onnx(
    net: Deployed,
    split_deconv: bool = False,
    opset: int = OPSET,
    metadata: Optional[Dict[str, str]] = None,
) -> onnx.ModelProto:
    """Export a model, from ``image`` to ``heatmaps`` or the two of SimCC.

    With a decoder it gives ``keypoints`` and ``scores`` instead.

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
    if net.decoder:
        names = ['keypoints', 'scores', *names]
        outputs = [*net.decoder(*outputs), *outputs]
    if split_deconv:
        net = copy.deepcopy(net)
        split_deconvs(net.model.head)
    model = update_inputs_outputs_dims(
        trace(
            net, image, dict.fromkeys(['image', *names], {0: 'batch'}), opset
        ),
        {'image': ['batch', *image.shape[1:]]},
        # PyTorch has lost some of these sizes on the way.
        {n: ['batch', *x.shape[1:]] for n, x in zip(names, outputs)},
    )
    onnx.helper.set_model_props(model, metadata or {})
    if net.decoder:  # The heatmaps were there for their size alone.
        hide_heatmaps(model)
    return model


def hide_heatmaps(model: onnx.ModelProto) -> None:
    """Make the last output one that :func:`with_heatmaps` shows."""
    model.graph.value_info.append(model.graph.output.pop())


def with_heatmaps(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model that gives its heatmaps, decoded or not."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    graph = shown.graph
    for index, value in enumerate(graph.value_info):
        if value.name == 'heatmaps':
            graph.output.append(graph.value_info.pop(index))
            break
    return shown


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
    """Largest difference from PyTorch, in parts of the largest value.

    Keypoints and scores are left to :func:`decoding_difference`.
    """
    names = [output.name for output in session.get_outputs()]
    names = [name for name in names if name not in ('keypoints', 'scores')]
    differences = []
    for batch in (1, 3):
        image = net.random_input(batch)
        found = session.run(names, dict(image=image.numpy()))
        differences += [
            np.abs(a - b.numpy()).max() / b.abs().max()
            for a, b in zip(found, net.predict(image))
        ]
    return float(np.max(differences))  # unlike Python's, it keeps a NaN


def decoding_difference(
    net: Deployed, session: onnxruntime.InferenceSession
) -> float:
    """Largest difference from MMPose's decoder, in pixels of the crop.

    It decodes the session's own heatmaps: where two cells are as high, what
    rounding did before would decide. Left out are heatmaps that are nowhere
    positive, which have no keypoint, and those that MMPose refines by more
    than two cells, where it divides by nearly nothing.
    """
    names = ['keypoints', 'scores', 'heatmaps']
    scale = net.decoder.scale.numpy()  # type: ignore[union-attr]
    differences = []
    for batch in (1, 3):
        image = net.random_input(batch).numpy()
        for points, scores, maps in zip(*session.run(names, {'image': image})):
            cells, highest = get_heatmap_maximum(maps)
            (decoded,), _ = net.model.head.decoder.decode(maps)
            near = (np.abs(decoded / scale - cells) <= 2).all(1)
            difference = np.abs(points - decoded)[near & (highest > 0)]
            differences.append(difference.max(initial=0))
            differences.append(np.abs(scores - highest).max())
    return float(np.max(differences))
