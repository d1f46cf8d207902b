"""Times of functions that take turns, as the benchmarks measure them."""

import argparse
import os
import platform
import re
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import torch
from torch.utils import collect_env
from torch.utils.benchmark import Timer

from .losses import LOSSES, parse_losses

MIN_RUN_TIME = 0.05  # seconds that a function runs in each round


def positive_int(text: str) -> int:
    """An argument of a command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be positive, got {text}')
    return int(text)


def parse_benchmark_args(
    parser: argparse.ArgumentParser, threads: List[int]
) -> argparse.Namespace:
    """Parse a command line with the options that all benchmarks have.

    ``losses`` are configs by name, MMPose's KeypointMSELoss ('mse') first.
    """
    parser.add_argument(
        '--losses',
        nargs='+',
        default=['amse', 'rmse', 'fmse', 'hmw', 'anchor', 'focal'],
        metavar='NAME',
        help=f'among {", ".join(LOSSES)}, or NAME=dict(...) (all of ours)',
    )
    parser.add_argument(
        '--threads', type=positive_int, nargs='+', default=threads
    )
    parser.add_argument('--rounds', type=positive_int, default=50)
    devices = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    parser.add_argument('--device', choices=devices, default='cpu')
    args = parser.parse_args()
    try:
        args.losses = parse_losses([*dict.fromkeys(['mse', *args.losses])])
    except ValueError as error:
        parser.error(str(error))
    return args


def describe_machine(device: str) -> str:
    """Processor and versions, in one line."""
    cpu = collect_env.get_cpu_info(collect_env.run)
    found = re.search(r'Model name:\s*(.*)', cpu)
    name = found[1] if found else platform.processor()
    if device == 'cuda':
        name = torch.cuda.get_device_name()
    return (
        f'{name}, {os.cpu_count()} CPUs, torch {torch.__version__}, '
        f'Python {platform.python_version()}'
    )


def compare_times(
    steps: Dict[str, Callable],
    baseline: str,
    rounds: int,
    threads: int,
    **options: Any,
) -> Dict[str, Tuple[float, str, str]]:
    """Measure functions, one after the other in each round.

    Whatever else the machine does meets all alike, so that times of the same
    round may be compared.

    Args:
        steps (dict[str, callable]): The functions by name.
        baseline (str): Name of the one that ratios are to.
        rounds (int): How often each has its turn.
        threads (int): Of PyTorch.
        **options: Of PyTorch's ``Timer``, such as ``timer=time.process_time``
            for the time that one thread has a CPU.

    Returns:
        Dict[str, tuple]: By name the median in seconds; and as text, minimum
        / median / maximum over the rounds, of the milliseconds and of the
        ratio to the baseline.
    """
    timers = [
        Timer(
            'step()', globals=dict(step=step), num_threads=threads, **options
        )
        for step in steps.values()
    ]
    seconds = [
        [t.blocked_autorange(min_run_time=MIN_RUN_TIME).median for t in timers]
        for _ in range(rounds)
    ]
    times = dict(zip(steps, np.array(seconds).T))
    return {
        name: (
            np.median(values),
            low_median_high(1e3 * values),
            low_median_high(values / times[baseline]),
        )
        for name, values in times.items()
    }


def low_median_high(values: np.ndarray) -> str:
    """Minimum / median / maximum."""
    low, median, high = np.percentile(values, [0, 50, 100])
    return f'{low:.2f} / {median:.2f} / {high:.2f}'
