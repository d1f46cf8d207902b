"""Tables of tools/analysis_tools/benchmark_{speed,losses}.py."""

import argparse
import sys

import pytest

from mmpose_lossplus import AnchorLoss, SigmoidConv2d
from mmpose_lossplus.experiments.losses import LOSSES

from ..factories import ROOT, load_tool

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mmpose_lossplus.experiments.export import random_model  # noqa: E402

DEMO = f'{ROOT}/configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'


@pytest.fixture
def speed(monkeypatch):
    tool = load_tool('analysis_tools/benchmark_speed.py')
    configs = dict.fromkeys([tool.LIGHT, 'RTMPose-s'], DEMO)
    monkeypatch.setattr(tool, 'CONFIGS', configs)
    monkeypatch.setattr(tool, 'TRAINED', [tool.LIGHT])
    return tool


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool in this process; what it prints."""

    def run(tool, *args):
        argv = [f'{tool.__name__}.py', '--threads', '1', '--rounds', '1']
        monkeypatch.setattr(sys, 'argv', [*argv, *args])
        tool.main()
        return capsys.readouterr().out

    return run


@pytest.mark.slow
@pytest.mark.parametrize('backend', ['pytorch', 'onnxruntime', 'openvino'])
def test_inference(speed, run, backend):
    pytest.importorskip('torch' if backend == 'pytorch' else backend)
    printed = run(speed, '--backends', backend)
    assert f'{backend}, threads: 1' in printed
    assert 'RTMPose-s' in printed
    assert (speed.UNSPLIT in printed) == (backend != 'pytorch')
    assert '1.00 / 1.00 / 1.00' in printed


def test_size():
    """The light head's is that of the paper: 3.1 M and 0.58 GFLOPs."""
    tool = load_tool('analysis_tools/benchmark_speed.py')
    net = random_model(tool.config_of(tool.LIGHT))
    assert tool.size_of(net) == ['3.08', '0.57']


def test_every_model_has_a_config():
    tool = load_tool('analysis_tools/benchmark_speed.py')
    for name in tool.CONFIGS:
        assert tool.config_of(name).model.head.out_channels == 17


def test_training(speed, run):
    printed = run(
        speed, '--train', '--batch-size', '2', '--losses', 'fmse', 'anchor'
    )
    assert 'light head, batch 2, threads: 1' in printed
    rows = [line.split()[0] for line in printed.splitlines() if '/' in line]
    assert rows == ['mse', 'fmse', 'anchor']


def test_training_steps(speed):
    """Each trains the same weights, by its own loss."""
    net = random_model(speed.config_of(speed.LIGHT))
    args = argparse.Namespace(losses=LOSSES, batch_size=2, device='cpu')
    steps = speed.training_steps(net, args)
    head = net.model.head
    before = head.final_layer.weight.detach().clone()
    plain = head.final_layer
    steps['anchor']()
    assert isinstance(head.loss_module, AnchorLoss)
    assert isinstance(head.final_layer, SigmoidConv2d)
    after = plain.weight.detach().clone()
    assert not after.equal(before)
    steps['mse']()
    assert type(head.loss_module).__name__ == 'KeypointMSELoss'
    assert head.final_layer is plain
    assert not plain.weight.equal(after)


def test_losses(run):
    tool = load_tool('analysis_tools/benchmark_losses.py')
    printed = run(tool, '--shape', '2', '3', '16', '12')
    rows = [line.split() for line in printed.splitlines() if '/' in line]
    names = ['mse', 'amse', 'rmse', 'fmse', 'hmw', 'anchor', 'focal']
    assert [row[0] for row in rows] == names
    assert all(float(row[-1]) >= 1 for row in rows)  # maps, with the gradient


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--rounds', '0'], 'got 0'),
        (['--batch-size', '0'], 'got 0'),
        (['--models', 'HRNet'], 'HRNet'),
        (['--losses', 'none'], 'none'),
        (['--help'], ''),
    ],
)
def test_bad_options(speed, run, capsys, args, message):
    with pytest.raises(SystemExit) as caught:
        run(speed, *args)
    assert caught.value.code == (2 if message else 0)
    assert message in capsys.readouterr().err


def test_openvino_is_optional(speed, run, capsys, monkeypatch):
    monkeypatch.setattr(speed, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit):
        run(speed, '--backends', 'openvino')
    assert 'pip install openvino' in capsys.readouterr().err
