"""Penalty maps of a config's data."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmpose_lossplus.experiments.configs import read_config

from ..factories import ROOT, load_tool

DEMO = ROOT / 'configs' / 'demo'
MSE = DEMO / 'td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
ANCHOR = DEMO / 'td-hm_mobilenetv3-dwattn_anchor-1xb16-60e_demo-128x96.py'


@pytest.fixture
def tool():
    return load_tool('analysis_tools/visualize_penalty.py')


@pytest.fixture
def run(tool, monkeypatch, tmp_path, coco_data, capsys):
    """Run the tool in this process; its rows and its picture."""
    seen = []
    draw = tool.draw_penalties
    monkeypatch.setattr(
        tool, 'draw_penalties', lambda rows: seen.append(rows) or draw(rows)
    )

    def run(config, *args, data=coco_data):
        out = tmp_path / 'new' / 'out'
        argv = [str(config), *map(str, args), '--out', str(out)]
        if data is not None:
            argv += ['--cfg-options', f'data_root={data}']
        monkeypatch.setattr('sys.argv', ['visualize_penalty.py', *argv])
        tool.main()
        (file,) = out.iterdir()
        assert f'Wrote {file}' in capsys.readouterr().out
        return seen[-1], cv2.imread(str(file))

    return run


@pytest.mark.parametrize('config', [MSE, ANCHOR], ids=['mse', 'anchor'])
def test_random_weights(config, run, capsys):
    rows, picture = run(config, '--num', 2)
    assert len(rows) == 2
    loss = 'KeypointMSELoss' if config == MSE else 'AnchorLoss'
    assert list(rows[0].penalties) == [loss]
    assert rows[0].picture.shape == (128, 96, 3)
    assert rows[0].target.shape == rows[0].prediction.shape == (32, 24)
    # Neither target nor picture is a stranger's: people are noise here.
    assert 0.5 < rows[0].target.max() <= 1
    assert rows[0].picture.std() > 30
    assert picture.shape[1] > 700
    assert picture.std() > 20


def test_labels_of_the_people(run, tool, coco_data):
    """The test set's target has its peak where the label is."""
    rows, _ = run(
        *(MSE, '--indices', 0, '--keypoints', 'nose', 'right_ankle', 9)
    )
    assert [row.label.split('\n')[1] for row in rows] == [
        *('nose', 'right_ankle', 'left_wrist')
    ]
    cfg = read_config(str(MSE), dict(data_root=str(coco_data)))
    dataset = tool.build_dataset(cfg, 'test')
    info = dataset.get_data_info(0)
    # The box's middle and height (or width) fill the crop, padded by 1.25.
    x1, y1, x2, y2 = info['bbox'][0]
    width = 1.25 * max(x2 - x1, (y2 - y1) * 96 / 128)
    middle = np.array([x1 + x2, y1 + y2]) / 2
    for row, k in zip(rows, (0, 16, 9)):
        wanted = (info['keypoints'][0, k] - middle) * 24 / width + (12, 16)
        y, x = np.unravel_index(row.target.argmax(), row.target.shape)
        np.testing.assert_allclose((x, y), wanted, atol=0.51)


def test_a_checkpoint(run, tool, monkeypatch):
    """Its weights are those that predict; MMEngine loads what is no path."""
    cfg = read_config(str(MSE), {})
    model = tool.build_model(cfg, str(MSE), None)
    torch.nn.init.zeros_(model.head.final_layer.weight)
    torch.nn.init.constant_(model.head.final_layer.bias, 0.25)
    weights = dict(state_dict=model.state_dict())
    schemes = dict(CheckpointLoader._schemes)
    monkeypatch.setattr(CheckpointLoader, '_schemes', schemes)
    CheckpointLoader.register_scheme('far://', lambda *_, **__: weights)
    (row,), _ = run(MSE, 'far://away.pth', '--num', 1)
    np.testing.assert_allclose(row.prediction, 0.25)
    maps = row.penalties['KeypointMSELoss']
    np.testing.assert_allclose(maps.grad, 2 * (0.25 - row.target), atol=1e-6)


