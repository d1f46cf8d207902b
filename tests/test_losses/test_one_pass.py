"""One pass over the maps gives what autograd gives."""

import pytest
import torch
from mmpose.registry import MODELS

from mmpose_lossplus import FocusedMSELoss, RegularizedMSELoss
from mmpose_lossplus.losses import one_pass
from mmpose_lossplus.losses.one_pass import OnePassMean

from ..factories import ALL_LOSSES, DEFAULT_LOSSES, gradient


def by_plain_autograd(loss, output, target, weights, mask):
    output = output.detach().clone().requires_grad_()
    value = loss.loss_map(output, target)
    for factor in (weights[..., None, None], mask):
        value = value * factor
    value = value.mean() * loss.loss_weight
    value.backward()
    return value.detach(), output.grad


@pytest.fixture(params=[1, 200, 10**6], ids=['row', 'rows', 'all'])
def block(request, monkeypatch):
    """Less than a map of 16 x 12, some maps, and all at a time."""
    monkeypatch.setattr(one_pass, 'BLOCK', request.param)


@pytest.mark.parametrize('cfg', ALL_LOSSES)
@pytest.mark.parametrize('mask_shape', [(2, 3, 16, 12), (2, 1, 16, 12)])
def test_parity_with_autograd(cfg, output, target, mask_shape, block):
    loss = MODELS.build(dict(cfg, loss_weight=0.7))
    weights = torch.rand(2, 3).double()
    for mask in (torch.ones(()), torch.rand(mask_shape).double()):
        expected = by_plain_autograd(loss, output, target, weights, mask)
        args = (target, weights, mask if mask.ndim else None)
        for ours, naive in zip(gradient(loss, output, *args), expected):
            torch.testing.assert_close(ours, naive)


@pytest.mark.parametrize('cfg', ALL_LOSSES)
def test_peak_of_float32_logits(cfg, target):
    """Both sides of every threshold of softplus and sigmoid."""
    loss = MODELS.build(cfg)
    output = torch.linspace(-110, 110, target.numel()).view(target.shape)
    weights, mask = torch.ones(2, 3), torch.ones(())
    target = target.float()
    expected = by_plain_autograd(loss, output, target, weights, mask)
    for ours, naive in zip(gradient(loss, output, target), expected):
        torch.testing.assert_close(ours, naive)


def test_graph_that_is_kept(output, target):
    """Two backward passes, with factors that are 1 and not."""
    loss = FocusedMSELoss()
    output.requires_grad_()
    value = loss(output, target)
    (first,) = torch.autograd.grad(value, output, retain_graph=True)
    (second,) = torch.autograd.grad(3 * value, output)
    torch.testing.assert_close(second, 3 * first)


@pytest.mark.parametrize('cfg', DEFAULT_LOSSES)
def test_second_derivative(cfg, output, target):
    """Of a gradient penalty, say: it is what autograd gives."""
    loss = MODELS.build(cfg)
    output.requires_grad_()
    result = []
    for value in (loss(output, target), loss.loss_map(output, target).mean()):
        (grad,) = torch.autograd.grad(value, output, create_graph=True)
        result += torch.autograd.grad((grad**2).sum(), output)
    torch.testing.assert_close(*result)
    assert (result[0] != 0).any()


def test_a_target_that_is_learnt(output, target):
    """Of a teacher, say: it has its gradient."""
    target.requires_grad_()
    FocusedMSELoss(gamma=0)(output.requires_grad_(), target).backward()
    torch.testing.assert_close(target.grad, -output.grad)


def test_a_loss_map_of_somebody_else(output, target):
    """Not the derivative of the equation that it replaces."""

    class Mine(FocusedMSELoss):
        def loss_map(self, output, target):
            return 5 * output

    class Mixed(Mine, RegularizedMSELoss):
        pass

    for loss in (Mine(), Mixed()):
        _, grad = gradient(loss, output, target)
        expected = torch.full_like(grad, 5 / grad.numel())
        torch.testing.assert_close(grad, expected)


def test_weights_of_half_precision(output, target):
    loss, output = FocusedMSELoss(), output.repeat(50, 1, 9, 9).float()
    target, weights = target.repeat(50, 1, 9, 9), torch.ones(100, 3).half()
    value, _ = gradient(loss, output, target.float(), weights)
    torch.testing.assert_close(value, loss(output, target.float()))


def test_a_function_of_the_whole_batch(output, target):
    """It sees maps (B, K, H, W), not a block of them."""
    shapes = []

    def weight_fn(target):
        shapes.append(target.shape)
        return target / target.amax()

    loss = MODELS.build(
        dict(type='HeatmapWeightingMSELoss', weight_fn=weight_fn)
    )
    gradient(loss, output, target)
    assert {*shapes} == {target.shape}


def test_no_map_is_kept_but_one(output, target):
    kept = []

    def keep(x):
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        FocusedMSELoss()(output.requires_grad_(), target)
    maps = {x.data_ptr() for x in kept if x.shape == target.shape}
    assert len(maps - {output.data_ptr(), target.data_ptr()}) == 1


def test_by_hand():
    """Two maps of two pixels; the second is masked by a half."""
    output = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], requires_grad=True)
    mask = torch.tensor([[[[1.0]], [[0.5]]]])

    class Square:
        def loss_and_grad(self, output, target):
            return output**2, 2 * output

    mean = OnePassMean.apply(output, torch.zeros_like(output), mask, Square())
    assert mean.item() == (1 + 4 + 0.5 * 9 + 0.5 * 16) / 4
    mean.backward()
    assert output.grad.flatten().tolist() == [0.5, 1.0, 0.75, 1.0]
