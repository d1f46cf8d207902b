"""What several processes do together, as under a launcher."""

import torch


def run_in_processes(function, number, folder):
    """Run ``function(rank, number, folder)`` in processes with gloo.

    Args:
        function (Callable): Of a module, so that processes can import it.
        number (int): How many processes.
        folder (str): An empty folder.
    """
    args = (function, number, folder)
    torch.multiprocessing.spawn(_join, args, nprocs=number)


def _join(rank, function, number, folder):
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meeting_point',
        rank=rank,
        world_size=number,
    )
    function(rank, number, folder)
