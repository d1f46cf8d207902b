"""What a loss charges each pixel of a prediction, computed and drawn."""

import copy
import inspect
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from ..layers import SigmoidConv2d

# Heatmaps become probabilities between this and 1 less this for a loss that
# takes logits.
MARGIN = 1e-3
# Of the largest squared error or BCE: where it is less, the factor over it
# does not set the colours.
NEGLIGIBLE = 1e-3

# Of the drawing, in inches.
DPI = 100
CELL = 1.3  # width of a map
GAP = 0.06
GROUP_GAP = 0.12  # more of it between losses
LEFT, TOP, BOTTOM = 0.42, 0.5, 0.55


class Penalty(NamedTuple):
    """What a loss charges; the maps are (B, K, H, W), of one row (H, W).

    Attributes:
        loss (Tensor | np.ndarray): Loss of each pixel, with all weights, so
            that its mean is the loss.
        factor (Tensor | np.ndarray): The same over the squared error of the
            pixel, or over its binary cross entropy for a loss that takes
            logits: the modulation weight. NaN where both are 0.
        grad (Tensor | np.ndarray): Derivative of the loss by the output (by
            the logit for a loss that takes logits), times the number of
            pixels, so that it is a pixel's own.
        base (str): What the factor is over, 'squared error' or 'BCE'.
    """

    loss: Union[Tensor, np.ndarray]
    factor: Union[Tensor, np.ndarray]
    grad: Union[Tensor, np.ndarray]
    base: str


class PenaltyRow(NamedTuple):
    """One keypoint of one sample.

    Attributes:
        label (str): Names of the picture and of the keypoint.
        picture (np.ndarray): What the model sees, RGB (H, W, 3), uint8.
        target (np.ndarray): Target heatmap (h, w).
        prediction (np.ndarray): Predicted heatmap (h, w); of a model that
            gives logits the probabilities.
        penalties (dict): By the name of a loss a :class:`Penalty` (h, w).
    """

    label: str
    picture: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    penalties: Dict[str, Penalty]


class Column(NamedTuple):
    """A column of the drawing.

    Attributes:
        title (str): What it is.
        images (list[np.ndarray]): One of each row.
        cmap (str, optional): matplotlib's name of the colours, ``None`` for
            pictures.
        low (float): Value of the first colour.
        high (float): Value of the last colour.
        cut (bool): Whether there are values above ``high``.
        loss (str): Name of the loss, empty for what is of none.
    """

    title: str
    images: List[np.ndarray]
    cmap: Optional[str] = None
    low: float = 0.0
    high: float = 1.0
    cut: bool = False
    loss: str = ''

    @property
    def tick_labels(self) -> List[str]:
        """The range in as many digits as tell its ends apart."""
        for digits in range(2, 17):
            low, high = (f'{x:.{digits}g}' for x in (self.low, self.high))
            if low != high:
                break
        return [low, f'≥ {high}' if self.cut else high]


def pixel_loss(model: nn.Module) -> nn.Module:
    """The loss of a model's head, of the last stage if there are several.

    Args:
        model (nn.Module): A top-down heatmap model.

    Returns:
        nn.Module: The loss.

    Raises:
        ValueError: If the model has none, or it does not tell the loss of
            each pixel.
    """
    loss = getattr(getattr(model, 'head', None), 'loss_module', None)
    if isinstance(loss, nn.ModuleList):
        loss = loss[-1]
    if loss is None:
        raise ValueError(
            f'Penalty maps need a model with a head and its loss, got '
            f'{type(model).__name__}.'
        )
    return check_loss(loss)


def check_loss(loss: nn.Module) -> nn.Module:
    """Return a loss that tells the loss of each pixel.

    Raises:
        ValueError: If it does not.
    """
    if 'mask' not in inspect.signature(loss.forward).parameters:
        raise ValueError(
            f'{type(loss).__name__} does not tell the loss of each pixel: '
            'penalty maps need a loss that takes a mask, as KeypointMSELoss '
            'does.'
        )
    return loss


def takes_logits(loss: nn.Module) -> bool:
    """Whether a loss takes logits, not heatmaps."""
    return getattr(loss, 'takes_logits', False)


