"""ONNX files of :mod:`.export` in 8 or 16 bits.

Only the network itself changes: what its file does before and after, such as
the flip test and decoding, stays in fp32, and so do the inputs and outputs.
"""

import copy
import json
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Optional,
    Tuple,
)
from unittest import mock

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import digit_version
from mmpose.registry import DATASETS
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor
from torch.utils.data import Dataset

from .configs import missing_data, walk
from .export import (
    Deployed,
    hide_heatmaps,
    load_session,
    metainfo,
    with_heatmaps,
)
from .files import PICTURES
from .progress import silence

OLDEST = '1.19'  # those before use what onnx has no more
CROPS, FEWEST = 128, 16
MEASURED = 32  # crops, when each part is tried alone
# Of the heatmaps' squares, how much all parts in int8 may change together.
LIMIT = 2e-3
# How names of the casts to 16 bits end that ONNX Runtime puts in.
CASTS = ('_cast_to_fp16_node', 'graph_input_cast0')
# ONNX Runtime has no kernel of integers for them.
FLOATS = ('ConvTranspose',)


def calibration_people(cfg: Config, source: str) -> List[dict]:
    """People from whose crops the ranges of all numbers are taken.

    Args:
        cfg (Config): Of the model; its validation says how crops are made.
        source (str): Another config or the same one, for the pictures and
            boxes that it trains with; or a folder of pictures, each the box
            of one person.

    Returns:
        list[dict]: As the pipeline gives them, at most ``CROPS``, evenly from
        all that there are.

    Raises:
        ValueError: If pictures or labels are missing, are too few, or cannot
            be read, or if ONNX Runtime is too old.
    """
    version = onnxruntime.__version__
    if digit_version(version) < digit_version(OLDEST):
        raise ValueError(
            f'onnxruntime {OLDEST} or newer is needed, got {version}'
        )
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    pipeline = cfg.val_dataloader.dataset.pipeline
    if Path(source).is_dir():
        people = sorted(Path(source).iterdir())
        people = [p for p in people if p.suffix.lower() in PICTURES]
        meta, transform = metainfo(cfg), Compose(pipeline)

        def load(index: int) -> dict:
            return transform({**meta, **whole_picture(people[index])})
    else:
        people = training_people(Config.fromfile(source), pipeline)
        load = people.__getitem__
    if len(people) < FEWEST:
        raise ValueError(
            f'{source} has {len(people)} people to calibrate with, and at '
            f'least {FEWEST} are needed, better {CROPS}'
        )
    number = min(CROPS, len(people))
    indices = np.linspace(0, len(people) - 1, number).round()
    return [load(int(index)) for index in indices]


def whole_picture(path: Path) -> dict:
    """A picture as the box of one person, before the pipeline.

    Raises:
        ValueError: If it cannot be read.
    """
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f'OpenCV cannot read {path}')
    height, width = image.shape[:2]
    box = np.float32([[0, 0, width, height]])
    return dict(img_path=str(path), bbox=box, bbox_score=np.ones(1))


def training_people(cfg: Config, pipeline: list) -> Dataset:
    """The data set that a config trains with, with another pipeline.

    Raises:
        ValueError: If a file is missing.
    """
    missing = missing_data(cfg, ['train_dataloader'])
    if missing:
        raise ValueError(missing.rstrip('.'))
    dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    for _, part in walk(dataset):
        if isinstance(part, dict) and 'pipeline' in part:
            # A data set of several takes what these give.
            part['pipeline'] = pipeline if 'ann_file' in part else []
    with silence():
        return DATASETS.build(dataset)


def as_input(net: Deployed, images: Tensor) -> np.ndarray:
    """Normalized crops as a file takes them (B, C, H, W)."""
    return (images * net.std + net.mean if net.normalize else images).numpy()


def crops_of(net: Deployed, people: List[dict]) -> np.ndarray:
    """What a file takes for :func:`calibration_people` (N, C, H, W)."""
    batch = pseudo_collate(people)
    return as_input(net, net.model.data_preprocessor(batch)['inputs'])


