"""Every change that importing this package makes to its hosts.

Each function names the fact of a host that makes it necessary, and when it
can go.
"""

import codecs
import pickle
import re
from collections import Counter
from functools import wraps
from types import SimpleNamespace
from typing import Any, Callable, List, Sequence, Tuple, Union
from unittest import mock

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, checkpoint
from mmengine.utils import digit_version
from torch import Tensor

try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

_torch_load = torch.load
# From there on it refuses what it is not told of; before, it loads anything.
SAFE_BY_DEFAULT = digit_version(torch.__version__) >= digit_version('2.6.0')

# Pickle refers to these by getattr(owner, name).
METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def _method(owner: Any, name: str) -> Callable:
    """Stands in for ``getattr``, which would give a checkpoint all of Python.

    Raises:
        pickle.UnpicklingError: If it is no method of :data:`METHODS`.
    """
    if name not in METHODS.get(owner, ()):
        raise pickle.UnpicklingError(
            'A checkpoint may refer only to methods that MMEngine saves, got '
            f'{name!r} of {owner!r}.'
        )
    return getattr(owner, name)


def saved_by_mmengine() -> List[Tuple[Any, str]]:
    """What a checkpoint of MMEngine's runner names beside weights.

    The log (``HistoryBuffer``, arrays), the best score (a NumPy scalar), the
    data set's meta information (arrays of numbers), the milestones of a
    scheduler and the one scheduler that keeps a function of its own.

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
        (bytes, 'builtins.bytes'),  # of an empty array
        (Counter, 'collections.Counter'),
        *((cls, f'{cls.__module__}.{cls.__qualname__}') for cls in classes),
        *(
            (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
            for core in ('core', '_core')
            for name in ('_reconstruct', 'scalar')
        ),
    ]


class StrictUnpickler(pickle.Unpickler):
    """Knows the names of :func:`saved_by_mmengine` and of weights only."""

    def find_class(self, module: str, name: str) -> Any:
        known = torch._weights_only_unpickler._get_allowed_globals()
        ours = {name: thing for thing, name in saved_by_mmengine()}
        name = f'{module.replace("__builtin__", "builtins")}.{name}'
        if name == '_codecs.encode':  # of the bytes of an array
            return codecs.encode
        if name not in known and name not in ours:
            raise pickle.UnpicklingError(f'GLOBAL {name} is not allowed')
        return {**known, **ours}[name]


def load_checkpoint(
    file: Any, map_location: Any = None, **kwargs: Any
) -> dict:
    """Load a checkpoint of MMEngine, which cannot run code.

    Args:
        file (str | IO): Path or file.
        map_location (str | torch.device, optional): As of ``torch.load``.
        **kwargs: Others of ``torch.load``; ``weights_only`` is ignored.

    Returns:
        dict: The checkpoint.

    Raises:
        UnpicklingError: If it names anything but weights and what MMEngine
            saves with them.
    """
    kwargs.pop('weights_only', None)
    if not SAFE_BY_DEFAULT:
        kwargs['pickle_module'] = SimpleNamespace(
            __name__='strict',
            Unpickler=StrictUnpickler,
            load=lambda *args, **kw: StrictUnpickler(*args, **kw).load(),
        )
    try:
        return _torch_load(file, map_location, **kwargs)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (\S+)', str(error))
        if not found:  # half of a file, or of something else
            raise
        raise pickle.UnpicklingError(
            f'{file} is not loaded, because it names {found[1]} beside '
            'weights and what MMEngine saves with them, and could run any '
            'code.'
        ) from error


def load_checkpoints_safely() -> None:
    """Let MMEngine load the checkpoints that it writes, and nothing else.

    Since PyTorch 2.6 ``torch.load`` refuses all but weights, and MMEngine
    0.10.7 cannot test with, resume from or load its own files, see
    https://github.com/open-mmlab/mmengine/issues/1655. With an older PyTorch,
    with a URL (by ``torch.hub``), and with OneDL's MMEngine, which tries again
    without caution what was refused, loading a file runs what it says. Can go
    with an MMEngine that registers what it saves and refuses the rest.
    """
    if SAFE_BY_DEFAULT:
        torch.serialization.add_safe_globals(saved_by_mmengine())
    load = CheckpointLoader.load_checkpoint.__func__

    @wraps(load)
    def call(cls: type, *args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(torch, 'load', load_checkpoint):
            return load(cls, *args, **kwargs)

    CheckpointLoader.load_checkpoint = classmethod(call)
    if hasattr(checkpoint, '_safe_torch_load'):  # OneDL's, for all its calls
        checkpoint._safe_torch_load = load_checkpoint


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

    def probabilities(
        x: Union[Tensor, Sequence[Tensor]], *args: Any, **kwargs: Any
    ) -> Any:
        if isinstance(x, Tensor) and getattr(x, 'is_logits', False):
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
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not is_compiling():  # which knows no marks on tensors
                refuse_logits(self, args[0] if args else kwargs.get('output'))
            return forward(self, *args, **kwargs)

        return call

    for cls in vars(heatmap_loss).values():
        if isinstance(cls, type) and 'forward' in vars(cls):
            cls.forward = checked(cls.forward)  # type: ignore[attr-defined]
