from bisect import bisect_right
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpose.registry import HOOKS
from torch import nn

from ..losses.heatmap_losses import arguments_of


def _check_pairs(name: str, pairs: Sequence[Tuple[int, float]]) -> None:
    """Raise a ``ValueError`` if a schedule is none."""
    try:
        begins, values = zip(*pairs)
        fits = (
            begins[0] == 0
            and all(isinstance(begin, int) for begin in begins)
            and list(begins) == sorted(set(begins))
            and np.isfinite(values).all()
        )
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f'The schedule of {name} must be pairs of a beginning, from 0 on '
            f'and growing, and a number, got {pairs!r}.'
        )


@HOOKS.register_module()
class LossScheduleHook(Hook):
    """Change parameters of a loss in the course of the training.

    A value depends on the epoch alone, or on the iteration alone: a training
    that was resumed goes on with the right one, and the processes of a
    distributed training agree. It is logged under the parameter's name.
    (MMEngine averages what has "loss" in its name, and so ``loss_weight``,
    over the window of the log.)

    Losses inside ``MultipleLossWrapper``, ``CombinedLoss`` or a list of
    losses all change, as far as they have the parameter.

    With ``torch.compile`` a new value may compile the loss again, up to
    ``torch._dynamo.config.cache_size_limit`` times, after which it runs
    eagerly: use few steps rather than a line.

    Args:
        schedule (dict): For each parameter pairs of a beginning and the value
            from there on. The first begins at 0. Parameters are arguments of
            the loss's class with a number as value, such as ``gamma``,
            ``beta``, ``slack``, ``delta`` and ``loss_weight``.
        by_epoch (bool): Whether the beginnings are epochs, counted from 0, or
            iterations. Defaults to ``True``.
        linear (bool): Whether a value goes to the next one on a straight
            line, instead of changing where the next one begins. Defaults to
            ``False``.
        loss (str): Where the loss is in the model. Of a list of losses
            'head.loss_module.0' is the first. Defaults to 'head.loss_module'.

    Raises:
        ValueError: If the schedule is not of this form, or before the
            training begins if it does not fit the loss or the loop.

    Examples:
        Anchor Loss after five epochs of binary cross entropy. Its paper does
        so for classification, with softmax cross entropy (``ce_share`` of
        ``ClassificationAnchorLoss``); that it did for poses is not said.

        >>> schedule = dict(gamma=[(0, 0.0), (5, 2.0)])
        >>> custom_hooks = [dict(type='LossScheduleHook', schedule=schedule)]
    """

    def __init__(
        self,
        schedule: Dict[str, Sequence[Tuple[int, float]]],
        by_epoch: bool = True,
        linear: bool = False,
        loss: str = 'head.loss_module',
    ) -> None:
        if not isinstance(schedule, dict) or not schedule:
            raise ValueError(
                'schedule must be a dict such as dict(gamma=[(0, 0.0), '
                f'(5, 2.0)]), got {schedule!r}.'
            )
        for name, pairs in schedule.items():
            _check_pairs(name, pairs)
        self.schedule = schedule
        self.by_epoch = by_epoch
        self.linear = linear
        self.loss = loss

    def value(self, name: str, now: int) -> float:
        """Value of a parameter at an epoch or iteration."""
        begins, values = zip(*self.schedule[name])
        if self.linear:
            return float(np.interp(now, begins, values))
        return values[bisect_right(begins, now) - 1]

    def before_train(self, runner: Runner) -> None:
        """Check that the loss is there and takes all values."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                'LossScheduleHook has by_epoch=True, but the training counts '
                'iterations: set by_epoch=False.'
            )
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        self._losses = {
            name: self._losses_with(name, model) for name in self.schedule
        }
        # Between the beginnings all parameters are as at the last of them,
        # or on a line to the next.
        for now in sorted({t for x in self.schedule.values() for t, _ in x}):
            self._check_values(now)
        if runner.cfg.get('compile') not in (None, False) or any(
            hasattr(module, '_orig_mod') for module in model.modules()
        ):
            from torch import _dynamo

            # Without this, torch < 2.4 takes numbers of a module for
            # constants.
            _dynamo.config.guard_nn_modules = True

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Set and log the values."""
        now = runner.epoch if self.by_epoch else runner.iter
        for name, losses in self._losses.items():
            value = self.value(name, now)
            for loss in losses:
                setattr(loss, name, value)
            runner.message_hub.update_scalar(f'train/{name}', value)

    def _losses_with(self, name: str, model: nn.Module) -> List[nn.Module]:
        root = dict(model.named_modules()).get(self.loss)
        if root is None:
            raise ValueError(
                f'LossScheduleHook found no loss {self.loss!r} in '
                f'{type(model).__name__}.'
            )
        found = [
            module
            for module in root.modules()
            # No flag, which is a number for Python.
            if type(getattr(module, name, None)) in (int, float)
            and name in arguments_of(type(module))
        ]
        if not found:
            raise ValueError(
                f'LossScheduleHook found no loss with a number {name!r} in '
                f'{self.loss}, which is {type(root).__name__}.'
            )
        return found

    def _check_values(self, now: int) -> None:
        """Let the losses' own constructors judge the values."""
        for loss in {x for found in self._losses.values() for x in found}:
            arguments = {
                name: getattr(loss, name)
                for name in arguments_of(type(loss))
                if hasattr(loss, name)
            }
            for name, found in self._losses.items():
                if loss in found:
                    arguments[name] = self.value(name, now)
            try:
                type(loss)(**arguments)
            except (AssertionError, TypeError, ValueError) as error:
                unit = 'epoch' if self.by_epoch else 'iteration'
                raise ValueError(
                    f'{type(loss).__name__} refuses what LossScheduleHook '
                    f'sets at {unit} {now}: {error}'
                ) from None
