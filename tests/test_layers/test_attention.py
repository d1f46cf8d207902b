import pytest
import torch

from mmpose_lossplus import CBAM, ChannelSpatialAttention, SqueezeExcitation

BLOCKS = [ChannelSpatialAttention, SqueezeExcitation, CBAM]


@pytest.mark.parametrize('block', BLOCKS)
def test_keeps_the_shape_and_passes_gradients(block):
    block = block(16, ratio=4)
    x = torch.randn(2, 16, 7, 5, requires_grad=True)
    y = block(x)
    assert y.shape == x.shape
    y.sum().backward()
    assert all(p.grad is not None for p in [x, *block.parameters()])


def test_paper_block_is_identity_plus_channel_plus_spatial():
    """Hard sigmoid is 0 below -3, 1/2 at 0 and 1 above 3."""
    block = ChannelSpatialAttention(8, ratio=2)
    x = torch.randn(1, 8, 4, 4)
    last = [block.channel[2], block.spatial[2]]
    for channel, spatial in [(-9, -9), (0, -9), (9, 0), (9, 9)]:
        for conv, value in zip(last, (channel, spatial)):
            torch.nn.init.zeros_(conv.weight)
            torch.nn.init.constant_(conv.bias, value)
        factor = 1 + sum({-9: 0, 0: 0.5, 9: 1}[v] for v in (channel, spatial))
        torch.testing.assert_close(block(x), factor * x)


def hard_sigmoid(x):
    return ((x + 3) / 6).clamp(0, 1)


def test_squeeze_excitation_by_hand():
    block = SqueezeExcitation(4, ratio=2)
    x = 20 * torch.randn(9, 4, 3, 3)
    pooled = x.mean((2, 3), keepdim=True)
    first, second = block.conv1.conv, block.conv2.conv
    scale = hard_sigmoid(second(first(pooled).relu()))
    assert {0, 1} & set(scale.unique().tolist())  # clamped somewhere
    torch.testing.assert_close(block(x), x * scale)


def test_cbam_uses_average_and_maximum():
    block = CBAM(4, ratio=2)
    x = 20 * torch.randn(9, 4, 5, 5)
    average, maximum = x.mean((2, 3)), x.flatten(2).max(2).values
    mlp = [block.mlp(v[..., None, None]) for v in (average, maximum)]
    y = x * hard_sigmoid(mlp[0] + mlp[1])
    pooled = torch.stack([y.mean(1), y.max(1).values], dim=1)
    torch.testing.assert_close(
        block(x), y * hard_sigmoid(block.spatial(pooled))
    )


@pytest.mark.parametrize('ratio', [2, 3, 4])
def test_parameters(ratio):
    """Weights of two layers of C and C / ratio; bias where the code has it."""
    channels, squeezed = 16, 16 // ratio
    weights = 2 * channels * squeezed
    biases = channels + squeezed
    expected = {
        ChannelSpatialAttention: weights + biases + channels + 1 + 9 + 1,
        SqueezeExcitation: weights + biases,
        CBAM: weights + 2 * 49 + 1,
    }
    for block, count in expected.items():
        parameters = block(channels, ratio=ratio).parameters()
        assert sum(p.numel() for p in parameters) == count, block


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('ratio', [0, 17, -4])
def test_bad_ratio(block, ratio):
    with pytest.raises(ValueError, match=f'ratio .* got {ratio}'):
        block(16, ratio=ratio)


def test_bad_kernel_size():
    with pytest.raises(ValueError, match='odd, got 4'):
        CBAM(16, kernel_size=4)