def test_detected_people_have_labels(run, coco_data, tmp_path):
    """A config that tests with found boxes is drawn with labelled people."""
    config = tmp_path / 'config.py'
    boxes = coco_data / 'person_detection_results'
    (file, *_) = sorted(boxes.glob('COCO_val*'))
    config.write_text(
        f"_base_ = '{MSE}'\n"
        f"test_dataloader = dict(dataset=dict(bbox_file='{file}'))\n"
    )
    rows, _ = run(config, '--num', 4)
    assert [row.label[:12] for row in rows] == [
        f'{i:012d}' for i in (1, 2, 3, 4)
    ]
    assert not any('no label' in row.label for row in rows)


def test_types_that_are_classes(run, tmp_path):
    """As in MMEngine's pure Python configs; a loss of the config's module."""
    (tmp_path / 'my_losses.py').write_text(
        'from mmpose.registry import MODELS\n'
        'from mmpose_lossplus import RegularizedMSELoss\n'
        '@MODELS.register_module()\n'
        'class MyLoss(RegularizedMSELoss):\n'
        '    pass\n'
    )
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{MSE}'\n"
        'import sys\n'
        f'sys.path.insert(0, {str(tmp_path)!r})\n'
        'from mmpose.datasets.transforms import GenerateTarget as Target\n'
        'train_pipeline = _base_.train_pipeline\n'
        'for step in train_pipeline:\n'
        "    if step['type'] == 'GenerateTarget':\n"
        "        step['type'] = Target\n"
        'train_dataloader = dict(dataset=dict(pipeline=train_pipeline))\n'
        "custom_imports = dict(imports=['mmpose_lossplus', 'my_losses'])\n"
        'del sys, Target\n'
    )
    own = "mine=dict(type='MyLoss')"
    args = '--split', 'train', '--indices', 3, 1, '--keypoints', 5
    rows, _ = run(config, *args, '--losses', own, 'mse')
    assert list(rows[0].penalties) == ['mine', 'mse']
    assert [row.label for row in rows] == [
        *('000000000004\nleft_shoulder', '000000000002\nleft_shoulder')
    ]


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['no.py'], 'no.py'),
        ([ROOT / 'configs' / '_base_' / 'lossplus.py'], 'lossplus.py'),
        ([MSE, 'no.pth'], 'no.pth'),
        ([MSE, __file__], __file__),
        ([MSE, '--indices', 4], 'from 0 to 3, .* got 4'),
        ([MSE, '--keypoints', 'hand'], "'hand'"),
        ([MSE, '--losses', 'L9'], 'L9'),
        ([MSE, '--losses', 'ohkm'], 'KeypointOHKMMSELoss'),
        ([MSE, '--num', 0], '2'),
    ],
)
def test_bad_input(args, message, run, tmp_path):
    with pytest.raises(SystemExit, match=message) as error:
        run(*args)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'new').exists()


def test_other_bad_input(run, tmp_path, monkeypatch, tool, coco_data):
    """A checkpoint of another model, a codec without heatmaps, no data."""
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict={}), other)
    simcc = tmp_path / 'simcc.py'
    simcc.write_text(
        f"_base_ = '{MSE}'\n"
        "encoder = dict(type='SimCCLabel', input_size=(96, 128))\n"
        "target = dict(type='GenerateTarget', encoder=encoder)\n"
        'train_dataloader = dict(dataset=dict(pipeline=[target]))\n'
    )
    for args, data, message in (
        ([MSE, other], coco_data, str(other)),
        ([simcc, '--losses', 'mse'], coco_data, 'heatmap per keypoint'),
        ([MSE], tmp_path / 'nowhere', 'nowhere'),
    ):
        with pytest.raises(SystemExit, match=message):
            run(*args, data=data)
    file = tmp_path / 'file'
    file.write_text('')
    root = f'data_root={coco_data}'
    args = [str(MSE), '--num', '1', '--out', str(file), '--cfg-options', root]
    monkeypatch.setattr('sys.argv', ['visualize_penalty.py', *args])
    with pytest.raises(SystemExit, match=str(file)):
        tool.main()
