"""How fast the models are on this machine, against their peers.

Inference of one crop, without pre-processing and decoding, by the models of
the heatmap-weighting paper's table 5 and by RTMPose-t and -s, with random
weights. Or, with --train, the whole training step with each loss against that
with MMPose's KeypointMSELoss. All take turns, so that whatever else the
machine does meets all alike, and each round is compared with its own time of
the light head or of KeypointMSELoss.
"""

import argparse
import copy
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import torch
from benchmark_losses import BASELINE, LOSSES, describe_machine, measure_time
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper
from mmpose.registry import MODELS
from mmpose.testing import get_packed_inputs
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import mmpose_lossplus as lossplus

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tools' / 'deployment'))
from export_onnx import (  # noqa: E402
    Deployed,
    build_model,
    export,
    load_session,
    onnx,
    onnxruntime,
)

LIGHT = 'light head'
UNSPLIT = 'light head, not split'
COCO = 'mmpose::body_2d_keypoint'
HEATMAP = f'{COCO}/topdown_heatmap/coco/td-hm'
CONFIGS = {
    LIGHT: 'heatmap_weighting/td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-'
    '256x192.py',
    'MobileNetV2': f'{HEATMAP}_mobilenetv2_8xb64-210e_coco-256x192.py',
    'ShuffleNetV2': f'{HEATMAP}_shufflenetv2_8xb64-210e_coco-256x192.py',
    'ViPNAS': f'{HEATMAP}_vipnas-mbv3_8xb64-210e_coco-256x192.py',
    'Lite-HRNet-18': f'{HEATMAP}_litehrnet-18_8xb64-210e_coco-256x192.py',
    'Lite-HRNet-30': f'{HEATMAP}_litehrnet-30_8xb64-210e_coco-256x192.py',
    'RTMPose-s': f'{COCO}/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py',
    'RTMPose-t': f'{COCO}/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py',
    'ResNet-50': f'{HEATMAP}_res50_8xb64-210e_coco-256x192.py',
}
TRAINED = (LIGHT, 'ResNet-50')
BACKENDS = ('pytorch', 'onnxruntime', 'openvino')
# Their final layer has to give logits.
ON_LOGITS = ('AnchorLoss', 'HeatmapFocalLoss')
WIDTH = 100  # of what is printed, into a file too

Step = Callable[[], None]


def load_config(name: str) -> Config:
    """Read the config of one of the models, among ``CONFIGS``."""
    path = CONFIGS[name]
    if path.startswith('mmpose::'):
        return get_config(path)
    return Config.fromfile(ROOT / 'configs' / path)


def build(name: str) -> Deployed:
    """Build one of the models, with random weights."""
    net = Deployed(build_model(load_config(name)))
    net.initialize()
    return net


def pytorch_steps(nets: Dict[str, Deployed], device: str) -> Dict[str, Step]:
    """Inference of one crop by each model in PyTorch."""

    def make_step(net: Deployed) -> Step:
        image = net.random_input(1).to(device)
        net = copy.deepcopy(net).to(device)

        def step() -> None:
            with torch.no_grad():
                net(image)

        return step

    return {name: make_step(net) for name, net in nets.items()}


def export_all(nets: Dict[str, Deployed]) -> Dict[str, onnx.ModelProto]:
    """Export the models, the light head with and without its rewrite."""
    models = {k: export(net.folded(k == LIGHT)) for k, net in nets.items()}
    models[UNSPLIT] = export(nets[LIGHT].folded())
    return models


def onnx_steps(
    nets: Dict[str, Deployed],
    models: Dict[str, onnx.ModelProto],
    load: Callable,
) -> Dict[str, Step]:
    """Inference of one crop by each exported model, on the CPU.

    Args:
        nets (Dict[str, Deployed]): The models in PyTorch.
        models (Dict[str, onnx.ModelProto]): See :func:`export_all`.
        load (Callable): Takes a model and a number of threads, gives a
            function of an image.

    Returns:
        Dict[str, Step]: By name.
    """

    def make_step(name: str) -> Step:
        run = load(models[name], torch.get_num_threads())
        image = nets[LIGHT if name == UNSPLIT else name].random_input(1)
        return lambda: run(image.numpy())

    return {name: make_step(name) for name in models}


