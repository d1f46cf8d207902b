"""How fast the models are on this machine, against their peers.

Inference of one crop, without pre-processing and decoding, by the models of
the heatmap-weighting paper's table 5 and by RTMPose-t and -s, with random
weights, in PyTorch and ONNX Runtime or by the --backends that are named. Or,
with --train, the whole training step of the light head and of ResNet-50, with
each loss against that with MMPose's KeypointMSELoss (mse). Or, with --video, a
frame from file to file in infer.py and run_onnx.py, and with RTMPose-t in
rtmlib, and the share of its parts. All take turns, so that whatever else the
machine does meets all alike, and each round is compared with its own time of
the light head, of KeypointMSELoss or of run_onnx.py. Times and ratios are
minimum, median and maximum over the rounds.
"""

import argparse
import copy
import os
import sys
import tempfile
from functools import cache, partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper
from mmpose.registry import MODELS
from mmpose.testing import get_packed_inputs
from rich.console import Console
from torch import nn

from mmpose_lossplus import SigmoidConv2d
from mmpose_lossplus.experiments.configs import ROOT, import_script
from mmpose_lossplus.experiments.report import sheet
from mmpose_lossplus.experiments.timing import (
    compare_times,
    describe_machine,
    low_median_high,
    parse_benchmark_args,
    positive_int,
)
from mmpose_lossplus.losses import LogitHeatmapLoss

try:
    from mmpose_lossplus.experiments import end_to_end, export
except ImportError as error:
    sys.exit(f'{error}: run pip install "mmpose_lossplus[export]".')

