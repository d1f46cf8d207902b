"""One graph under torch.compile, for batches of any size."""

import pytest
import torch
from mmpose.registry import MODELS

from ..factories import DEFAULT_LOSSES, gradient, random_maps

MASKS = [None, (1, 8, 6), (3, 8, 6)]


def batch(size, mask_shape):
    output, target, weights = random_maps(size, (size, 3, 8, 6))
    mask = mask_shape and (torch.rand(size, *mask_shape) > 0.5).float()
    return output, target, weights, mask


@pytest.mark.parametrize('cfg', DEFAULT_LOSSES)
@pytest.mark.parametrize('mask_shape', MASKS)
@pytest.mark.parametrize('skip_empty_channel', [False, True])
def test_one_graph(cfg, mask_shape, skip_empty_channel):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    loss = MODELS.build(dict(cfg, skip_empty_channel=skip_empty_channel))
    compiled = torch.compile(
        loss, backend=counter, fullgraph=True, dynamic=True
    )
    for size in (2, 5, 3):
        args = batch(size, mask_shape)
        result = gradient(compiled, *args)
        torch.testing.assert_close(result, gradient(loss, *args))
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.parametrize('cfg', DEFAULT_LOSSES)
def test_compiled_by_inductor(cfg):
    torch._dynamo.reset()
    loss = MODELS.build(cfg)
    compiled = torch.compile(loss, fullgraph=True)
    args = batch(4, (1, 8, 6))
    torch.testing.assert_close(
        gradient(compiled, *args), gradient(loss, *args)
    )