def parts_of(model: onnx.ModelProto) -> Dict[str, List[str]]:
    """Names of the network's nodes, by the module that they are of.

    Modules are told down to the stages of a backbone. What the file does
    besides the network is in none.
    """
    parts = defaultdict(list)
    for node in model.graph.node:
        root, *modules = node.name.lstrip('/').split('/')[:-1] or ['']
        if root == 'model':
            parts['/'.join(modules[:2])].append(node.name)
    return dict(parts)


class Reader(CalibrationDataReader):
    """Crops (N, C, H, W), one after the other."""

    def __init__(self, crops: Iterable[np.ndarray]) -> None:
        self.crops = iter(crops)

    def get_next(self) -> Optional[Dict[str, np.ndarray]]:
        crop = next(self.crops, None)
        return None if crop is None else dict(image=crop[None])


class Quantizer:
    """A model whose parts can be put into int8.

    By ONNX Runtime's static quantization, with the smallest and the largest
    number that was met as the ends of a range: activations are uint8, weights
    int8 with a scale for each channel.

    Args:
        model (onnx.ModelProto): Of :func:`.export.to_onnx`.
        crops (np.ndarray): What it takes (N, C, H, W).
    """

    def __init__(self, model: onnx.ModelProto, crops: np.ndarray) -> None:
        self.model, self.crops = model, crops
        shown = with_heatmaps(model)
        with TemporaryDirectory() as folder, silence():
            path = str(Path(folder, 'model.onnx'))
            options = onnxruntime.SessionOptions()
            # Batch norms and padding become part of convolutions; where
            # quant_pre_process infers no symbolic shapes it loses that.
            options.graph_optimization_level = (
                onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            )
            options.optimized_model_filepath = path
            onnxruntime.InferenceSession(
                shown.SerializeToString(), options, ['CPUExecutionProvider']
            )
            quant_pre_process(
                path, path, skip_optimization=True, skip_symbolic_shape=True
            )
            self.prepared = onnx.load(path)
        nodes = self.prepared.graph.node
        floats = {x.name for x in nodes if x.op_type in FLOATS}
        parts = {
            part: [name for name in names if name not in floats]
            for part, names in parts_of(self.prepared).items()
        }
        #: Names of nodes by part.
        self.parts = {part: names for part, names in parts.items() if names}

    def quantize(self, parts: Iterable[str]) -> onnx.ModelProto:
        """The model with some parts in int8."""
        nodes = [node for part in parts for node in self.parts[part]]
        with TemporaryDirectory() as folder, silence():
            paths = [str(Path(folder, f'{i}.onnx')) for i in range(2)]
            onnx.save(self.prepared, paths[0])
            quantize_static(
                *paths,
                Reader(self.crops),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=nodes,
            )
            return finish(onnx.load(paths[1]), self.model, 'int8')


