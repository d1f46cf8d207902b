"""Time and memory of the losses, against MMPose's KeypointMSELoss.

Forward plus backward on random outputs and Gaussian targets, with weights of
the keypoints. The losses take turns, so that whatever else the machine does
meets all alike, and each round is compared with its own KeypointMSELoss.
The table has the median time in milliseconds, minimum, median and maximum of
the rounds' ratios, and what is allocated at most, in maps of the output's size
with the returned gradient.
"""

import argparse
import os
import platform
import time
from typing import Callable, Dict, List

# Else the profiler tells of its stages.
os.environ.setdefault('KINETO_LOG_LEVEL', '99')

import numpy as np
import torch
from mmengine.utils.dl_utils import collect_env
from mmpose.codecs import MSRAHeatmap
from mmpose.models.losses import KeypointMSELoss
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import mmpose_lossplus as lossplus

BASELINE = 'KeypointMSELoss'
LOSSES = (
    'AsymmetricMSELoss',
    'RegularizedMSELoss',
    'FocusedMSELoss',
    'HeatmapWeightingMSELoss',
    'AnchorLoss',
    'HeatmapFocalLoss',
)
STRIDE = 4  # pixels of the input to one of the heatmap

Step = Callable[[], None]


def make_maps(shape: List[int], device: str) -> List[Tensor]:
    """An output that needs its gradient, a target and weights.

    Args:
        shape (list[int]): B, K, H, W.
        device (str): Where to put them.

    Returns:
        list[Tensor]: (B, K, H, W), (B, K, H, W) and (B, K).
    """
    batch, num_keypoints, height, width = shape
    size = np.array([width, height])
    codec = MSRAHeatmap(tuple(STRIDE * size), tuple(size), sigma=2)
    rng = np.random.default_rng(0)
    keypoints = rng.random((batch, 1, num_keypoints, 2)) * STRIDE * size
    targets = [
        codec.encode(k.astype(np.float32))['heatmaps'] for k in keypoints
    ]
    torch.manual_seed(0)
    output = torch.randn(shape, device=device, requires_grad=True)
    # MMPose marks what SigmoidConv2d gives, and the losses would warn.
    output.is_logits = False
    target = torch.from_numpy(np.stack(targets)).to(device)
    return [output, target, torch.ones(batch, num_keypoints, device=device)]


def make_steps(
    maps: List[Tensor], names: List[str], compiled: bool
) -> Dict[str, Step]:
    """Forward and backward of each loss, the baseline first."""
    losses = {BASELINE: KeypointMSELoss(use_target_weight=True)}
    for name in names:
        losses[name] = getattr(lossplus, name)()
    if compiled:
        # They share their code, which is compiled for each loss and shape.
        torch._dynamo.config.cache_size_limit = 100
    for name in names if compiled else ():
        losses[f'  {name}, compiled'] = torch.compile(losses[name])

    def step(loss: Callable) -> None:
        maps[0].grad = None
        loss(*maps).backward()

    return {k: lambda loss=loss: step(loss) for k, loss in losses.items()}


def measure_time(steps: Dict[str, Step], rounds: int, device: str) -> dict:
    """Seconds of each step in each round, (rounds,) by name."""
    seconds = {name: [] for name in steps}
    for number in range(-2, rounds):  # two to warm up
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device != 'cpu':
                torch.cuda.synchronize()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def measure_memory(step: Step, output: Tensor, device: str) -> int:
    """Bytes that a step on an output has allocated at most."""
    output.grad = None
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        step()
    events = [
        event
        for event in profiler.profiler.kineto_results.events()
        if event.name() == '[memory]'
    ]
    clock = 'start_ns' if hasattr(events[0], 'start_ns') else 'start_us'
    events.sort(key=lambda event: getattr(event, clock)())
    return max(np.cumsum([event.nbytes() for event in events]))


def describe_machine(device: str) -> str:
    """Processor and versions."""
    env = collect_env()
    name = platform.processor() or platform.machine()
    if device != 'cpu':
        name = torch.cuda.get_device_name()
    elif os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            lines = [line for line in file if line.startswith('model name')]
        name = lines[0].split(':')[1].strip() if lines else name
    return (
        f'{name}, {os.cpu_count()} CPUs, torch {torch.__version__}, '
        f'Python {env["Python"].split()[0]}'
    )


def compare(
    shape: List[int], names: List[str], args: argparse.Namespace
) -> Table:
    """Measure the losses on maps of one shape.

    Args:
        shape (list[int]): B, K, H, W.
        names (list[str]): The losses.
        args (Namespace): The command line.

    Returns:
        Table: A line per loss.
    """
    maps = make_maps(shape, args.device)
    steps = make_steps(maps, names, args.compile)
    seconds = measure_time(steps, args.rounds, args.device)
    size = maps[0].numel() * maps[0].element_size()
    table = Table(
        width=79,
        title=f'{shape}, threads: {torch.get_num_threads()}, '
        f'rounds: {args.rounds}',
    )
    table.add_column('loss')
    for column in ('ms', 'min', 'median', 'max', 'maps'):
        table.add_column(column, justify='right')
    for name, step in steps.items():
        ratios = seconds[name] / seconds[BASELINE]
        memory = measure_memory(step, maps[0], args.device) / size
        table.add_row(
            name,
            f'{1e3 * np.median(seconds[name]):.2f}',
            *(f'{f(ratios):.2f}' for f in (np.min, np.median, np.max)),
            f'{memory:.2f}',
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs=4,
        action='append',
        metavar=('B', 'K', 'H', 'W'),
        help='of the maps, may be given again (default: 64 17 64 48 and '
        '32 17 96 72)',
    )
    parser.add_argument('--losses', nargs='+', choices=LOSSES, default=LOSSES)
    parser.add_argument(
        '--threads',
        type=int,
        nargs='+',
        default=[1, 2],
        help='of the CPU (default: 1 2)',
    )
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--compile', action='store_true', help='also under torch.compile'
    )
    args = parser.parse_args()
    shapes = args.shape or [[64, 17, 64, 48], [32, 17, 96, 72]]
    for option, values in (
        ('--shape', [n for shape in shapes for n in shape]),
        ('--threads', args.threads),
        ('--rounds', [args.rounds]),
    ):
        if min(values) < 1:
            parser.error(f'{option} must be positive, got {min(values)}')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU, found none')
    if args.compile and not hasattr(torch, 'compile'):
        parser.error(f'--compile needs torch >= 2.0, got {torch.__version__}')

    console = Console()
    console.print(describe_machine(args.device), highlight=False)
    for threads in args.threads if args.device == 'cpu' else (1,):
        torch.set_num_threads(threads)
        for shape in shapes:
            console.print(compare(shape, args.losses, args))


if __name__ == '__main__':
    main()
