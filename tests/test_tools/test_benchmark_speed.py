"""Tables of tools/analysis_tools/benchmark_{speed,losses}.py."""

import argparse
import sys

import pytest

from mmpose_lossplus.experiments.losses import LOSSES

from ..factories import ROOT, load_tool

export = pytest.importorskip('mmpose_lossplus.experiments.export')

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
@pytest.mark.parametrize(
    ('args', 'names'),
    [
        (['--backends', 'pytorch'], ['light head', 'RTMPose-s']),
        (['--backends', 'onnxruntime'], ['RTMPose-s', 'not split']),
        (['--backends', 'openvino'], ['RTMPose-s', 'not split']),
        (['--train', '--batch-size', '2', '--losses', 'fmse'], ['fmse']),
    ],
)
def test_tables(speed, run, args, names):
    if 'openvino' in args:
        pytest.importorskip('openvino')
    printed = run(speed, *args)
    assert '1.00 / 1.00 / 1.00' in printed
    assert all(name in printed for name in names)


def test_every_model_has_a_config():
    tool = load_tool('analysis_tools/benchmark_speed.py')
    for name in tool.CONFIGS:
        assert tool.config_of(name).model.head.out_channels == 17


def test_training_steps(speed):
    """Each trains the same weights, by its own loss."""
    net = export.random_model(speed.config_of(speed.LIGHT))
    head, plain = net.model.head, net.model.head.final_layer
    args = argparse.Namespace(losses=LOSSES, batch_size=2, device='cpu')
    steps = speed.training_steps(net, args)
    for name, loss, layer in (
        ('anchor', 'AnchorLoss', 'SigmoidConv2d'),
        ('mse', 'KeypointMSELoss', 'Conv2d'),
    ):
        before = plain.weight.detach().clone()
        steps[name]()
        assert type(head.loss_module).__name__ == loss
        assert type(head.final_layer).__name__ == layer
        assert not plain.weight.equal(before)


def test_losses(run):
    tool = load_tool('analysis_tools/benchmark_losses.py')
    printed = run(tool, '--shape', '2', '3', '16', '12')
    rows = [line.split() for line in printed.splitlines() if '/' in line]
    names = ['mse', 'amse', 'rmse', 'fmse', 'hmw', 'anchor', 'focal']
    assert [row[0] for row in rows] == names
    assert all(float(row[-1]) >= 1 for row in rows)  # maps, with the gradient
    with pytest.raises(SystemExit, match='0'):
        run(tool, '--help')


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--rounds', '0'], 'got 0'),
        (['--batch-size', '0'], 'got 0'),
        (['--models', 'HRNet'], 'HRNet'),
        (['--losses', 'none'], 'none'),
        (['--backends', 'openvino'], 'pip install openvino'),
        (['--help'], ''),
    ],
)
def test_bad_options(speed, run, capsys, monkeypatch, args, message):
    monkeypatch.setattr(speed, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit) as caught:
        run(speed, *args)
    assert caught.value.code == (2 if message else 0)
    assert message in capsys.readouterr().err
