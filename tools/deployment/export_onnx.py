"""Write a top-down pose model as an ONNX file, checked against PyTorch.

The file takes a batch of any size of crops of people and gives the heatmaps
(those of the last stage if there are several), or the two vectors of SimCC.
Flip test and decoding are the caller's; what they need is in the metadata of
the file, as JSON under each key.
"""

import argparse
import copy
import inspect
import io
import json
import logging
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.registry import MODELS
from torch import Tensor, nn

import mmpose_lossplus

try:
    import onnx
    import onnxruntime
except ImportError as error:
    sys.exit(f'{error}: run "pip install onnx onnxruntime".')

# What the tools share lies in tools/.
from mmpose_lossplus.experiments.files import replace
from mmpose_lossplus.experiments.split_deconvs import fold, split_deconvs
from mmpose_lossplus.experiments.weights import load_from_file, summary

OPSET = 14  # the first with HardSwish
if digit_version(torch.__version__) < digit_version('1.10.0'):
    OPSET = 13  # the last there
    # PyTorch 1.8 cannot export it.
    torch.onnx.register_custom_op_symbolic(
        '::hardsigmoid',
        lambda g, x: g.op('HardSigmoid', x, alpha_f=1 / 6),
        9,
    )
BATCHES = (1, 3)  # that are checked
TOLERANCE = 1e-4  # of the largest value


