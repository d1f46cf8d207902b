from typing import Any, Optional, Sequence, Union

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from torch import nn

from ..visualization import (
    check_pixel_loss,
    draw_penalties,
    find_keypoints,
    head_loss,
    penalty_rows,
)


@HOOKS.register_module()
class PenaltyVisualizationHook(Hook):
    """Show what the loss charges, while a model is trained.

    Every ``interval`` iterations the first samples of the batch are drawn,
    see :func:`mmpose_lossplus.visualization.penalty_rows`. The grid goes to
    all backends of the visualizer under the name 'penalty', with the
    iteration (of ``LocalVisBackend`` into ``vis_data/vis_image``).

    The training is not changed: the model, after its step, predicts these
    samples once more as in evaluation, without gradients, and is left as it
    was, with its random numbers. Only the main process does that.

    Args:
        interval (int): Iterations from one grid to the next. Defaults to
            1000.
        num_samples (int): Samples of a grid, at most those of the batch.
            Defaults to 4.
        keypoints (Sequence[int | str], optional): Which keypoints of each
            sample, by their names or numbers. ``None`` takes the one that the
            loss charges most. Defaults to ``None``.

    Raises:
        ValueError: If ``interval`` or ``num_samples`` is not positive. Before
            the training, if there is no such keypoint or the loss does not
            tell that of a pixel. At the first grid, if there is not one
            target heatmap per keypoint.
    """

    def __init__(
        self,
        interval: int = 1000,
        num_samples: int = 4,
        keypoints: Optional[Sequence[Union[int, str]]] = None,
    ) -> None:
        numbers = dict(interval=interval, num_samples=num_samples)
        for name, value in numbers.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f'{name} must be a positive integer, got {value!r}.'
                )
        self.interval = interval
        self.num_samples = num_samples
        self.keypoints = keypoints

    def before_train(self, runner: Runner) -> None:
        """Check the loss and look the keypoints up."""
        check_pixel_loss(head_loss(_unwrapped(runner)))
        metainfo = runner.train_dataloader.dataset.metainfo
        self._numbers = find_keypoints(metainfo, self.keypoints or [])
        names = metainfo['keypoint_id2name']
        self._names = [names[i] for i in sorted(names)]

    @master_only
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Draw a grid if it is time."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        first = {key: x[: self.num_samples] for key, x in data_batch.items()}
        rows = penalty_rows(
            _unwrapped(runner),
            first,
            keypoints=self._numbers,
            names=self._names,
        )
        runner.visualizer.add_image(
            'penalty', draw_penalties(rows), step=runner.iter + 1
        )


def _unwrapped(runner: Runner) -> nn.Module:
    model = runner.model
    return model.module if is_model_wrapper(model) else model
