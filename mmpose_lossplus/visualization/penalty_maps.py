"""What a loss charges each pixel of a prediction, computed and drawn."""

import copy
import io
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mmpose.models.losses import KeypointMSELoss
from mmpose.structures import PoseDataSample
from mpl_toolkits.axes_grid1 import ImageGrid
from torch import Tensor, nn

from ..layers import SigmoidConv2d

# Heatmaps become probabilities between this and 1 less this for a loss that
# takes logits.
MARGIN = 1e-3
# Of the largest squared error or BCE: where it is less, the factor over it
# does not set the colours.
NEGLIGIBLE = 1e-3
CELL = 1.3  # width of a map, in inches


class Penalty(NamedTuple):
    """What a loss charges; the maps are (B, K, H, W), of one row (H, W)."""

    loss: np.ndarray  # with all weights, so that its mean is the loss
    factor: np.ndarray  # the same over the base; NaN where both are 0
    grad: np.ndarray  # by the output, times the number of pixels
    base: str  # 'squared error', or 'BCE' of a loss that takes logits


class PenaltyRow(NamedTuple):
    """One keypoint of one sample."""

    label: str  # names of the picture and of the keypoint
    picture: np.ndarray  # what the model sees, RGB (H, W, 3), uint8
    target: np.ndarray  # heatmap (h, w)
    prediction: np.ndarray  # heatmap (h, w); of logits the probabilities
    penalties: Dict[str, Penalty]  # by the name of a loss


class Column(NamedTuple):
    """A column of the drawing, with one range of colours for all rows."""

    title: str
    images: np.ndarray  # one for each row
    cmap: Optional[str] = None  # of a picture
    low: float = 0.0
    high: float = 1.0
    loss: str = ''  # the name of the loss, if it is of one


def check_pixel_loss(loss: Optional[nn.Module]) -> None:
    """Raise a ``ValueError`` if a loss has none of a single pixel."""
    if not hasattr(loss, 'loss_map') and type(loss) is not KeypointMSELoss:
        raise ValueError(
            'Penalty maps need a loss with a method loss_map(output, target), '
            f'which tells the loss of each pixel, got {type(loss).__name__}.'
        )


def head_loss(model: nn.Module) -> Optional[nn.Module]:
    """The loss of a model's head, of the last stage if there are several."""
    return _last(getattr(getattr(model, 'head', None), 'loss_module', None))


def penalty(
    loss: nn.Module,
    output: Tensor,
    target: Tensor,
    target_weights: Optional[Tensor] = None,
) -> Penalty:
    """What a loss charges each pixel, in float64.

    Args:
        loss (nn.Module): A loss with ``loss_map``, or ``KeypointMSELoss``. It
            is copied, not touched.
        output (Tensor): Heatmaps or logits, what it takes, (B, K, H, W).
        target (Tensor): Target heatmaps, (B, K, H, W).
        target_weights (Tensor, optional): Weights of the keypoints, (B, K).

    Raises:
        ValueError: If the loss has none of a pixel, or refuses the maps.
    """
    check_pixel_loss(loss)
    loss = copy.deepcopy(loss).cpu()
    output, target = (x.detach().cpu().double() for x in (output, target))
    if target_weights is not None:
        target_weights = target_weights.detach().cpu().double()
    logits = output.is_logits = getattr(loss, 'takes_logits', False)
    with torch.enable_grad():
        # As in training, which is also where a loss checks its input.
        whole = loss(output.requires_grad_(), target, target_weights)
        (grad,) = torch.autograd.grad(whole, output)
    output = output.detach()
    if logits:
        name, base = 'BCE', F.binary_cross_entropy_with_logits
    else:
        name, base = 'squared error', F.mse_loss
    base = base(output, target, reduction='none')
    if hasattr(loss, 'loss_map'):
        pixels = loss.loss_map(output, target).detach()
        if not loss.use_target_weight:
            target_weights = None
    else:  # MMPose's own, which has weights whatever it is told
        pixels = base
    mask = loss._get_mask(target, target_weights, torch.ones_like(target))
    pixels = pixels * mask * loss.loss_weight
    maps = (pixels, pixels / base, grad * grad.numel())
    charged, factor, slope = (x.numpy() for x in maps)
    return Penalty(charged, factor, slope, name)


