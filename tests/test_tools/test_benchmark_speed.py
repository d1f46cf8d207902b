"""Tables of tools/analysis_tools/benchmark_{speed,losses}.py."""

import argparse
import signal
import sys

import numpy as np
import pytest

from mmpose_lossplus.experiments.losses import LOSSES

from ..factories import (
    ROOT,
    load_tool,
    run_main,
    write_film,
    write_spot_model,
)

export = pytest.importorskip('mmpose_lossplus.experiments.export')

DEMO = f'{ROOT}/configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'


@pytest.fixture
def speed(monkeypatch):
    tool = load_tool('analysis_tools/benchmark_speed.py')
    configs = dict.fromkeys([tool.LIGHT, 'RTMPose-s'], DEMO)
    configs[tool.RTMPOSE] = tool.CONFIGS[tool.RTMPOSE]
    monkeypatch.setattr(tool, 'CONFIGS', configs)
    monkeypatch.setattr(tool, 'TRAINED', [tool.LIGHT])
    return tool


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool in this process; what it prints."""

    def run(tool, *args):
        argv = [f'{tool.__name__}.py', '--threads', '1', '--rounds', '1']
        monkeypatch.setattr(sys, 'argv', [*argv, *map(str, args)])
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


@pytest.fixture
def clip(tmp_path):
    frames = [np.full((96, 160, 3), 40 * i, np.uint8) for i in range(3)]
    return write_film(tmp_path / 'clip.avi', frames)


@pytest.fixture
def file(tmp_path):
    """Of a model as export_onnx.py writes it."""

    def write(*options):
        path = tmp_path / f'spots{len(options)}.onnx'
        model = write_spot_model(tmp_path)
        export_tool = 'deployment/export_onnx.py'
        run_main(export_tool, *model, '--out', path, *options)
        return path

    return write


BOX = ('--bbox', 20, 10, 60, 80)


@pytest.mark.slow
def test_video(speed, run, clip, file):
    """A line for each tool, whose shares are all of its time."""
    path, handler = file('--decode'), signal.getsignal(signal.SIGTERM)
    options = ('--video', clip, *BOX, *BOX, '--onnx', path)
    try:
        printed = run(speed, *options)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert 'people: 2' in printed
    names = ['infer.py', 'run_onnx.py', 'run_onnx.py,']
    if speed.find_spec('rtmlib'):
        names.append('rtmlib, RTMPose-t')
    else:
        assert 'Without rtmlib' in printed
    lines = [line for line in printed.splitlines() if ' / ' in line]
    assert len(lines) == len(names)
    for name, line in zip(names, lines):
        assert name in line
        shares = [int(x[:-1]) for x in line.split() if x.endswith('%')]
        assert len(shares) == 5 + ('infer' in name or 'rtmlib' in name)
        assert sum(shares) == pytest.approx(100, abs=4)
    assert '1.00 / 1.00 / 1.00' in lines[1]


@pytest.mark.slow
def test_files_beside_the_models(speed, run, file):
    path = file()
    options = ('--backends', 'onnxruntime', '--models', 'RTMPose-s')
    printed = run(speed, *options, '--onnx', path)
    assert path.name in ''.join(printed.split())


@pytest.mark.parametrize(
    ('video', 'reason'),
    [(False, 'metadata'), (True, 'metadata'), (True, '--decode')],
)
def test_files_that_cannot_be_used(speed, run, clip, file, video, reason):
    path = file()
    if reason == 'metadata':
        model = export.onnx.load(path)
        del model.metadata_props[:]
        export.onnx.save(model, path)
    options = ('--video', clip, *BOX) if video else ()
    with pytest.raises(SystemExit, match=f'{path.name} .*{reason}'):
        run(speed, *options, '--onnx', path)


def test_what_is_no_video(speed, run, tmp_path):
    with pytest.raises(SystemExit, match='none.mp4 is no video'):
        run(speed, '--video', tmp_path / 'none.mp4', *BOX)


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
        (['--video', 'clip.mp4'], '--bbox X Y W H'),
        (['--bbox', '1', '2', '0', '4'], 'got [1.0, 2.0, 0.0, 4.0]'),
        (['--help'], ''),
    ],
)
def test_bad_options(speed, run, capsys, monkeypatch, args, message):
    monkeypatch.setattr(speed, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit) as caught:
        run(speed, *args)
    assert caught.value.code == (2 if message else 0)
    assert message in capsys.readouterr().err
