"""ONNX files of tools/deployment/export_onnx.py, with random weights."""

import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.utils import digit_version
from mmpose.models.backbones.utils import SELayer
from mmpose.models.heads import HeatmapHead
from torch import nn

from mmpose_lossplus import (
    ChannelSpatialAttention,
    DepthwiseDeconvAttentionHead,
    SigmoidConv2d,
)

from ..factories import CONFIGS, ROOT, load_tool

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

DEMO = ROOT / 'configs' / 'demo'
LIGHT = DEMO / 'td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
ANCHOR = DEMO / 'td-hm_mobilenetv3-dwattn_anchor-1xb16-60e_demo-128x96.py'
DET = ROOT / 'configs/detectors/rtmdet-nano_1xb4-30e_demo-person.py'
RES18 = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_res50_8xb64-210e_coco-256x192.py'
]
model = dict(
    backbone=dict(depth=18),
    head=dict(
        in_channels=512,
        deconv_out_channels=(8,),
        deconv_kernel_sizes=(4,),
        decoder=dict(input_size=(48, 64), heatmap_size=(12, 16)),
    ),
)
"""
# All that differs in what is exported, but for the sizes.
KINDS = [
    'amse/td-hm_cpn50_4xb32-140e_coco-256x192',
    'anchor_loss/td-hm_cpm_8xb64-210e_lsp-368x368',
    'anchor_loss/td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256',
    'anchor_loss/td-hm_hourglass8_anchor-1xb6-200e_lsp-ms6-256x256',
    'fmse/td-hm_hrnet-w32_fmse-4xb6-200e_mpii-256x256',
    'heatmap_weighting/td-hm_litehrnet-18_8xb32-210e_coco-testdev-384x288',
    'heatmap_weighting/td-hm_mobilenetv3-dwcbam_hmw-1xb64-210e_coco-256x192',
    'heatmap_weighting/td-hm_shufflenetv2_8xb64-210e_coco-testdev-256x192',
    'heatmap_weighting/td-hm_small-hrnet-w16_8xb64-210e_coco-256x192',
]


@pytest.fixture(scope='module')
def tool():
    return load_tool('deployment/export_onnx.py')


@pytest.fixture
def rewrite(tool):
    return sys.modules['_rewrite']


@pytest.fixture
def export(tool, monkeypatch, tmp_path):
    """Run the tool in this process; a session with the file."""

    def run(config, *args):
        out = tmp_path / 'model.onnx'
        argv = ['export_onnx.py', config, '--out', out, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        tool.main()
        return onnxruntime.InferenceSession(
            str(out), providers=['CPUExecutionProvider']
        )

    return run


@pytest.fixture(scope='module')
def trained(tool, tmp_path_factory):
    """The models of LIGHT and ANCHOR, by a checkpoint."""
    folder, nets = tmp_path_factory.mktemp('m'), {}
    for path in (LIGHT, ANCHOR):
        torch.manual_seed(0)
        net = tool.Deployed(tool.build_model(Config.fromfile(path)))
        net.initialize()
        weights = folder / f'{path.stem}.pth'
        torch.save(dict(state_dict=net.model.state_dict()), weights)
        nets[path] = net, weights
    return nets


def randomize(module):
    """Weights and statistics of some size, in double precision."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)
    return module.double().eval()


