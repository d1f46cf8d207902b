"""Tables of tools/analysis_tools/benchmark_speed.py."""

import re
import sys

import pytest
import torch

from mmpose_lossplus import AnchorLoss, SigmoidConv2d

from ..factories import load_tool

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

DEMO = 'demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'


@pytest.fixture
def tool(monkeypatch):
    tool = load_tool('analysis_tools/benchmark_speed.py')
    configs = dict.fromkeys([tool.LIGHT, 'RTMPose-s'], DEMO)
    monkeypatch.setattr(tool, 'CONFIGS', configs)
    monkeypatch.setattr(tool, 'TRAINED', [tool.LIGHT])
    threads = torch.get_num_threads()
    yield tool
    torch.set_num_threads(threads)


@pytest.fixture
def run(tool, monkeypatch, capsys):
    """Run the tool in this process; the cells of its rows, by the first."""

    def run(*args):
        argv = ['benchmark_speed.py', '--threads', '1', *args]
        monkeypatch.setattr(sys, 'argv', argv)
        tool.main()
        printed = capsys.readouterr().out
        rows = [re.split(' {2,}', x.strip()) for x in printed.splitlines()]
        rows = [row for row in rows if len(row) > 1 and ' / ' in row[-1]]
        return printed, rows

    return run


@pytest.mark.slow
def test_inference(tool, run):
    printed, rows = run('--rounds', '2')
    assert f'torch {torch.__version__}' in printed.replace('\n', ' ')
    assert 'onnxruntime on cpu, 1 threads, 2 rounds' in printed
    names = [row[0] for row in rows]
    assert names == [*[tool.LIGHT, 'RTMPose-s'] * 2, tool.UNSPLIT]
    for name, params, flops, times, fps, ratio in rows:
        # The same model everywhere.
        assert (params, flops) == (rows[0][1], rows[0][2])
        low, middle, high = map(float, times.split(' / '))
        assert 0 < low <= middle <= high
        assert float(fps) == pytest.approx(1e3 / middle, rel=0.1, abs=0.6)
        if name == tool.LIGHT:
            assert ratio == '1.00 / 1.00 / 1.00'


def test_complexity(monkeypatch):
    """The light head's are those of the paper: 3.1 M and 0.58 GFLOPs."""
    tool = load_tool('analysis_tools/benchmark_speed.py')
    params, flops = tool.complexity(tool.build(tool.LIGHT))
    assert params == pytest.approx(3.078e6, rel=1e-3)
    assert flops == pytest.approx(0.573e9, rel=2e-3)


def test_every_model_has_a_config():
    tool = load_tool('analysis_tools/benchmark_speed.py')
    for name in tool.CONFIGS:
        assert tool.load_config(name).model.head.out_channels == 17


def test_training(tool, run):
    printed, rows = run(
        *('--train', '--rounds', '2', '--batch-size', '2'),
        *('--losses', 'FocusedMSELoss', 'AnchorLoss'),
    )
    assert 'light head, batch 2 on cpu, 1 threads, 2 rounds' in printed
    assert [row[0] for row in rows] == [
        *('KeypointMSELoss', 'FocusedMSELoss', 'AnchorLoss')
    ]
    assert rows[0][-1] == '0.0 / 0.0 / 0.0'


def test_training_steps(tool):
    """Each trains the same weights, by its own loss."""
    net = tool.build(tool.LIGHT)
    steps = tool.training_steps(net, ['AnchorLoss'], 2, 'cpu')
    head = net.model.head
    before = head.final_layer.weight.detach().clone()
    plain = head.final_layer
    steps['AnchorLoss']()
    assert isinstance(head.loss_module, AnchorLoss)
    assert isinstance(head.final_layer, SigmoidConv2d)
    after = plain.weight.detach().clone()
    assert not after.equal(before)
    steps[tool.BASELINE]()
    assert type(head.loss_module).__name__ == tool.BASELINE
    assert head.final_layer is plain
    assert not plain.weight.equal(after)


def test_bad_options(run, capsys):
    for option in ('--rounds', '--batch-size'):
        with pytest.raises(SystemExit):
            run(option, '0')
        assert f'{option} must be positive, got 0' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run('--models', 'HRNet')
    assert "invalid choice: 'HRNet'" in capsys.readouterr().err


@pytest.mark.slow
def test_openvino(run):
    pytest.importorskip('openvino')
    printed, rows = run('--rounds', '1', '--backends', 'openvino')
    assert 'openvino on cpu' in printed
    assert len(rows) == 3


def test_openvino_is_optional(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(SystemExit):
        run('--backends', 'openvino')
    assert 'pip install openvino' in capsys.readouterr().err