def _last(stages: Any) -> Any:
    several = isinstance(stages, (list, tuple, nn.ModuleList))
    return stages[-1] if several else stages


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
    found = sample.get('gt_fields', {}).get('heatmaps')
    count = sample.gt_instance_labels.keypoint_weights.shape[-1]
    if isinstance(found, Tensor) and len(found) == count:
        return found
    levels = found if isinstance(found, list) else [found]
    shapes = [x if x is None else tuple(x.shape) for x in levels]
    raise ValueError(
        'Penalty maps need a GenerateTarget with a codec of one target '
        f'heatmap per keypoint, got {shapes} for {count} keypoints.'
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
    Each loss sees the same prediction, as heatmaps (of logits the
    probabilities) or as logits (of heatmaps clipped to [0.001, 0.999]).

    Args:
        model (nn.Module): A top-down heatmap model of MMPose.
        data_batch (dict): What a data loader gives, with targets: ``inputs``
            and ``data_samples``, the inputs BGR from 0 to 255.
        losses (dict, optional): By name the losses. Defaults to the model's.
        keypoints (Sequence[int], optional): Which keypoints of each sample.
            Defaults to the one that the first loss charges most.
        names (Sequence[str]): Of all keypoints. Defaults to their numbers.

    Returns:
        list[PenaltyRow]: A row for each keypoint of each sample.

    Raises:
        ValueError: If a loss cannot be drawn or refuses the maps, or there
            is not one target heatmap per keypoint.
    """
    own = head_loss(model)
    if losses is None:
        losses = {type(own).__name__: own}
    for loss in losses.values():
        check_pixel_loss(loss)
    target = torch.stack([_target(d) for d in data_batch['data_samples']])
    with _undisturbed(model):
        data = model.data_preprocessor(data_batch, training=False)
        output = _last(model(data['inputs'], None, mode='tensor'))
    is_logits = getattr(output, 'is_logits', False)
    is_logits = is_logits or getattr(own, 'takes_logits', False)
    output = output.double()
    if is_logits:
        logits, heatmaps = output, output.sigmoid()
    else:
        logits, heatmaps = output.clamp(MARGIN, 1 - MARGIN).logit(), output
    samples = data['data_samples']
    labels = [sample.gt_instance_labels for sample in samples]
    weights = torch.cat([label.keypoint_weights for label in labels])
    penalties = {}
    for name, loss in losses.items():
        taken = logits if getattr(loss, 'takes_logits', False) else heatmaps
        penalties[name] = penalty(loss, taken, target, weights)

    charged = next(iter(penalties.values())).loss.mean(axis=(2, 3))
    heatmaps, target = (x.cpu().numpy() for x in (heatmaps, target))
    rows = []
    for i, sample in enumerate(samples):
        picture = torch.as_tensor(data_batch['inputs'][i]).cpu()
        picture = picture.clamp(0, 255).byte().numpy()[::-1]
        stem = Path(sample.get('img_path', '')).stem
        for k in keypoints or [int(charged[i].argmax())]:
            name = names[k] if len(names) else f'keypoint {k}'
            if weights[i, k] == 0:
                name += ' (no label)'
            row = PenaltyRow(
                label=f'{stem}\n{name}'.strip(),
                picture=picture.transpose(1, 2, 0),
                target=target[i, k],
                prediction=heatmaps[i, k],
                penalties={
                    name: Penalty(
                        x.loss[i, k], x.factor[i, k], x.grad[i, k], x.base
                    )
                    for name, x in penalties.items()
                },
            )
            rows.append(row)
    return rows


def penalty_columns(rows: Sequence[PenaltyRow]) -> List[Column]:
    """The maps as they are drawn, with a range of colours by column.

    Of each loss there are the loss of a pixel, its factor over squared error
    or BCE, and its gradient. A factor that is the same everywhere has no
    column, but stands in a title. The range of a loss begins at 0, that of a
    gradient has its middle there, and that of a factor ends at the highest
    where the loss without it is not negligible, or it would end at its poles.
    """
    columns = [Column('picture', np.stack([row.picture for row in rows]))]
    for name in ('target', 'prediction'):
        maps = np.stack([getattr(row, name) for row in rows])
        columns.append(Column(name, maps, 'viridis', *_range(maps)))
    for name, first in rows[0].penalties.items():
        loss, factor, grad = (
            np.stack([row.penalties[name][i] for row in rows])
            for i in range(3)
        )
        factors = factor[np.isfinite(factor)]
        constant = np.allclose(factors, factors[:1], rtol=1e-6, atol=0)
        title = 'loss of a pixel'
        if constant and factors.size:
            title += f'\n= {factors[0]:.3g} × {first.base}'
        columns.append(Column(title, loss, 'magma', 0, _range(loss)[1], name))
        if not constant:
            base = np.zeros_like(loss)
            np.divide(loss, factor, out=base, where=loss > 0)
            _, highest = _range(factor[base > NEGLIGIBLE * base.max()])
            ends = factors.min(), highest
            title = f'loss / {first.base}'
            columns.append(Column(title, factor, 'viridis', *ends, name))
        _, steepest = _range(np.abs(grad))
        title = f'gradient by {"logit" if first.base == "BCE" else "heatmap"}'
        ends = -steepest, steepest
        columns.append(Column(title, grad, 'RdBu_r', *ends, name))
    return columns


def _range(values: np.ndarray) -> Tuple[float, float]:
    values = values[np.isfinite(values)]
    return (values.min(), values.max()) if values.size else (0.0, 0.0)


def draw_penalties(rows: Sequence[PenaltyRow]) -> np.ndarray:
    """Draw a grid: a row for each row, columns as of :func:`penalty_columns`.

    Each column has colours of its own, the same in all rows. Values that are
    not numbers are grey. A ring is the peak of the target, a cross that of
    the prediction. The rows have the same losses; the picture is RGB.
    """
    columns = penalty_columns(rows)
    groups = [list(x) for _, x in groupby(columns, lambda c: c.loss)]
    height, width = rows[0].target.shape
    # With titles and colour bars.
    size = 1.15 * CELL * len(columns), CELL * height / width * len(rows) + 1.15
    # Pictures are larger than maps, but on the same axes.
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    figure = Figure(figsize=size, dpi=100)
    widths = [len(group) for group in groups]
    parts = figure.subfigures(1, len(groups), width_ratios=widths)
    for part, group in zip(np.atleast_1d(parts), groups):
        part.suptitle(group[0].loss, y=1, va='top', weight='bold', fontsize=9)
        grid = ImageGrid(
            part,
            (0, 0.3 / size[1], 1, 1 - 0.95 / size[1]),
            (len(rows), len(group)),
            axes_pad=(0.14, 0.06),
            cbar_mode='edge',
            cbar_location='bottom',
            cbar_pad=0.06,
            cbar_size=0.1,
        )
        for i, (panels, column) in enumerate(zip(grid.axes_column, group)):
            panels[0].set_title(column.title, fontsize=8)
            colours = dict(vmin=column.low, vmax=column.high)
            if column.cmap:
                cmap = colormaps[column.cmap].with_extremes(bad='0.7')
                colours['cmap'] = cmap
            for panel, row, image in zip(panels, rows, column.images):
                drawn = panel.imshow(image, extent=extent, **colours)
                panel.set(xticks=[], yticks=[])
                if column.title in ('picture', 'prediction'):
                    _mark_peaks(panel, row)
                if column.title == 'picture':
                    panel.set_ylabel(row.label, fontsize=7)
            bar = grid.cbar_axes[i]
            if column.cmap is None:
                bar.axis('off')
                text = 'ring: peak of the target\ncross: of the prediction'
                bar.text(0, 1, text, fontsize=7, va='top')
                continue
            extend = 'max' if (column.images > column.high).any() else None
            style = dict(orientation='horizontal', extend=extend)
            part.colorbar(drawn, cax=bar, ticks=MaxNLocator(3), **style)
            bar.tick_params(labelsize=7, length=2)
    file = io.BytesIO()
    figure.savefig(file, bbox_inches='tight', pad_inches=0.1)
    return mmcv.imfrombytes(file.getvalue(), channel_order='rgb')


def _mark_peaks(panel: Axes, row: PenaltyRow) -> None:
    for marker, heatmap in (('o', row.target), ('x', row.prediction)):
        if not np.nan_to_num(heatmap).any():
            continue  # no label or no numbers, no peak
        y, x = np.unravel_index(np.nanargmax(heatmap), heatmap.shape)
        for colour, thickness in (('black', 2.5), ('white', 1.2)):
            style = dict(ms=8, mfc='none', mec=colour, mew=thickness)
            panel.plot(x, y, marker, **style)


def find_keypoints(
    metainfo: dict, keypoints: Sequence[Union[int, str]]
) -> List[int]:
    """Numbers of keypoints by their names or numbers.

    Raises:
        ValueError: If the data set has no such keypoint.
    """
    names = metainfo['keypoint_name2id']
    numbers = {**{str(i): i for i in names.values()}, **names}
    for keypoint in keypoints:
        if str(keypoint) not in numbers:
            raise ValueError(
                f'The keypoints must be numbers from 0 to {len(names) - 1} or '
                f'among {", ".join(names)}, got {keypoint!r}.'
            )
    return [numbers[str(keypoint)] for keypoint in keypoints]