def load_onnxruntime(model: onnx.ModelProto, threads: int) -> Callable:
    """Load a model into ONNX Runtime."""
    session = load_session(model, threads)
    return lambda image: session.run(None, dict(image=image))


@cache
def openvino_core() -> Any:
    """The only one of this process.

    Each gives the signals a stack and, when it is freed, gives back that of
    the one before, which may be freed by then: the next signal is a crash.
    """
    import openvino

    return openvino.Core()


def load_openvino(model: onnx.ModelProto, threads: int) -> Callable:
    """Load a model into OpenVINO, which would round to bfloat16 itself."""
    core = openvino_core()
    request = core.compile_model(
        core.read_model(model.SerializeToString()),
        'CPU',
        dict(
            INFERENCE_NUM_THREADS=threads,
            INFERENCE_PRECISION_HINT='f32',
            PERFORMANCE_HINT='LATENCY',
        ),
    ).create_infer_request()
    return lambda image: request.infer(dict(image=image))


def training_steps(
    net: Deployed, names: List[str], batch: int, device: str
) -> Dict[str, Step]:
    """Training steps of one model with each loss, the baseline first.

    They share the weights and the optimizer.

    Args:
        net (Deployed): The model.
        names (List[str]): The losses.
        batch (int): Crops in each step.
        device (str): Where to train.

    Returns:
        Dict[str, Step]: By name of the loss.
    """
    model = net.model.requires_grad_(True).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    wrapper = OptimWrapper(optimizer)
    decoder = model.head.decoder
    width, height = decoder.input_size
    data = get_packed_inputs(
        batch,
        img_shape=(height, width),
        input_size=(width, height),
        heatmap_size=decoder.heatmap_size,
    )
    plain = model.head.final_layer
    logits = lossplus.SigmoidConv2d(
        plain.in_channels, plain.out_channels, plain.kernel_size
    )
    logits.weight, logits.bias = plain.weight, plain.bias

    def make_step(name: str) -> Step:
        loss = MODELS.build(dict(type=name, use_target_weight=True))

        def step() -> None:
            head = model.head
            head.loss_module = loss
            head.final_layer = logits if name in ON_LOGITS else plain
            model.train_step(data, wrapper)

        return step

    return {name: make_step(name) for name in [BASELINE, *names]}


LOADERS = dict(onnxruntime=load_onnxruntime, openvino=load_openvino)


def spread(values: np.ndarray, digits: int) -> str:
    """Minimum, median and maximum."""
    return ' / '.join(
        f'{f(values):.{digits}f}' for f in (np.min, np.median, np.max)
    )