@torch.no_grad()
def difference(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def test_interleave(rewrite):
    phases = [torch.full((1, 1, 1, 2), float(i)) for i in range(4)]
    expected = [[0.0, 1.0, 0.0, 1.0], [2.0, 3.0, 2.0, 3.0]]
    assert rewrite.interleave(phases).tolist() == [[expected]]


@pytest.mark.parametrize('size', [(1, 1), (1, 3), (4, 3)])
def test_split_stage(rewrite, size):
    deconv = nn.ConvTranspose2d(5, 5, 4, stride=2, padding=1, groups=5)
    pointwise = nn.Conv2d(5, 3, 1)
    whole = randomize(nn.Sequential(deconv, nn.ReLU(), pointwise))
    deconv.weight.data -= 0.5
    stage = rewrite.SplitStage(deconv, nn.ReLU(), pointwise)
    x = torch.randn(2, 5, *size, dtype=torch.double)
    phases = stage(x)
    assert [tuple(y.shape) for y in phases] == [(2, 3, *size)] * 4
    assert difference(rewrite.interleave(phases), whole(x)) < 1e-12


@pytest.mark.parametrize('final', [nn.Conv2d, SigmoidConv2d])
def test_attended_layer(rewrite, final):
    attention = ChannelSpatialAttention(8)
    whole = nn.Sequential(attention, final(8, 3, 1)).double().eval()
    phases = list(torch.randn(4, 2, 8, 3, 2, dtype=torch.double))
    expected = whole(rewrite.interleave(phases))
    # Not at the ends of the hard sigmoids, where they are constant.
    assert 0 < attention.spatial(rewrite.interleave(phases)).min() < 1
    assert difference(rewrite.AttendedLayer(*whole)(phases), expected) < 1e-12


@pytest.mark.parametrize('groups', [1, 2, 6])
@pytest.mark.parametrize('bias', [True, False])
def test_fold_norm(rewrite, groups, bias):
    deconv = nn.ConvTranspose2d(6, 12, 3, groups=groups, bias=bias)
    model = randomize(nn.Sequential(deconv, nn.BatchNorm2d(12), nn.ReLU()))
    x = torch.randn(2, 6, 4, 3, dtype=torch.double)
    expected = model(x)
    rewrite.fold(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model)
    assert difference(model(x), expected) < 1e-9


def test_fold_hard_sigmoid(rewrite):
    acts = (dict(type='ReLU'), dict(type='HSigmoid', bias=1.0, divisor=2.0))
    layer = SELayer(16, ratio=4, act_cfg=acts).double().eval()
    x = torch.randn(2, 16, 4, 3, dtype=torch.double)
    expected = layer(x)
    rewrite.fold(layer)
    assert isinstance(layer.conv2.activate, nn.Hardtanh)
    assert difference(layer(x), expected) < 1e-12


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(final_layer=dict(type='SigmoidConv2d', kernel_size=1)),
        dict(final_layer=dict(kernel_size=3, padding=1)),
        dict(final_layer=None),
        dict(conv_out_channels=[16], conv_kernel_sizes=[1]),
        dict(deconv_attentions=[None] * 3),
        dict(deconv_attentions=[dict(type='CBAM')] * 3),
        dict(deconv_attentions=[dict(type='ChannelSpatialAttention')] * 3),
    ],
)
def test_split_head(rewrite, options):
    head = DepthwiseDeconvAttentionHead(
        16, 16, deconv_out_channels=(8, 8, 16), **options
    )
    randomize(head)
    x = torch.randn(2, 16, 3, 2, dtype=torch.double)
    expected = head((x,))
    rewrite.fold(head)
    rewrite.split_deconvs(head)
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in head.modules())
    scale = expected.abs().max().item()
    assert difference(head((x,)), expected) < 1e-12 * scale


def test_heads_that_cannot_be_split(rewrite):
    head = HeatmapHead(16, 17, deconv_out_channels=(8, 8, 8))
    with pytest.raises(ValueError, match='got HeatmapHead'):
        rewrite.split_deconvs(head)
    head = DepthwiseDeconvAttentionHead(16, 17, deconv_kernel_sizes=(4, 3, 4))
    with pytest.raises(ValueError, match='kernel 4, got 3'):
        rewrite.split_deconvs(head)


@pytest.mark.parametrize('path', [LIGHT, ANCHOR])
@pytest.mark.parametrize('split', [True, False])
def test_light_head(export, trained, capsys, path, split):
    net, weights = trained[path]
    session = export(path, weights, *['--split-deconv'] * split)
    assert 'RANDOM' not in capsys.readouterr().out
    image = net.random_input(5)
    with torch.no_grad():
        expected = net(image).numpy()
    (found,) = session.run(['heatmaps'], dict(image=image.numpy()))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    if path == ANCHOR:  # probabilities, not logits
        assert found.min() > 0
        assert found.max() < 1
    assert session.get_outputs()[0].shape == ['batch', 17, 32, 24]


def test_what_is_left(tool, trained):
    """No batch norm, and if the head was split no deconvolution."""
    net, _ = trained[LIGHT]
    for split, count in ((False, 2), (True, 0)):
        model = tool.export(net.folded(split))
        kinds = [node.op_type for node in model.graph.node]
        assert 'BatchNormalization' not in kinds
        assert kinds.count('ConvTranspose') == count