def to_int8(
    model: onnx.ModelProto, crops: np.ndarray, limit: float = LIMIT
) -> Tuple[onnx.ModelProto, Dict[str, float]]:
    """Put a model into int8, but for the parts that lose too much.

    Each part is tried alone. As far as the errors of parts are independent,
    they add up; so the worst are left out until the sum of all others is
    within the limit.

    Args:
        model (onnx.ModelProto): Of :func:`.export.to_onnx`.
        crops (np.ndarray): What it takes (N, C, H, W), for calibration.
        limit (float): The largest sum of :func:`error_of` each part. Defaults
            to ``LIMIT``.

    Returns:
        tuple[onnx.ModelProto, dict[str, float]]: The model, and the errors of
        the parts that stay in fp32, the worst first.

    Raises:
        ValueError: If nothing is within the limit.
    """
    few = crops[:: -(-len(crops) // MEASURED)]
    trial = Quantizer(model, few)
    errors = {
        part: error_of(trial.quantize([part]), model, few)
        for part in trial.parts
    }
    left, floats = sorted(errors, key=errors.__getitem__), {}
    while sum(errors[part] for part in left) > limit:
        part = left.pop()
        floats[part] = errors[part]
    if not left:
        raise ValueError(
            f'in int8, each of {", ".join(floats)} alone changes the heatmaps '
            f'by more than {limit**0.5:.1%}'
        )
    return Quantizer(model, crops).quantize(left), floats


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the network of a model into 16-bit floats."""
    shown = with_heatmaps(model)
    inside = set(sum(parts_of(model).values(), []))
    others = [x.name for x in shown.graph.node if x.name not in inside]
    with silence():
        half = convert_float_to_float16(
            shown, keep_io_types=True, node_block_list=others
        )
    # What stays in fp32 is given on in 16 bits, which is too few for places,
    # and by casts that stand there once for each who takes it.
    nodes = {node.output[0]: node for node in half.graph.node}
    for node in nodes.values():
        source = nodes.get(node.input[0]) if node.op_type == 'Cast' else None
        if source and source.name.endswith(CASTS):
            node.op_type, node.input[0] = 'Identity', source.input[0]
            del node.attribute[:]
    del half.graph.node[:]
    half.graph.node.extend(nodes.values())
    sorted_model = ONNXModel(half)
    sorted_model.topological_sort()
    return finish(sorted_model.model, model, 'fp16')


def finish(
    model: onnx.ModelProto, original: onnx.ModelProto, precision: str
) -> onnx.ModelProto:
    """Make a changed model with heatmaps the file that the original one is."""
    model.ir_version = original.ir_version
    # Others than are used may be too new for a runtime.
    domains = {node.domain for node in model.graph.node}
    kept = [x for x in model.opset_import if x.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    properties = {x.key: x.value for x in original.metadata_props}
    properties['precision'] = json.dumps(precision)
    onnx.helper.set_model_props(model, properties)
    if len(model.graph.output) > len(original.graph.output):
        hide_heatmaps(model)
    return model


def network_of(model: onnx.ModelProto) -> Callable:
    """From crops to a list of heatmaps, or of the two vectors of SimCC."""
    session = load_session(with_heatmaps(model))
    names = [x.name for x in session.get_outputs()]
    names = [name for name in names if name not in ('keypoints', 'scores')]
    return lambda crops: session.run(names, dict(image=crops))


def error_of(
    model: onnx.ModelProto, original: onnx.ModelProto, crops: np.ndarray
) -> float:
    """Mean squared change of heatmaps, in parts of their mean square."""
    wanted, found = (
        np.concatenate([x.ravel() for x in network_of(m)(crops)])
        for m in (original, model)
    )
    return float(np.square(found - wanted).mean() / np.square(wanted).mean())


def evaluate(
    cfg: Config, net: Deployed, model: onnx.ModelProto
) -> Dict[str, float]:
    """What the config's validation measures of a model's heatmaps.

    All else is MMPose's, with the config's flip test if the model has none.

    Args:
        cfg (Config): Of the model.
        net (Deployed): What was exported.
        model (onnx.ModelProto): Its file.

    Returns:
        dict[str, float]: Metrics by name.
    """
    network = network_of(model)

    def forward(images: Tensor) -> Any:
        outputs = network(as_input(net, images))
        outputs = [torch.from_numpy(x) for x in outputs]
        return outputs if several else outputs[0]

    with silence(), ExitStack() as stack:
        pose = net.model
        several = not isinstance(
            pose(net.random_input(1), None, mode='tensor'), Tensor
        )
        patch = mock.patch.object
        stack.enter_context(patch(pose, 'extract_feat', lambda x: x))
        stack.enter_context(patch(pose.head, 'forward', forward))
        if net.flip_indices is not None:
            options = dict(flip_test=False)
            stack.enter_context(mock.patch.dict(pose.test_cfg, options))
        loader = Runner.build_dataloader(cfg.val_dataloader)
        evaluator = Evaluator(cfg.val_evaluator)
        evaluator.dataset_meta = loader.dataset.metainfo
        for batch in loader:
            with torch.no_grad():
                evaluator.process(pose.test_step(batch), batch)
        return evaluator.evaluate(len(loader.dataset))
