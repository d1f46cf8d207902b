"""MMEngine's checkpoints on PyTorch 2.6 and newer."""

from pickle import UnpicklingError
from typing import Any, Callable, List, Tuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.utils import digit_version

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

# Pickle refers to these by getattr(owner, name).
METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def _method(owner: Any, name: str) -> Callable:
    """Stands in for ``getattr``, which would give a checkpoint all of Python.

    Args:
        owner (type): A class of :data:`METHODS`.
        name (str): A method that stands there.

    Raises:
        UnpicklingError: If owner or name is something else.
    """
    if name not in METHODS.get(owner, ()):
        raise UnpicklingError(
            'A checkpoint may refer only to methods that MMEngine saves, got '
            f'{name!r} of {owner!r}.'
        )
    return getattr(owner, name)


def _saved_by_mmengine() -> List[Tuple[Any, str]]:
    """What a checkpoint of MMEngine's runner names beside weights.

    The log (``HistoryBuffer``, arrays), the best score (a NumPy scalar), the
    data set's meta information (arrays of numbers) and the one scheduler that
    keeps a function of its own.

    Returns:
        list: Pairs of an object and the name by which it is saved. NumPy 2
        renamed a module, and either reads what the other has written.
    """
    # A dtype is an instance of a class of its own, which has to be allowed
    # though no checkpoint names it. Objects and strings are left out.
    codes = '?' + np.typecodes['AllInteger'] + 'efd'
    classes = [*METHODS, np.ndarray, np.dtype]
    classes += [type(np.dtype(code)) for code in codes]
    return [
        (_method, 'builtins.getattr'),
        *((cls, f'{cls.__module__}.{cls.__qualname__}') for cls in classes),
        *(
            (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
            for core in ('core', '_core')
            for name in ('_reconstruct', 'scalar')
        ),
    ]


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load`` read the checkpoints that MMEngine writes.

    Since PyTorch 2.6 it refuses all but weights, and MMEngine 0.10.7 cannot
    test with, resume from or load its own files, see
    https://github.com/open-mmlab/mmengine/issues/1655. ``weights_only`` stays
    on: a checkpoint that names anything else is refused as before. Older
    versions of PyTorch load everything, and are left alone.
    """
    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        torch.serialization.add_safe_globals(_saved_by_mmengine())
