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
def run(tool, monkeypatch, tmp_path, coco_data):
    """Run the tool in this process; its rows and its picture."""
    seen = []
    draw = tool.draw_penalties
    monkeypatch.setattr(
        tool, 'draw_penalties', lambda rows: seen.append(rows) or draw(rows)
    )

    def run(config, *args, data=coco_data, out=tmp_path / 'new' / 'out'):
        argv = ['visualize_penalty.py', config, '--out', out, *args]
        if '--cfg-options' not in args:
            argv.append('--cfg-options')
        argv.append(f'data_root={data}')
        monkeypatch.setattr('sys.argv', list(map(str, argv)))
        tool.main()
        return seen[-1], cv2.imread(str(out / 'penalty_maps.png'))

    return run


@pytest.mark.parametrize(
    ('config', 'loss'), [(MSE, 'KeypointMSELoss'), (ANCHOR, 'AnchorLoss')]
)
def test_random_weights(config, loss, run, tool, coco_data):
    """The target has its peak where the test set's label is."""
    numbers = ('--indices', 0, '--keypoints', 'nose', 'right_ankle', 9)
    rows, picture = run(config, *numbers)
    assert picture.shape[1] > 700
    assert picture.std() > 20
    assert [row.label.split('\n')[1] for row in rows] == [
        *('nose', 'right_ankle', 'left_wrist')
    ]
    assert list(rows[0].penalties) == [loss]
    assert rows[0].picture.shape == (128, 96, 3)
    cfg = read_config(str(MSE), dict(data_root=str(coco_data)))
    info = tool.build_dataset(cfg, 'test').get_data_info(0)
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


def test_detected_people_have_labels(run, coco_data):
    """A config that tests with found boxes is drawn with labelled people."""
    boxes = 'COCO_val2017_detections_AP_H_56_person.json'
    boxes = coco_data / 'person_detection_results' / boxes
    option = f'test_dataloader.dataset.bbox_file={boxes}'
    rows, _ = run(MSE, '--num', 4, '--cfg-options', option)
    assert len({row.label for row in rows}) == 4
    assert not any('no label' in row.label for row in rows)


OWN_LOSS = """
from mmpose.registry import MODELS
from mmpose_lossplus import RegularizedMSELoss

MODELS.register_module('MyLoss', module=RegularizedMSELoss)
"""
CLASSES = f"""
_base_ = '{MSE}'
from mmpose.datasets.transforms import GenerateTarget as Target
train_pipeline = _base_.train_pipeline
for step in train_pipeline:
    if step['type'] == 'GenerateTarget':
        step['type'] = Target
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_imports = dict(imports=['mmpose_lossplus', 'my_losses'])
del Target
"""


def test_types_that_are_classes(run, tmp_path, monkeypatch):
    """As in MMEngine's pure Python configs; a loss of the config's module."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'my_losses.py').write_text(OWN_LOSS)
    (tmp_path / 'config.py').write_text(CLASSES)
    args = '--split', 'train', '--indices', 3, 1, '--keypoints', 5
    losses = '--losses', "mine=dict(type='MyLoss')", 'mse'
    rows, _ = run(tmp_path / 'config.py', *args, *losses)
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
    with pytest.raises(SystemExit, match=message):
        run(*args)
    assert not (tmp_path / 'new').exists()


def test_bad_files(run, tmp_path):
    """No data, a checkpoint of another model, no folder."""
    file = tmp_path / 'other.pth'
    torch.save(dict(state_dict={}), file)
    with pytest.raises(SystemExit, match='nowhere'):
        run(MSE, data=tmp_path / 'nowhere')
    with pytest.raises(SystemExit, match=str(file)):
        run(MSE, file)
    with pytest.raises(SystemExit, match=str(file)):
        run(MSE, '--num', 1, out=file)
