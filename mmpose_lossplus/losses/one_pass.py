"""Mean of a loss and its gradient in one pass over the maps, for speed alone.

Autograd keeps a map for each operation. Here a loss gives value and derivative
together, for some keypoints at a time that stay in the cache.
"""

from typing import Any, Tuple, Union

import torch
from torch import Tensor

# Pixels for a CPU's thread: ten such maps of float32 fit in 2 MB of cache.
BLOCK = 49152


def squares(
    *terms: Tuple[Union[float, Tensor], Tensor],
) -> Tuple[Tensor, Tensor]:
    """Sum of w r^2 and its derivative, 2 w r if r grows with slope 1."""
    (weight, residual), *others = terms
    half_grad = weight * residual
    loss = half_grad * residual
    for weight, residual in others:
        weighted = weight * residual
        loss.addcmul_(weighted, residual)
        half_grad += weighted
    return loss, half_grad.mul_(2)


class OnePassMean(torch.autograd.Function):
    """Mean over all pixels of a loss times a mask that broadcasts to it."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, target: Tensor, mask: Tensor, loss: Any
    ) -> Tensor:
        ctx.loss = loss
        pixels = output.shape[-2:].numel()
        s, g = (x.reshape(-1, 1, pixels) for x in (output, target))
        size = output.shape[-2:] if mask.shape[-2:].numel() > 1 else (1, 1)
        factor = mask.to(s.dtype).expand(*output.shape[:2], *size)
        factor = factor.reshape(-1, 1, size[0] * size[1]) / output.numel()
        mean, grad = output.new_zeros(()), torch.empty_like(s)
        step = len(s)
        if s.device.type == 'cpu':
            step = max(1, BLOCK * torch.get_num_threads() // pixels)
        for i in range(0, len(s), step):
            rows = slice(i, i + step)
            value, derivative = loss.loss_and_grad(s[rows], g[rows])
            mean += value.mul_(factor[rows]).sum()
            torch.mul(derivative, factor[rows], out=grad[rows])
        ctx.save_for_backward(grad.view(output.shape), output, target, mask)
        return mean

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        grad, output, target, mask = ctx.saved_tensors
        if torch.is_grad_enabled():  # by create_graph=True
            mean = (ctx.loss.loss_map(output, target) * mask).mean()
            (grad,) = torch.autograd.grad(mean, output, create_graph=True)
        # A look at the number saves a pass; on a GPU it would cost more.
        if grad.device.type != 'cpu' or grad_output != 1:
            grad = grad * grad_output
        return grad, None, None, None
