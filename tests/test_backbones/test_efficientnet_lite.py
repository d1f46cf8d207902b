"""EfficientNet-Lite: its published size, its padding, its weights."""

import pytest
import torch

from mmpose_lossplus import EfficientNetLite

STRIDES = (2, 4, 8, 16, 16, 32, 32)
CHANNELS = (16, 24, 40, 80, 112, 192, 320)


@pytest.mark.parametrize(
    ('arch', 'channels', 'millions'),
    [
        ('lite0', CHANNELS, 4.7),
        ('lite1', CHANNELS, 5.4),
        ('lite2', (16, 24, 48, 88, 120, 208, 352), 6.1),
    ],
)
def test_size(arch, channels, millions):
    """Shapes, and the parameters that TensorFlow's authors count."""
    model = EfficientNetLite(arch, out_indices=range(7))
    with torch.no_grad():
        outputs = model(torch.zeros(1, 3, 96, 64))
    assert [tuple(output.shape) for output in outputs] == [
        (1, channel, 96 // stride, 64 // stride)
        for channel, stride in zip(channels, STRIDES)
    ]
    # The last convolution, its norm and the classifier are not ours.
    rest = channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    count = sum(p.numel() for p in model.parameters()) + rest
    assert round(count / 1e6, 1) == millions


def test_pads_at_the_end():
    """As TensorFlow does at a stride of 2, where the size is even."""
    conv = EfficientNetLite().conv1.conv
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1] = 1  # the middle of a 3x3 window
    image = torch.arange(48.0).reshape(1, 1, 6, 8).repeat(1, 3, 1, 1)
    assert torch.equal(conv(image)[0, 0], image[0, 0, 1::2, 1::2])


def test_only_what_is_asked_for_is_built_and_loaded():
    whole = EfficientNetLite(out_indices=(2, 6)).state_dict()
    model = EfficientNetLite(out_indices=(2, -3))
    own = model.state_dict()
    assert max(own) < 'layer6'
    model.load_state_dict(whole)  # strictly
    assert all(torch.equal(own[name], whole[name]) for name in own)
    with pytest.raises(RuntimeError, match='layer8'):
        model.load_state_dict({**whole, 'layer8.weight': torch.ones(1)})
    del whole['layer1.0.linear_conv.conv.weight']
    with pytest.raises(RuntimeError, match='layer1'):
        model.load_state_dict(whole)


def test_frozen_stages():
    model = EfficientNetLite(frozen_stages=2)
    model.train()
    fixed = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert {name.split('.')[0] for name in fixed} == {
        'conv1',
        'layer1',
        'layer2',
    }
    assert not model.layer2.training
    assert model.layer3.training


@pytest.mark.parametrize(
    ('options', 'named'),
    [(dict(arch='lite9'), 'lite9'), (dict(out_indices=(7,)), '7')],
)
def test_bad_arguments(options, named):
    with pytest.raises(ValueError, match=named):
        EfficientNetLite(**options)