LIGHT = 'light head'
UNSPLIT = 'light head, not split'
COCO = 'mmpose::body_2d_keypoint'
HEATMAP = f'{COCO}/topdown_heatmap/coco/td-hm'
CONFIGS = {
    LIGHT: f'{ROOT}/configs/heatmap_weighting/'
    'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192.py',
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
RTMPOSE, RUNTIME = 'RTMPose-t', 'run_onnx.py'
BACKENDS = ('pytorch', 'onnxruntime', 'openvino')


def config_of(name: str) -> Config:
    """Config of one of the models, MMPose's or ours."""
    path = CONFIGS[name]
    read = get_config if path.startswith('mmpose::') else Config.fromfile
    return read(path)


def pytorch_step(net: export.Deployed, device: str) -> Callable:
    """Inference of one crop in PyTorch."""
    net = copy.deepcopy(net).to(device)
    return partial(net.predict, net.random_input(1))


@cache
def openvino_core() -> Any:
    """The only one of this process.

    Each gives the signals a stack and, when it is freed, gives back that of
    the one before, which may be freed by then: the next signal is a crash.
    """
    import openvino

    return openvino.Core()


def onnx_step(
    model: export.onnx.ModelProto, backend: str, threads: int
) -> Callable:
    """Inference of one crop by an exported model, on the CPU."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = [1, *(d.dim_value for d in dims[1:])]
    crops = dict(image=np.random.rand(*shape).astype(np.float32))
    if backend == 'onnxruntime':
        return partial(export.load_session(model, threads).run, None, crops)
    core = openvino_core()
    options = dict(
        INFERENCE_NUM_THREADS=threads,
        INFERENCE_PRECISION_HINT='f32',  # it would round to bfloat16
        PERFORMANCE_HINT='LATENCY',
    )
    network = core.read_model(model.SerializeToString())
    request = core.compile_model(network, 'CPU', options)
    return partial(request.create_infer_request().infer, crops)


def training_steps(
    net: export.Deployed, args: argparse.Namespace
) -> Dict[str, Callable]:
    """Training steps with each loss, of the same weights and optimizer."""
    model = net.model.requires_grad_(True).to(args.device).train()
    optimizer = OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-6))
    decoder, plain = model.head.decoder, model.head.final_layer
    width, height = decoder.input_size
    data = get_packed_inputs(
        args.batch_size,
        img_shape=(height, width),
        input_size=(width, height),
        heatmap_size=decoder.heatmap_size,
    )
    logits = SigmoidConv2d(plain.in_channels, plain.out_channels, 1)
    logits.weight, logits.bias = plain.weight, plain.bias

    def step(loss: nn.Module, final_layer: nn.Module) -> None:
        model.head.loss_module = loss
        model.head.final_layer = final_layer
        model.train_step(data, optimizer)

    steps = {}
    for name, cfg in args.losses.items():
        loss = MODELS.build(cfg)
        on_logits = isinstance(loss, LogitHeatmapLoss)
        steps[name] = partial(step, loss, logits if on_logits else plain)
    return steps


def video_steps(
    args: argparse.Namespace, frames: end_to_end.EndToEnd, folder: Path
) -> Dict[str, Callable]:
    """Runs of the tools, of models that are written into a folder."""
    cfg = config_of(LIGHT)
    cfg.model.test_cfg.flip_test = False  # as in the files
    net = export.random_model(cfg)
    config, checkpoint = folder / 'pose.py', folder / 'pose.pth'
    cfg.dump(config)
    torch.save(dict(state_dict=net.model.state_dict()), checkpoint)
    net.add_decoder()
    metadata = export.describe(cfg, net, 'random')
    light, peer = folder / 'light.onnx', folder / 'rtmpose.onnx'
    export.onnx.save(export.to_onnx(net, True, metadata=metadata), light)
    steps = {
        'infer.py': partial(frames.run_infer, config, checkpoint, args.device),
        RUNTIME: partial(frames.run_file, light),
    }
    for path in args.onnx:
        steps[f'{RUNTIME}, {path}'] = partial(frames.run_file, path)
    if find_spec('rtmlib'):
        rtmpose = export.random_model(config_of(RTMPOSE))
        export.onnx.save(export.to_onnx(rtmpose), peer)
        steps[f'rtmlib, {RTMPOSE}'] = partial(frames.run_rtmlib, peer)
    return steps


def print_video(args: argparse.Namespace, console: Console) -> None:
    """Frames per second of each tool, and where the time goes."""
    if not find_spec('rtmlib'):
        console.print('Without rtmlib, which is not installed.')
    for threads in args.threads:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, 'out')
            frames = end_to_end.EndToEnd(args.video, args.bbox, out, threads)
            steps = video_steps(args, frames, Path(folder))
            # The first of each does what is done once.
            rounds = [
                {name: step() for name, step in steps.items()}
                for _ in range(args.rounds + 1)
            ][1:]
        whole = {k: np.array([x[k]['whole'] for x in rounds]) for k in steps}
        rows = []
        for name, seconds in whole.items():
            parts = [
                [x[name].get(k, 0) for k in end_to_end.PARTS] for x in rounds
            ]
            shares = np.median(parts / np.sum(parts, 1, keepdims=True), 0)
            fps = 1 / np.median(seconds)
            ratio = low_median_high(seconds / whole[RUNTIME])
            cells = [f'{x:.0%}' if x else '' for x in shares]
            rows.append([name, f'{fps:.1f}', ratio, *cells])
        title = f'people: {len(args.bbox)}, threads: {threads}'
        header = ['tool', 'FPS', 'ratio', *end_to_end.PARTS]
        console.print(sheet(title, header, rows))


def size_of(net: export.Deployed) -> List[str]:
    """Millions of parameters, and GFLOPs as MMPose counts: multiply-adds."""
    info = get_model_complexity_info(
        net, inputs=(net.random_input(1),), show_table=False, show_arch=False
    )
    return [f'{info["params"] / 1e6:.2f}', f'{info["flops"] / 1e9:.2f}']


def check_file(path: Path, decoded: bool) -> None:
    """Raise a ValueError of what is no pose model of export_onnx.py."""
    runtime = import_script(end_to_end.RUN_ONNX)
    if decoded:
        runtime.PoseModel(path)
    elif 'detects' in runtime.load(path, threads=1)[1]:
        raise ValueError('it is a detector')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    peers = [name for name in CONFIGS if name not in TRAINED]
    parser.add_argument(
        '--models', nargs='+', choices=peers, default=peers, help='(all)'
    )
    parser.add_argument(
        '--backends', nargs='+', choices=BACKENDS, default=BACKENDS[:2]
    )
    parser.add_argument(
        '--onnx',
        type=Path,
        nargs='+',
        default=[],
        metavar='FILE',
        help='of export_onnx.py, to be measured too; with --video of --decode',
    )
    parser.add_argument('--train', action='store_true')
    parser.add_argument('--batch-size', type=positive_int, default=16)
    parser.add_argument('--video', type=Path, help='a clip with people')
    parser.add_argument(
        '--bbox',
        nargs=4,
        type=float,
        action='append',
        metavar=('X', 'Y', 'W', 'H'),
        help='box of a person in the clip, once or more',
    )
    args = parse_benchmark_args(parser, threads=[os.cpu_count()])
    if 'openvino' in args.backends and find_spec('openvino') is None:
        parser.error('--backends openvino needs "pip install openvino"')
    if args.video and not args.bbox:
        parser.error('--video needs the boxes of its people: --bbox X Y W H')
    for box in args.bbox or ():
        if not (np.isfinite(box).all() and min(box[2:]) > 0):
            parser.error(f'--bbox needs a width and a height, got {box}')
    for path in args.onnx:
        try:
            check_file(path, decoded=args.video)
        except ValueError as error:
            sys.exit(f'--onnx {path} cannot be used: {error}.')
    return args


def main() -> None:
    args = parse_args()
    console = Console(width=100, highlight=False)
    console.print(describe_machine(args.device))
    if args.video:
        try:
            return print_video(args, console)
        except ValueError as error:
            sys.exit(f'{error}.')
    if args.train:
        for threads, name in product(args.threads, TRAINED):
            steps = training_steps(export.random_model(config_of(name)), args)
            times = compare_times(steps, 'mse', args.rounds, threads)
            title = f'{name}, batch {args.batch_size}, threads: {threads}'
            rows = [[k, ms, ratio] for k, (_, ms, ratio) in times.items()]
            console.print(sheet(title, ['loss', 'ms', 'ratio'], rows))
        return
    nets = {
        name: export.random_model(config_of(name))
        for name in [LIGHT, *args.models]
    }
    sizes = {name: size_of(net) for name, net in nets.items()}
    sizes[UNSPLIT] = sizes[LIGHT]
    exported = {}
    if set(args.backends) != {'pytorch'}:
        exported = {k: export.to_onnx(v, k == LIGHT) for k, v in nets.items()}
        exported[UNSPLIT] = export.to_onnx(nets[LIGHT])
        exported.update({str(x): export.onnx.load(x) for x in args.onnx})
        sizes.update({str(x): ['', ''] for x in args.onnx})
    for threads, backend in product(args.threads, args.backends):
        if backend == 'pytorch':
            steps = {k: pytorch_step(v, args.device) for k, v in nets.items()}
        else:
            steps = {
                k: onnx_step(v, backend, threads) for k, v in exported.items()
            }
        times = compare_times(steps, LIGHT, args.rounds, threads)
        rows = [
            [name, *sizes[name], ms, f'{1 / seconds:.0f}', ratio]
            for name, (seconds, ms, ratio) in times.items()
        ]
        header = ['model', 'M', 'GFLOPs', 'ms', 'FPS', 'ratio']
        console.print(sheet(f'{backend}, threads: {threads}', header, rows))


if __name__ == '__main__':
    main()
