"""ONNX files of tools/deployment/export_onnx.py."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ..factories import DETECTOR, ROOT, load_tool, read, write_spot_data

onnxruntime = pytest.importorskip('onnxruntime')
package = pytest.importorskip('mmpose_lossplus.experiments.export')

CONFIGS = ROOT / 'configs'
LIGHT = CONFIGS / 'demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'


@pytest.fixture
def export(monkeypatch, tmp_path):
    """Run the tool in this process; a session with the file."""

    def run(config, *args):
        out = tmp_path / 'model.onnx'
        argv = ['export_onnx.py', config, '--out', out, *args]
        monkeypatch.setattr(sys, 'argv', [str(arg) for arg in argv])
        load_tool('deployment/export_onnx.py').main()
        return onnxruntime.InferenceSession(str(out))

    return run


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The model of LIGHT and its checkpoint."""
    net = package.random_model(read(LIGHT))
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


def test_other_heads(export, capsys):
    (config,) = CONFIGS.glob('*/td-hm_shufflenetv2_*_coco-testdev-256x192.py')
    session = export(config, '--opset', 13)
    assert 'RANDOM' in capsys.readouterr().out
    assert session.get_outputs()[0].shape == ['batch', 17, 64, 48]
    with pytest.raises(SystemExit, match='got HeatmapHead'):
        export(config, '--split-deconv')


def test_checkpoint_of_a_url(export, trained, monkeypatch):
    loaded = torch.load(trained[1])
    load_url = 'mmengine.runner.checkpoint.load_url'
    monkeypatch.setattr(load_url, lambda url, **_: loaded)
    assert export(LIGHT, 'https://example.com/light.pth').get_outputs()


@pytest.mark.parametrize('change', [0.1, float('nan')])
def test_a_difference(export, trained, monkeypatch, tmp_path, change):
    (tmp_path / 'model.onnx').write_text('older')
    predict = package.Deployed.predict
    monkeypatch.setattr(
        package.Deployed,
        'predict',  # PyTorch's heatmaps alone
        lambda self, image: [x + change for x in predict(self, image)],
    )
    with pytest.raises(SystemExit, match='was not written'):
        export(LIGHT, trained[1])
    assert [p.name for p in tmp_path.iterdir()] == ['model.onnx']
    assert (tmp_path / 'model.onnx').read_text() == 'older'


def test_decoded_and_flipped(export, trained, capsys):
    session = export(LIGHT, trained[1], '--decode', '--flip-test')
    assert "differ from MMPose's by" in capsys.readouterr().out
    outputs = {x.name: x.shape for x in session.get_outputs()}
    assert outputs == dict(keypoints=['batch', 17, 2], scores=['batch', 17])
    meta = session.get_modelmeta().custom_metadata_map
    assert (meta['decoded'], meta['flip_test']) == ('true', 'true')


def test_a_difference_of_keypoints(export, trained, monkeypatch, tmp_path):
    decode = package.HeatmapDecoder.forward

    def moved(self, heatmaps):
        keypoints, scores = decode(self, heatmaps)
        return keypoints + 0.02, scores

    monkeypatch.setattr(package.HeatmapDecoder, 'forward', moved)
    with pytest.raises(SystemExit, match='was not written: its keypoints'):
        export(LIGHT, trained[1], '--decode')
    assert not (tmp_path / 'model.onnx').exists()


def test_what_cannot_be_decoded_or_flipped(export, tmp_path):
    config = tmp_path / 'config.py'
    base = f'_base_ = {str(LIGHT)!r}\n'
    for change, option, message in (
        (
            "model = dict(head=dict(decoder=dict(_delete_=True, type='Megvii"
            "Heatmap', input_size=(96, 128), heatmap_size=(24, 32), "
            'kernel_size=11)))',
            '--decode',
            'cannot be exported: .*MegviiHeatmap',
        ),
        (
            'test_dataloader = dict(dataset=dict(_delete_=True))',
            '--flip-test',
            'cannot be exported: .*flip_indices of 17',
        ),
    ):
        config.write_text(base + change)
        with pytest.raises(SystemExit, match=message) as stop:
            export(config, option)
        assert '\n' not in str(stop.value)


def test_detectors(export, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match='without --flip-test, --decode'):
        export(DETECTOR, '--decode', '--flip-test')
    session = export(DETECTOR)
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta['detects']) == 'person'
    (other,) = (CONFIGS / 'detectors').glob('mask-rcnn_*.py')
    with pytest.raises(SystemExit, match='must be an RTMDet'):
        export(other)


@pytest.mark.parametrize('precision', ['int8', 'fp16'])
def test_fewer_bits(export, tmp_path, capsys, precision):
    """The file that run_onnx.py reads, and a table of what it costs."""
    config, weights = write_spot_data(tmp_path)
    option = ['--int8', config] if precision == 'int8' else ['--fp16']
    session = export(config, weights, '--decode', *option)
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta['precision']) == precision
    keypoints, scores = session.run(
        None, dict(image=np.zeros((2, 3, 128, 96), np.float32))
    )
    assert (keypoints.shape, scores.shape) == ((2, 3, 2), (2, 3))
    header, *rows = capsys.readouterr().out.splitlines()[-3:]
    assert header.split()[0] == 'PCK'
    assert [row.split()[0] for row in rows] == ['fp32', precision]
    assert [float(row.split()[1]) for row in rows] == [1, 1]


def test_what_cannot_be_fewer_bits(export, tmp_path, monkeypatch, capsys):
    config, weights = write_spot_data(tmp_path)
    for source in ('none.py', tmp_path / 'spots.pth', tmp_path):
        with pytest.raises(SystemExit, match='cannot calibrate') as stop:
            export(config, 'never loaded.pth', '--int8', source)
        assert '\n' not in str(stop.value)
    with pytest.raises(SystemExit, match='2'):
        export(config, weights, '--int8', config, '--fp16')
    assert 'not allowed with' in capsys.readouterr().err
    quantization = 'mmpose_lossplus.experiments.quantization'
    monkeypatch.setattr(f'{quantization}.error_of', lambda *_: float('nan'))
    with pytest.raises(SystemExit, match='was not written'):
        export(config, weights, '--fp16')
    assert not list(tmp_path.glob('*.onnx*'))


def test_bad_input(export, trained, tmp_path):
    names = 'wrong.py', 'other.pth', 'text.pth'
    wrong, other, text = map(tmp_path.joinpath, names)
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
        (['--help'], '0'),
    ):
        with pytest.raises(SystemExit, match=message):
            export(*args)
    assert not list(tmp_path.glob('*.onnx*'))