def test_metadata(export, trained):
    session = export(LIGHT, trained[LIGHT][1])
    meta = session.get_modelmeta().custom_metadata_map
    meta = {key: json.loads(value) for key, value in meta.items()}
    assert meta['input_size'] == [96, 128]
    assert meta['channels'] == 'RGB'
    assert meta['mean'] == pytest.approx([123.675, 116.28, 103.53])
    assert meta['std'] == pytest.approx([58.395, 57.12, 57.375])
    assert meta['normalizes'] is False
    assert len(meta['keypoint_names']) == 17
    assert meta['keypoint_names'][1:3] == ['left_eye', 'right_eye']
    assert meta['flip_indices'][1:3] == [2, 1]
    assert meta['decoder']['type'] == 'MSRAHeatmap'
    assert meta['decoder']['heatmap_size'] == [24, 32]
    assert meta['weights'].endswith('.pth')


def test_normalize(export, trained):
    """Pixels in, the same heatmaps out."""
    net, weights = trained[LIGHT]
    session = export(LIGHT, weights, '--normalize')
    pixels = 255 * torch.rand(2, 3, 128, 96)
    with torch.no_grad():
        expected = net(net.normalized(pixels)).numpy()
    (found,) = session.run(None, dict(image=pixels.numpy()))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_other_heads(export, capsys, tmp_path):
    config = tmp_path / 'res18.py'
    config.write_text(RES18)
    session = export(config, '--opset', 13)
    assert 'the weights are RANDOM' in capsys.readouterr().out
    assert session.get_outputs()[0].shape == ['batch', 17, 4, 4]
    meta = session.get_modelmeta().custom_metadata_map
    assert meta['weights'] == '"random"'
    with pytest.raises(SystemExit, match='got HeatmapHead'):
        export(config, '--split-deconv')


@pytest.mark.parametrize('change', [0.1, float('nan')])
def test_a_difference_leaves_no_file(
    tool, export, trained, monkeypatch, tmp_path, change
):
    (tmp_path / 'model.onnx').write_text('older')
    _, weights = trained[LIGHT]
    forward = tool.Deployed.forward
    monkeypatch.setattr(
        tool.Deployed,
        'forward',
        # In PyTorch alone.
        lambda self, image: forward(self, image)
        + (0 if torch.onnx.is_in_onnx_export() else change),
    )
    with pytest.raises(SystemExit, match='more than 0.0001 of the largest'):
        export(LIGHT, weights)
    assert [p.name for p in tmp_path.iterdir()] == ['model.onnx']
    assert (tmp_path / 'model.onnx').read_text() == 'older'


def test_bad_input(export, trained, tmp_path):
    _, weights = trained[LIGHT]
    with pytest.raises(SystemExit, match='config none.py does not exist'):
        export('none.py')
    with pytest.raises(SystemExit, match='checkpoint none.pth does not exist'):
        export(LIGHT, 'none.pth')
    (tmp_path / 'wrong.py').write_text("model = dict(type='Wrong')")
    with pytest.raises(SystemExit, match='wrong.py gives no top-down model'):
        export(tmp_path / 'wrong.py')
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match=r'other.pth does not fit .*lacks'):
        export(LIGHT, tmp_path / 'other.pth')
    (tmp_path / 'text.pth').write_text('no weights')
    with pytest.raises(SystemExit, match='text.pth cannot be read: '):
        export(LIGHT, tmp_path / 'text.pth')
    with pytest.raises(SystemExit, match='cannot be exported: '):
        export(LIGHT, weights, '--opset', 1)
    with pytest.raises(SystemExit, match='there is no folder'):
        export(LIGHT, weights, '--out', tmp_path / 'none' / 'model.onnx')
    assert not list(tmp_path.glob('*.onnx*'))


@pytest.mark.slow
@pytest.mark.parametrize('name', KINDS)
def test_kinds(export, capsys, name):
    old = digit_version(torch.__version__) < digit_version('1.10.0')
    if old and 'cbam' in name:
        pytest.skip('torch before 1.10 cannot export amax')
    (path,) = [p for p in CONFIGS if str(p).endswith(f'{name}.py')]
    export(path)
    assert 'Batch 3: largest difference' in capsys.readouterr().out