def penalty(
    loss: nn.Module,
    output: Tensor,
    target: Tensor,
    target_weights: Optional[Tensor] = None,
) -> Penalty:
    """What a loss charges each pixel.

    The loss of a pixel is the derivative of the whole loss by the pixel's
    place in a mask of ones, times the number of pixels: that is how much the
    pixel counts, whatever is done to the map before it is averaged. The
    gradient is that of a training step, computed without this mask.

    Args:
        loss (nn.Module): A loss with the signature of ``KeypointMSELoss``. It
            is copied, not touched.
        output (Tensor): What the loss takes, heatmaps or logits,
            (B, K, H, W).
        target (Tensor): Target heatmaps, (B, K, H, W).
        target_weights (Tensor, optional): Weights of the keypoints, (B, K).
            Defaults to ``None``.

    Returns:
        Penalty: Maps (B, K, H, W) on the CPU, in float64.

    Raises:
        ValueError: If the loss has no mask or refuses the maps.
    """
    loss = copy.deepcopy(check_loss(loss)).cpu()
    logits = takes_logits(loss)
    output = output.detach().cpu().double().requires_grad_()
    output.is_logits = logits
    target = target.detach().cpu().double()
    if target_weights is not None:
        target_weights = target_weights.detach().cpu().double()
    mask = torch.ones_like(target).requires_grad_()
    with torch.enable_grad():
        masked = loss(output, target, target_weights, mask)
        (share,) = torch.autograd.grad(masked, mask)
        whole = loss(output, target, target_weights)
        (grad,) = torch.autograd.grad(whole, output)
    output = output.detach()
    if logits:
        name, base = 'BCE', F.binary_cross_entropy_with_logits
    else:
        name, base = 'squared error', F.mse_loss
    share = share * share.numel()
    return Penalty(
        loss=share,
        factor=share / base(output, target, reduction='none'),
        grad=grad * grad.numel(),
        base=name,
    )


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate a model without a trace.

    Its modules are as in evaluation, but for ``SigmoidConv2d``, which gives
    logits, as in training. Modes and random numbers are restored.
    """
    modes = {module: module.training for module in model.modules()}
    devices = sorted({p.device.index for p in model.parameters() if p.is_cuda})
    model.eval()
    for module in modes:
        if isinstance(module, SigmoidConv2d):
            module.training = True
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            yield
    finally:
        # Not train(), by which a backbone freezes parts of itself.
        for module, training in modes.items():
            module.training = training


def _target(sample: PoseDataSample) -> Tensor:
    """Target heatmaps of a sample, (K, H, W)."""
    heatmaps = sample.get('gt_fields', {}).get('heatmaps')
    count = sample.gt_instance_labels.keypoint_weights.shape[-1]
    if heatmaps is None:
        got = 'none'
    elif isinstance(heatmaps, list):
        got = f'those of {len(heatmaps)} levels'
    elif len(heatmaps) != count:
        got = f'{len(heatmaps)} for {count} keypoints'
    else:
        return heatmaps
    raise ValueError(
        f'Penalty maps need one target heatmap per keypoint, got {got}: the '
        'pipeline needs a GenerateTarget with a heatmap codec of one level.'
    )


def penalty_rows(
    model: nn.Module,
    data_batch: dict,
    losses: Optional[Dict[str, nn.Module]] = None,
    keypoints: Optional[Sequence[int]] = None,
    names: Sequence[str] = (),
) -> List[PenaltyRow]:
    """Predict a batch and look at what losses charge.

    The model runs as in evaluation, without flip test, and is left as it was.
    Each loss sees the same prediction: one that takes logits gets those of
    heatmaps clipped to [0.001, 0.999] if the model gives heatmaps, and one
    that takes heatmaps the probabilities if the model gives logits.

    Args:
        model (nn.Module): A top-down heatmap model of MMPose.
        data_batch (dict): What a data loader gives, with targets: ``inputs``
            and ``data_samples``, the inputs BGR from 0 to 255.
        losses (dict, optional): By name the losses. ``None`` takes the
            model's own. Defaults to ``None``.
        keypoints (Sequence[int], optional): Which keypoints of each sample.
            ``None`` takes the one that the first loss charges most. Defaults
            to ``None``.
        names (Sequence[str]): Of all keypoints. Defaults to their numbers.

    Returns:
        list[PenaltyRow]: A row for each keypoint of each sample.

    Raises:
        ValueError: If a loss does not tell the loss of each pixel or refuses
            the maps, or if there is not one target heatmap per keypoint.
    """
    own = getattr(getattr(model, 'head', None), 'loss_module', None)
    if isinstance(own, nn.ModuleList):
        own = own[-1]
    if losses is None:
        own = pixel_loss(model)
        losses = {type(own).__name__: own}
    target = torch.stack([_target(d) for d in data_batch['data_samples']])
    with _undisturbed(model):
        data = model.data_preprocessor(data_batch, training=False)
        output = model(data['inputs'], None, mode='tensor')
    if isinstance(output, (list, tuple)):
        output = output[-1]
    is_logits = getattr(output, 'is_logits', False) or takes_logits(own)
    output = output.double()
    probabilities = output.sigmoid() if is_logits else output
    logits = output
    if not is_logits:
        logits = output.clamp(MARGIN, 1 - MARGIN).logit()
    samples = data['data_samples']
    weights = torch.cat(
        [d.gt_instance_labels.keypoint_weights for d in samples]
    )
    penalties = {
        name: penalty(
            loss,
            logits if takes_logits(loss) else probabilities,
            target,
            weights,
        )
        for name, loss in losses.items()
    }

    charged = next(iter(penalties.values())).loss.mean((2, 3))
    rows = []
    for i, sample in enumerate(samples):
        picture = torch.as_tensor(data_batch['inputs'][i]).cpu()
        picture = picture.clamp(0, 255).byte().numpy()[::-1]
        for k in keypoints or [int(charged[i].argmax())]:
            name = names[k] if len(names) else f'keypoint {k}'
            if weights[i, k] == 0:
                name += ' (no label)'
            stem = Path(sample.get('img_path', '')).stem
            rows.append(
                PenaltyRow(
                    label=f'{stem}\n{name}'.strip(),
                    picture=picture.transpose(1, 2, 0),
                    target=target[i, k].cpu().numpy(),
                    prediction=probabilities[i, k].cpu().numpy(),
                    penalties={
                        name: Penalty(
                            *(x[i, k].numpy() for x in maps[:3]), maps.base
                        )
                        for name, maps in penalties.items()
                    },
                )
            )
    return rows


def penalty_columns(rows: Sequence[PenaltyRow]) -> List[Column]:
    """The maps as they are drawn, with a range of colours by column.

    Args:
        rows (Sequence[PenaltyRow]): With the same losses.

    Returns:
        list[Column]: Picture, target and prediction, and of each loss the
        loss of a pixel, its factor over squared error or BCE, and its
        gradient. The range of the losses begins at 0, that of gradients has
        its middle there, and that of factors ends at the highest where the
        loss without it is not negligible, or it would end at its poles.
    """
    columns = [
        Column('picture', [row.picture for row in rows]),
        _column('target', [row.target for row in rows]),
        _column('prediction', [row.prediction for row in rows]),
    ]
    for name, first in rows[0].penalties.items():
        maps = [row.penalties[name] for row in rows]
        losses = [x.loss for x in maps]
        highest = np.max(losses, where=np.isfinite(losses), initial=0) or 1.0
        factors = [x.factor for x in maps]
        bases = np.zeros_like(losses)
        np.divide(losses, factors, out=bases, where=np.greater(losses, 0))
        seen = np.asarray(factors)[bases > NEGLIGIBLE * bases.max()]
        grads = [x.grad for x in maps]
        steep = np.abs(grads)
        steepest = steep.max(where=np.isfinite(steep), initial=0) or 1.0
        by = 'logit' if first.base == 'BCE' else 'heatmap'
        columns += [
            Column('loss of a pixel', losses, 'magma', 0, highest, loss=name),
            _column(f'loss / {first.base}', factors, seen, name),
            Column(
                *(f'gradient by {by}', grads, 'RdBu_r', -steepest, steepest),
                loss=name,
            ),
        ]
    return columns


def _column(
    title: str,
    images: List[np.ndarray],
    seen: Optional[np.ndarray] = None,
    loss: str = '',
) -> Column:
    """A column from the lowest value on, to the highest of some."""
    values = np.asarray(images)
    values = values[np.isfinite(values)]
    low = values.min() if values.size else 0.0
    high = (values if seen is None or not seen.size else seen).max(initial=low)
    # Else rounding errors of what is the same everywhere get colours.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    cut = bool((values > high).any())
    return Column(title, images, 'viridis', low, high, cut, loss)


def draw_penalties(rows: Sequence[PenaltyRow]) -> np.ndarray:
    """Draw a grid: a row for each row, columns as of :func:`penalty_columns`.

    Each column has colours of its own, the same in all rows. Values that are
    not numbers are grey. A ring is the peak of the target, a cross that of
    the prediction.

    Args:
        rows (Sequence[PenaltyRow]): With the same losses.

    Returns:
        np.ndarray: RGB picture (H, W, 3), uint8.
    """
    columns = penalty_columns(rows)
    height, width = rows[0].target.shape
    cell = CELL * height / width
    groups = list(dict.fromkeys(column.loss for column in columns))
    size = (
        LEFT + len(columns) * (CELL + GAP) + len(groups) * GROUP_GAP,
        TOP + len(rows) * (cell + GAP) + BOTTOM,
    )
    figure = Figure(figsize=size, dpi=DPI)
    canvas = FigureCanvasAgg(figure)

    def add_axes(left: float, bottom: float, w: float, h: float):
        box = (left / size[0], bottom / size[1], w / size[0], h / size[1])
        return figure.add_axes(box)

    for i, column in enumerate(columns):
        gaps = groups.index(column.loss) * GROUP_GAP
        left = LEFT + i * (CELL + GAP) + gaps
        options = {}
        if column.cmap:
            cmap = colormaps[column.cmap].with_extremes(bad='0.7')
            options = dict(cmap=cmap, norm=Normalize(column.low, column.high))
        for j, (image, row) in enumerate(zip(column.images, rows)):
            bottom = size[1] - TOP - (j + 1) * (cell + GAP)
            panel = add_axes(left, bottom, CELL, cell)
            drawn = panel.imshow(
                image, aspect='auto', interpolation='nearest', **options
            )
            panel.set(xticks=[], yticks=[])
            if j == 0:
                panel.set_title(column.title, fontsize=8)
                # Over the middle of its three columns.
                if column.loss and i % 3 == 1:
                    panel.annotate(
                        column.loss,
                        (0.5, 1),
                        (0, 20),
                        xycoords='axes fraction',
                        textcoords='offset points',
                        ha='center',
                        weight='bold',
                        fontsize=9,
                    )
            if i == 0:
                panel.set_ylabel(row.label, fontsize=7)
            if i in (0, 2):
                _mark_peaks(panel, row, image.shape)
        if column.cmap:
            bar = figure.colorbar(
                drawn,
                cax=add_axes(left, BOTTOM - 0.16, CELL, 0.1),
                orientation='horizontal',
                ticks=[column.low, column.high],
            )
            bar.set_ticklabels(column.tick_labels)
            bar.ax.tick_params(labelsize=7, length=2)
            for label, side in zip(
                bar.ax.get_xticklabels(), ('left', 'right')
            ):
                label.set_ha(side)
    figure.text(
        LEFT / size[0],
        (BOTTOM - 0.1) / size[1],
        'ring: peak of the target\ncross: of the prediction',
        fontsize=7,
        va='top',
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _mark_peaks(panel, row: PenaltyRow, shape: Sequence[int]) -> None:
    """Mark the peaks of target and prediction in an image of some shape."""
    for marker, heatmap in (('o', row.target), ('x', row.prediction)):
        if not np.nan_to_num(heatmap).any():
            continue  # no label or no numbers, no peak
        peak = np.unravel_index(np.nanargmax(heatmap), heatmap.shape)
        y, x = (
            (p + 0.5) * new / old - 0.5
            for p, new, old in zip(peak, shape, heatmap.shape)
        )
        for colour, thickness in (('black', 2.5), ('white', 1.2)):
            panel.plot(
                x,
                y,
                marker,
                ms=8,
                mfc='none',
                mec=colour,
                mew=thickness,
                scalex=False,
                scaley=False,
            )


def find_keypoints(
    metainfo: dict, keypoints: Sequence[Union[int, str]]
) -> List[int]:
    """Numbers of keypoints by their names or numbers.

    Args:
        metainfo (dict): Of the data set, see MMPose's ``parse_pose_metainfo``.
        keypoints (Sequence[int | str]): Names, or numbers from 0 on.

    Returns:
        list[int]: The numbers.

    Raises:
        ValueError: If the data set has no such keypoint.
    """
    numbers = metainfo.get('keypoint_name2id', {})
    count = metainfo.get('num_keypoints', len(numbers))
    found = []
    for keypoint in keypoints:
        number = numbers.get(keypoint, keypoint)
        if isinstance(number, str) and number.isdecimal():
            number = int(number)
        if not isinstance(number, int) or not 0 <= number < count:
            raise ValueError(
                f'The keypoints must be numbers from 0 to {count - 1} or '
                f'among {", ".join(numbers) or "names that are not known"}, '
                f'got {keypoint!r}.'
            )
        found.append(number)
    return found