def make_table(title: str, columns: List[str]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(
        title=title, caption='minimum / median / maximum', box=SIMPLE_HEAD
    )
    table.add_column(columns[0], no_wrap=True)
    for column in columns[1:]:
        table.add_column(column, justify='right', no_wrap=True)
    return table


def compare_inference(
    steps: Dict[str, Step],
    sizes: Dict[str, Tuple[int, int]],
    title: str,
    args: argparse.Namespace,
) -> Table:
    """Measure the inference of models.

    Args:
        steps (Dict[str, Step]): By name, the light head among them.
        sizes (Dict[str, tuple]): See :func:`complexity`.
        title (str): What to write above.
        args (Namespace): The command line.

    Returns:
        Table: A line per model: millions of parameters, operations, times,
        frames per second by the median, and the time by that of the light
        head in the same round.
    """
    seconds = measure_time(steps, args.rounds, args.device)
    table = make_table(
        f'{title}, {torch.get_num_threads()} threads, {args.rounds} rounds',
        ['model', 'M', 'GFLOPs', 'ms', 'FPS', 'ratio'],
    )
    for name, values in seconds.items():
        params, flops = sizes[LIGHT if name == UNSPLIT else name]
        table.add_row(
            name,
            f'{params / 1e6:.2f}',
            f'{flops / 1e9:.2f}',
            spread(1e3 * values, 1),
            f'{1 / np.median(values):.0f}',
            spread(values / seconds[LIGHT], 2),
        )
    return table


def complexity(net: Deployed) -> Tuple[int, int]:
    """Parameters, and operations as MMPose counts them: multiply-adds."""
    analyzer = FlopAnalyzer(net, net.random_input(1))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return parameter_count(net)[''], analyzer.total()


def compare_training(name: str, args: argparse.Namespace) -> Table:
    """Measure the training step of a model with each loss.

    Args:
        name (str): Among ``TRAINED``.
        args (Namespace): The command line.

    Returns:
        Table: A line per loss. Its overhead is over the baseline in the same
        round.
    """
    steps = training_steps(
        build(name), args.losses, args.batch_size, args.device
    )
    seconds = measure_time(steps, args.rounds, args.device)
    table = make_table(
        f'{name}, batch {args.batch_size} on {args.device}, '
        f'{torch.get_num_threads()} threads, {args.rounds} rounds',
        ['loss', 'ms', 'overhead, %'],
    )
    for loss, values in seconds.items():
        overhead = 100 * (values / seconds[BASELINE] - 1)
        table.add_row(loss, spread(1e3 * values, 0), spread(overhead, 1))
    return table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = [name for name in CONFIGS if name != 'ResNet-50']
    parser.add_argument(
        '--models',
        nargs='+',
        choices=models,
        default=models,
        metavar='NAME',
        help=f'to compare with the light head, among {", ".join(models[1:])} '
        '(default: all)',
    )
    parser.add_argument(
        '--backends',
        nargs='+',
        choices=BACKENDS,
        default=BACKENDS[:2],
        help='(default: pytorch onnxruntime)',
    )
    parser.add_argument(
        '--train',
        action='store_true',
        help='measure training steps instead, of the light head and ResNet-50',
    )
    parser.add_argument(
        '--losses',
        nargs='+',
        choices=LOSSES,
        default=LOSSES,
        help='to train with (default: all)',
    )
    parser.add_argument(
        '--batch-size', type=int, default=16, help='to train with'
    )
    parser.add_argument(
        '--threads',
        type=int,
        nargs='+',
        default=[os.cpu_count()],
        help='of the CPU (default: one a core)',
    )
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        default='cpu',
        help='of PyTorch (default: cpu)',
    )
    args = parser.parse_args()
    for option, values in (
        ('--batch-size', [args.batch_size]),
        ('--threads', args.threads),
        ('--rounds', [args.rounds]),
    ):
        if min(values) < 1:
            parser.error(f'{option} must be positive, got {min(values)}')
    if 'openvino' in args.backends and find_spec('openvino') is None:
        parser.error('--backends openvino needs "pip install openvino"')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU, found none')
    return args


def main() -> None:
    args = parse_args()
    console = Console(width=WIDTH)
    console.print(
        f'{describe_machine(args.device)}, onnxruntime '
        f'{onnxruntime.__version__}',
        highlight=False,
    )
    if args.train:
        for threads in args.threads:
            torch.set_num_threads(threads)
            for name in TRAINED:
                console.print(compare_training(name, args))
        return
    names = dict.fromkeys([LIGHT, *args.models])
    nets = {name: build(name) for name in names}
    sizes = {name: complexity(net) for name, net in nets.items()}
    exported = export_all(nets) if set(args.backends) & {*LOADERS} else {}
    for threads in args.threads:
        torch.set_num_threads(threads)
        for backend in args.backends:
            if backend in LOADERS:
                steps = onnx_steps(nets, exported, LOADERS[backend])
                title = f'{backend} on cpu'
            else:
                steps = pytorch_steps(nets, args.device)
                title = f'{backend} on {args.device}'
            console.print(compare_inference(steps, sizes, title, args))


if __name__ == '__main__':
    main()