class Deployed(nn.Module):
    """A pose model from crops to heatmaps.

    Args:
        model (BasePoseEstimator): The model, put into evaluation.
        normalize (bool): Whether to apply its mean and std to the crops.
            Defaults to False.
    """

    def __init__(
        self, model: BasePoseEstimator, normalize: bool = False
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.normalize = normalize

    @property
    def input_shape(self) -> List[int]:
        """Channels, height and width of a crop, those of the decoder."""
        width, height = self.model.head.decoder.input_size
        return [3, height, width]

    def normalized(self, image: Tensor) -> Tensor:
        """Apply mean and std to crops (B, 3, H, W)."""
        preprocessor = self.model.data_preprocessor
        return (image - preprocessor.mean) / preprocessor.std

    def random_input(self, batch: int) -> Tensor:
        """Crops of noise (B, 3, H, W)."""
        image = 255 * torch.rand(batch, *self.input_shape)
        return image if self.normalize else self.normalized(image)

    def forward(self, image: Tensor) -> Union[Tensor, Tuple[Tensor, ...]]:
        """Predict.

        Args:
            image (Tensor): Crops (B, 3, H, W), of pixels from 0 to 255 if
                they are to be normalized here.

        Returns:
            Tensor | Tuple[Tensor]: Heatmaps (B, K, h, w), of the last stage
            if there are several, or what else the head gives.
        """
        if self.normalize:
            image = self.normalized(image)
        output = self.model(image, None, mode='tensor')
        return output[-1] if isinstance(output, list) else output

    def initialize(self) -> None:
        """Set random weights, those with which a training starts.

        Batch norm has seen a batch of noise. Without, it would change
        nothing.
        """
        logging.disable(logging.INFO)  # MMEngine tells of each parameter
        self.model.init_weights()
        logging.disable(logging.NOTSET)
        self.train()
        with torch.no_grad():
            self(self.random_input(4))
        self.eval()

    def folded(self, split_deconv: bool = False) -> 'Deployed':
        """A copy to export, see :func:`fold`.

        Args:
            split_deconv (bool): Whether to rewrite the light head, see
                :func:`split_deconvs`. Defaults to False.

        Returns:
            Deployed: The copy.

        Raises:
            ValueError: If the head cannot be rewritten.
        """
        net = copy.deepcopy(self)
        fold(net)
        if split_deconv:
            split_deconvs(net.model.head)
        return net


def build_model(cfg: Config) -> BasePoseEstimator:
    """Build the model of a config, without downloading weights.

    Args:
        cfg (Config): The config. Of a test-time augmentation it is the model
            inside that is built.

    Returns:
        BasePoseEstimator: The model.
    """
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    model_cfg = _model_cfg(cfg)
    model_cfg.backbone.init_cfg = None
    return MODELS.build(model_cfg)


def _model_cfg(cfg: Config) -> dict:
    return cfg.model.get('module', cfg.model)


@contextmanager
def _traceable_pooling() -> Iterator[None]:
    """Let adaptive pooling be traced as pooling with a kernel.

    That of Lite-HRNet, to a fraction of the size, has no counterpart in ONNX.
    """
    pool = F.adaptive_avg_pool2d

    def traceable(x: Tensor, size: Union[int, Tuple[int, ...]]) -> Tensor:
        if isinstance(size, int) or any(n in (None, 1) for n in size):
            return pool(x, size)
        kernel = [int(n) // int(m) for n, m in zip(x.shape[2:], size)]
        return F.avg_pool2d(x, kernel)

    F.adaptive_avg_pool2d = traceable
    try:
        yield
    finally:
        F.adaptive_avg_pool2d = pool


def export(
    net: Deployed,
    opset: int = OPSET,
    metadata: Optional[Dict[str, str]] = None,
) -> onnx.ModelProto:
    """Export a model.

    Args:
        net (Deployed): The model.
        opset (int): Version of ONNX's operators. Defaults to 14, with
            PyTorch before 1.10 to 13.
        metadata (Dict[str, str], optional): Properties of the file. Defaults
            to None.

    Returns:
        onnx.ModelProto: From ``image`` (B, 3, H, W) to ``heatmaps``, or to
        ``simcc_x`` and ``simcc_y``.

    Raises:
        ValueError: If the head gives something else.
    """
    image = net.random_input(1)
    with torch.no_grad():
        output = net(image)
    if isinstance(output, Tensor) and output.ndim == 4:
        names = ['heatmaps']
    elif isinstance(output, tuple) and len(output) == 2:
        names = ['simcc_x', 'simcc_y']
    else:
        raise ValueError(
            'the head must give heatmaps or the two vectors of SimCC, but '
            f'{type(net.model.head).__name__} gives something else'
        )
    options = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False
    file = io.BytesIO()
    with warnings.catch_warnings(), _traceable_pooling():
        # That sizes but the batch's become constants, as they shall.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            net,
            (image,),
            file,
            opset_version=opset,
            input_names=['image'],
            output_names=names,
            dynamic_axes={name: {0: 'batch'} for name in ['image', *names]},
            **options,
        )
    model = onnx.load_from_string(file.getvalue())
    outputs = [output] if isinstance(output, Tensor) else output
    for value, tensor in zip(model.graph.output, outputs):
        # Sizes that PyTorch has lost on the way, all but the batch's.
        dims = value.type.tensor_type.shape.dim[1:]
        for dim, size in zip(dims, tensor.shape[1:]):
            dim.dim_value = size
    onnx.helper.set_model_props(model, metadata or {})
    return model


def load_session(
    model: onnx.ModelProto, threads: int = 0
) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, on the CPU.

    Args:
        model (onnx.ModelProto): The model.
        threads (int): How many to use, 0 for as many as there are cores.
            Defaults to 0.

    Returns:
        onnxruntime.InferenceSession: The session.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else its threads go on for a while and slow down who comes next.
    options.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=['CPUExecutionProvider'],
    )


def compare(
    net: Deployed, session: onnxruntime.InferenceSession
) -> Iterator[Tuple[int, float, float]]:
    """Compare ONNX Runtime with PyTorch on noise.

    Args:
        net (Deployed): The model in PyTorch.
        session (onnxruntime.InferenceSession): The same in ONNX Runtime.

    Yields:
        Tuple[int, float, float]: Size of the batch, largest difference, and
        largest absolute value in PyTorch.
    """
    for batch in BATCHES:
        image = net.random_input(batch)
        with torch.no_grad():
            wanted = net(image)
        wanted = [wanted] if isinstance(wanted, Tensor) else wanted
        wanted = [x.numpy() for x in wanted]
        found = session.run(None, dict(image=image.numpy()))
        # Unlike Python's, NumPy's maximum does not lose a NaN.
        difference, largest = (
            float(np.max([np.abs(x).max() for x in arrays]))
            for arrays in ([a - b for a, b in zip(found, wanted)], wanted)
        )
        yield batch, difference, largest


