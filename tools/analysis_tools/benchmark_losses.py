"""Time and memory of the losses, against MMPose's KeypointMSELoss (mse).

Forward plus backward on random outputs and Gaussian targets, with weights of
the keypoints. The losses take turns, so that whatever else the machine does
meets all alike, and each round is compared with its own KeypointMSELoss.
The table has minimum, median and maximum over the rounds, and what is
allocated at most, in maps of the output's size with the returned gradient.
"""

import argparse
import os
from functools import partial
from typing import Callable, Dict, List

# Else the profiler tells of its stages.
os.environ.setdefault('KINETO_LOG_LEVEL', '99')

import numpy as np
import torch
from mmpose.codecs import MSRAHeatmap
from mmpose.registry import MODELS
from rich.console import Console
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmpose_lossplus.experiments.report import sheet
from mmpose_lossplus.experiments.timing import (
    compare_times,
    describe_machine,
    parse_benchmark_args,
    positive_int,
)
from mmpose_lossplus.losses import LogitHeatmapLoss


def make_maps(shape: List[int], device: str) -> List[Tensor]:
    """An output that needs its gradient, a target, and weights (B, K)."""
    size = np.array([shape[3], shape[2]])
    codec = MSRAHeatmap(tuple(4 * size), tuple(size), sigma=2)
    rng = np.random.default_rng(0)
    people = rng.random((shape[0], 1, shape[1], 2), dtype=np.float32)
    target = [codec.encode(4 * size * x)['heatmaps'] for x in people]
    return [
        torch.randn(shape, device=device, requires_grad=True),
        torch.from_numpy(np.stack(target)).to(device),
        torch.ones(shape[:2], device=device),
    ]


def make_steps(
    maps: List[Tensor], losses: Dict[str, dict], compiled: bool
) -> Dict[str, Callable]:
    """Forward and backward of each loss."""

    def step(loss: Callable, on_logits: bool) -> None:
        maps[0].grad = None
        maps[0].is_logits = on_logits  # what SigmoidConv2d tells a loss
        loss(*maps).backward()

    steps = {}
    for name, cfg in losses.items():
        loss = MODELS.build(cfg)
        on_logits = isinstance(loss, LogitHeatmapLoss)
        steps[name] = partial(step, loss, on_logits)
        if compiled and name != 'mse':
            loss = torch.compile(loss)
            steps[f'{name}, compiled'] = partial(step, loss, on_logits)
    return steps


def measure_memory(step: Callable, output: Tensor) -> float:
    """What a step on an output has allocated at most, in outputs."""
    output.grad = None
    if output.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / output.nbytes
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    sizes = [e.nbytes() for e in events if e.name() == '[memory]']
    return max(np.cumsum(sizes)) / output.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--shape',
        type=positive_int,
        nargs=4,
        action='append',
        metavar=('B', 'K', 'H', 'W'),
        help='of maps, more than once too (64 17 64 48 and 32 17 96 72)',
    )
    parser.add_argument(
        '--compile', action='store_true', help='also under torch.compile'
    )
    args = parse_benchmark_args(parser, threads=[1, 2])
    # They share their code, which is compiled for each loss and shape.
    torch._dynamo.config.cache_size_limit = 100

    console = Console(highlight=False)
    console.print(describe_machine(args.device))
    for threads in args.threads if args.device == 'cpu' else (1,):
        for shape in args.shape or [[64, 17, 64, 48], [32, 17, 96, 72]]:
            maps = make_maps(shape, args.device)
            steps = make_steps(maps, args.losses, args.compile)
            times = compare_times(steps, 'mse', args.rounds, threads)
            rows = []
            for name, (_, ms, ratio) in times.items():
                memory = measure_memory(steps[name], maps[0])
                rows.append([name, ms, ratio, f'{memory:.2f}'])
            header = ['loss', 'ms', 'ratio', 'maps']
            console.print(sheet(f'{shape}, threads: {threads}', header, rows))


if __name__ == '__main__':
    main()
