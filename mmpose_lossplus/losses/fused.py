"""Mean of a loss map and its gradient in one pass over the maps.

Autograd keeps one map for every operation of an equation. Here an equation
gives its loss and its derivative together, for a block of keypoints at a time
that stays in the cache, and the derivative is the only map that is kept.
"""

from typing import Callable, Optional, Tuple

import torch
from mmengine.utils import digit_version
from torch import Tensor

from .functional import is_compiling

# The first version tried where a compiled autograd.Function takes a function.
CAN_COMPILE = digit_version(torch.__version__) >= digit_version('2.13.0')

# Output and target of some keypoints, (N, 1, H * W) -> loss and its derivative
# by the output, both of this shape. The tensors that it returns are changed.
LossAndGrad = Callable[[Tensor, Tensor], Tuple[Tensor, Tensor]]

# Pixels that a thread of a CPU works on: PyTorch splits no smaller operation,
# and ten such maps of float32 fit in 2 MB of cache.
BLOCK = 49152


def fused_mean(
    output: Tensor,
    target: Tensor,
    mask: Optional[Tensor],
    loss_and_grad: LossAndGrad,
) -> Tensor:
    """Mean of a masked loss map, differentiable once by the output.

    Args:
        output (Tensor): S, shape (B, K, H, W), not empty.
        target (Tensor): G, shape (B, K, H, W), without gradient.
        mask (Tensor, optional): Factor of the loss, without gradient, of a
            shape that broadcasts to (B, K, H, W).
        loss_and_grad (Callable): Loss of each pixel and its derivative.

    Returns:
        Tensor: The mean over all pixels, a scalar.

    Raises:
        RuntimeError: In a backward with ``create_graph=True``.
    """
    if is_compiling():
        factor = torch.ones_like(output[:1, :1]) if mask is None else mask
        factor = factor / output.numel()
        return _CompiledMean.apply(output, target, factor, loss_and_grad)
    return _FusedMean.apply(output, target, mask, loss_and_grad)


class _CompiledMean(torch.autograd.Function):
    """For a compiler, which makes blocks by itself."""

    @staticmethod
    def forward(ctx, output, target, factor, loss_and_grad):
        loss, grad = loss_and_grad(output, target)
        ctx.save_for_backward(grad * factor)
        return (loss * factor).sum()

    @staticmethod
    def backward(ctx, grad_output):
        (grad,) = ctx.saved_tensors
        return grad * grad_output, None, None, None


class _FusedMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, output, target, mask, loss_and_grad):
        ctx.save_for_backward(output, target, mask)
        ctx.loss_and_grad = loss_and_grad
        mean, ctx.grad = _mean_and_grad(output, target, mask, loss_and_grad)
        return mean

    @staticmethod
    def backward(ctx, grad_output):
        if torch.is_grad_enabled():
            raise RuntimeError(
                'The loss can be differentiated once, got a backward with '
                'create_graph=True.'
            )
        grad, ctx.grad = ctx.grad, None
        if grad is None:  # given away by an earlier backward
            _, grad = _mean_and_grad(*ctx.saved_tensors, ctx.loss_and_grad)
        # To look at the number saves a pass, on a GPU it costs more.
        if grad.device.type != 'cpu' or grad_output != 1:
            grad.mul_(grad_output)
        return grad, None, None, None


def _mean_and_grad(
    output: Tensor,
    target: Tensor,
    mask: Optional[Tensor],
    loss_and_grad: LossAndGrad,
) -> Tuple[Tensor, Tensor]:
    num_pixels = output.shape[-2:].numel()
    output_rows = output.reshape(-1, 1, num_pixels)
    target_rows = target.reshape(-1, 1, num_pixels)
    if mask is None:
        factor = output.new_ones(()).expand(len(output_rows), 1, 1)
    elif mask.shape[-2:].numel() == 1:
        factor = mask.expand(*output.shape[:2], 1, 1).reshape(-1, 1, 1)
    else:
        factor = mask.expand(output.shape).reshape(-1, 1, num_pixels)
    factor = factor / output.numel()

    mean = output.new_zeros(())
    grad = torch.empty_like(output_rows)
    step = len(output_rows)
    if output.device.type == 'cpu':
        step = max(1, BLOCK * torch.get_num_threads() // num_pixels)
    for start in range(0, len(output_rows), step):
        rows = slice(start, start + step)
        loss, derivative = loss_and_grad(output_rows[rows], target_rows[rows])
        mean += loss.mul_(factor[rows]).sum()
        torch.mul(derivative, factor[rows], out=grad[rows])
    return mean, grad.view(output.shape)