def describe(cfg: Config, net: Deployed) -> Dict[str, str]:
    """What a caller has to know of a model, as metadata of the file.

    Args:
        cfg (Config): Its config.
        net (Deployed): The model.

    Returns:
        Dict[str, str]: JSON under each key.
    """
    _, height, width = net.input_shape
    model_cfg = _model_cfg(cfg)
    preprocessor = net.model.data_preprocessor
    rgb = model_cfg['data_preprocessor'].get('bgr_to_rgb')
    meta = dataset_meta_from_config(cfg, 'test') or {}
    names = meta.get('keypoint_id2name', {})
    properties = dict(
        mmpose_lossplus=mmpose_lossplus.__version__,
        input_size=[width, height],
        channels='RGB' if rgb else 'BGR',
        mean=preprocessor.mean.flatten().tolist(),
        std=preprocessor.std.flatten().tolist(),
        normalizes=net.normalize,
        keypoint_names=[names[i] for i in sorted(names)],
        flip_indices=list(meta.get('flip_indices', [])),
        decoder=model_cfg['head']['decoder'],
    )
    return {key: json.dumps(value) for key, value in properties.items()}


def load(
    config: str, checkpoint: Optional[str], normalize: bool
) -> Tuple[Config, Deployed]:
    """Read a config and build its model.

    Args:
        config (str): File of the config.
        checkpoint (str, optional): File of the checkpoint. None leaves the
            weights random.
        normalize (bool): See :class:`Deployed`.

    Returns:
        tuple: The config and the model.
    """
    for kind, path in (('config', config), ('checkpoint', checkpoint)):
        if path and not Path(path).is_file():
            sys.exit(f'The {kind} {path} does not exist.')
    try:
        cfg = Config.fromfile(config)
        net = Deployed(build_model(cfg), normalize)
        net.random_input(1)
    except Exception as error:  # a config is code and can raise anything
        sys.exit(
            f'The config {config} gives no top-down model: {summary(error)}.'
        )
    if checkpoint is None:
        print('NO CHECKPOINT: the weights are RANDOM, good for speed alone.')
        net.initialize()
        return cfg, net
    load_from_file(net.model, checkpoint, config)
    return cfg, net


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='of a top-down model')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='its weights (default: random ones, for benchmarks)',
    )
    parser.add_argument('--out', type=Path, required=True, help='ONNX file')
    parser.add_argument(
        '--split-deconv',
        action='store_true',
        help='rewrite the light head, its depthwise deconvolutions as '
        'convolutions and its attention as a part of the final layer: the '
        'same heatmaps, sooner in ONNX Runtime and OpenVINO on a CPU',
    )
    parser.add_argument(
        '--normalize',
        action='store_true',
        help='take pixels from 0 to 255 and apply mean and std inside '
        '(default: the caller has done that)',
    )
    parser.add_argument(
        '--opset',
        type=int,
        default=OPSET,
        metavar='N',
        help=f"version of ONNX's operators (default: {OPSET})",
    )
    # The checkpoint may come after --out too.
    return parser.parse_intermixed_args()


def main() -> None:
    args = parse_args()
    if not args.out.parent.is_dir():
        sys.exit(f'--out {args.out} cannot be written: there is no folder.')
    cfg, net = load(args.config, args.checkpoint, args.normalize)
    metadata = describe(cfg, net)
    metadata['weights'] = json.dumps(args.checkpoint or 'random')
    try:
        folded = net.folded(args.split_deconv)
    except ValueError as error:
        sys.exit(f'--split-deconv does not fit {args.config}: {error}.')
    try:
        model = export(folded, args.opset, metadata)
        session = load_session(model)
    except Exception as error:  # theirs are of many kinds
        sys.exit(f'{args.config} cannot be exported: {summary(error)}.')
    for batch, difference, largest in compare(net, session):
        print(
            f'Batch {batch}: largest difference from PyTorch '
            f'{difference:.1e}, largest value {largest:.2g}'
        )
        # False for NaN too.
        if not difference <= TOLERANCE * largest:
            sys.exit(
                f'{args.out} was not written, because ONNX Runtime differs '
                f'from PyTorch by more than {TOLERANCE:g} of the largest '
                'value.'
            )
    try:
        replace(args.out, lambda p: p.write_bytes(model.SerializeToString()))
    except OSError as error:
        sys.exit(f'--out {args.out} cannot be written: {error}.')
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        sizes = ' x '.join(str(d.dim_param or d.dim_value) for d in dims)
        print(f'{value.name}: {sizes}')
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
