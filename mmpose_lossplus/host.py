"""Every change that importing this package makes to its hosts.

Each function names the fact of a host that makes it necessary, and when it
can go.
"""

import importlib.util
from functools import wraps
from importlib import metadata
from pickle import UnpicklingError
from typing import Any, Callable, List, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.utils import digit_version
from torch import Tensor

from .version import __version__

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

# Lower bounds are inclusive, upper bounds exclusive; setup.py has the same.
HOST_VERSIONS = {
    'mmengine': ('0.10.0', '1.0.0'),
    'mmcv': ('2.1.0', '2.2.0'),
    'mmpose': ('1.3.0', '1.4.0'),
}


def check_versions() -> None:
    """Refuse hosts that this package was not written for.

    Raises:
        ImportError: If a host is missing, too old or too new, or if mmcv has
            no compiled ops, which MMPose's models import.
    """
    for name, (minimum, maximum) in HOST_VERSIONS.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = None
        if found is None or not (
            digit_version(minimum)
            <= digit_version(found)
            < digit_version(maximum)
        ):
            raise ImportError(
                f'mmpose_lossplus {__version__} needs {name}>={minimum},'
                f'<{maximum}, but found {found or "no such package"}.'
            )
    if importlib.util.find_spec('mmcv._ext') is None:
        raise ImportError(
            'mmpose_lossplus needs mmcv with its compiled ops, because '
            'MMPose imports them, but mmcv '
            f'{metadata.version("mmcv")} was installed without.'
        )


# Pickle refers to these by getattr(owner, name).
METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def _method(owner: Any, name: str) -> Callable:
    """Stands in for ``getattr``, which would give a checkpoint all of Python.

    Raises:
        UnpicklingError: If it is no method of :data:`METHODS`.
    """
    if name not in METHODS.get(owner, ()):
        raise UnpicklingError(
            'A checkpoint may refer only to methods that MMEngine saves, got '
            f'{name!r} of {owner!r}.'
        )
    return getattr(owner, name)


def saved_by_mmengine() -> List[Tuple[Any, str]]:
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
    versions of PyTorch load everything, and are left alone. Can go with an
    MMEngine that registers them itself.
    """
    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        torch.serialization.add_safe_globals(saved_by_mmengine())


def log_accuracy_of_logits() -> None:
    """Let MMPose's heads log the accuracy of logits and of bfloat16.

    They count maps with no positive value as missing, so that a right peak
    with a probability below one half would be ignored, and stop at bfloat16,
    which NumPy does not have. They offer no place to say what their maps are:
    replace the one conversion in between, which changes nothing for other
    maps. Can go with an MMPose whose heads compute the accuracy of what they
    predict.
    """
    from mmpose.models.heads.heatmap_heads import cpm_head, heatmap_head
    from mmpose.utils.tensor_utils import to_numpy

    def probabilities(x: Union[Tensor, Sequence[Tensor]], *args, **kwargs):
        if getattr(x, 'is_logits', False):
            x = x.detach().sigmoid()
        if isinstance(x, Tensor) and x.dtype == torch.bfloat16:
            x = x.float()
        return to_numpy(x, *args, **kwargs)

    heatmap_head.to_numpy = cpm_head.to_numpy = probabilities


def refuse_logits_in_heatmap_losses() -> None:
    """Let MMPose's heatmap losses refuse the logits of ``SigmoidConv2d``.

    They would train without a word and test as if they had seen heatmaps,
    which happens to whoever goes back to the MSE baseline and forgets the
    final layer. Can go with an MMPose that checks its losses' inputs.
    """
    from mmpose.models.losses import heatmap_loss

    from .layers.sigmoid_conv2d import refuse_logits
    from .losses.heatmap_losses import is_compiling

    def checked(forward: Callable) -> Callable:
        @wraps(forward)
        def call(self, *args, **kwargs):
            if not is_compiling():  # which knows no marks on tensors
                refuse_logits(self, args[0] if args else kwargs.get('output'))
            return forward(self, *args, **kwargs)

        return call

    for cls in vars(heatmap_loss).values():
        if isinstance(cls, type) and 'forward' in vars(cls):
            cls.forward = checked(cls.forward)
