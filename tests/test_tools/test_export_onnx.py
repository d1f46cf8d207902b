"""ONNX files of tools/deployment/export_onnx.py."""

import functools
import http.server
import json
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

from ..factories import ROOT, load_tool, read

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')

from mmpose_lossplus.experiments import export as onnx_export  # noqa: E402

LIGHT = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
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


@pytest.fixture
def export(monkeypatch, tmp_path):
    """Run the tool in this process; a session with the file."""

    def run(config, *args):
        out = tmp_path / 'model.onnx'
        argv = ['export_onnx.py', config, '--out', out, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        load_tool('deployment/export_onnx.py').main()
        return onnxruntime.InferenceSession(
            str(out), providers=['CPUExecutionProvider']
        )

    return run


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The model of LIGHT and its checkpoint."""
    net = onnx_export.random_model(read(LIGHT))
    weights = tmp_path_factory.mktemp('m') / 'light.pth'
    torch.save(dict(state_dict=net.model.state_dict()), weights)
    return net, weights


@pytest.mark.parametrize('options', [[], ['--split-deconv', '--normalize']])
def test_trained_weights(export, trained, capsys, options):
    net, weights = trained
    session = export(LIGHT, weights, *options)
    assert 'RANDOM' not in capsys.readouterr().out
    pixels = 255 * torch.rand(5, 3, 128, 96)
    image = (pixels - net.mean) / net.std
    (expected,) = net.predict(image)
    crops = pixels if '--normalize' in options else image
    (found,) = session.run(['heatmaps'], dict(image=crops.numpy()))
    assert np.abs(found - expected.numpy()).max() < 1e-4 * expected.abs().max()
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta['weights']) == str(weights)
    assert json.loads(meta['normalizes']) == ('--normalize' in options)


def test_other_heads(export, capsys, tmp_path):
    config = tmp_path / 'res18.py'
    config.write_text(RES18)
    session = export(config, '--opset', 13)
    assert 'RANDOM' in capsys.readouterr().out
    assert session.get_outputs()[0].shape == ['batch', 17, 4, 4]
    meta = session.get_modelmeta().custom_metadata_map
    assert meta['weights'] == '"random"'
    with pytest.raises(SystemExit, match='got HeatmapHead'):
        export(config, '--split-deconv')


def test_checkpoint_of_a_url(export, trained, monkeypatch, tmp_path):
    _, weights = trained
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(weights.parent)
    )
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/{weights.name}'
        session = export(LIGHT, url)
        server.shutdown()
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta['weights']) == url


@pytest.mark.parametrize('change', [0.1, float('nan')])
def test_a_difference_leaves_no_file(
    export, trained, monkeypatch, tmp_path, change
):
    (tmp_path / 'model.onnx').write_text('older')
    predict = onnx_export.Deployed.predict
    monkeypatch.setattr(
        onnx_export.Deployed,
        'predict',  # PyTorch's heatmaps alone
        lambda self, image: [x + change for x in predict(self, image)],
    )
    with pytest.raises(SystemExit, match='was not written'):
        export(LIGHT, trained[1])
    assert [p.name for p in tmp_path.iterdir()] == ['model.onnx']
    assert (tmp_path / 'model.onnx').read_text() == 'older'


def test_bad_input(export, trained, tmp_path):
    wrong, other, text = (
        tmp_path / name for name in ('wrong.py', 'other.pth', 'text.pth')
    )
    wrong.write_text("model = dict(type='Wrong')")
    torch.save(nn.Linear(1, 1).state_dict(), other)
    text.write_text('no weights')
    for args, message in (
        (['none.py'], 'none.py'),
        ([wrong], 'wrong.py'),
        ([LIGHT, 'none.pth'], 'none.pth'),
        ([LIGHT, other], 'other.pth does not fit'),
        ([LIGHT, text], 'text.pth'),
        ([LIGHT, trained[1], '--opset', 1], 'cannot be exported'),
        ([LIGHT, '--out', tmp_path / 'none' / 'model.onnx'], '2'),
    ):
        with pytest.raises(SystemExit, match=message):
            export(*args)
    assert not list(tmp_path.glob('*.onnx*'))
