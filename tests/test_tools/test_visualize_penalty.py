"""Penalty maps of a config's data."""

import cv2
import numpy as np
import pytest
import torch

from mmpose_lossplus.visualization import PenaltyRow

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
        out = tmp_path / 'out' / 'grid.png'
        argv = [str(config), *map(str, args), '--out', str(out)]
        if data is not None:
            argv += ['--cfg-options', f'data_root={data}']
        monkeypatch.setattr('sys.argv', ['visualize_penalty.py', *argv])
        tool.main()
        assert f'Wrote {out}' in capsys.readouterr().out
        return seen[-1], cv2.imread(str(out))

    return run


@pytest.mark.parametrize('config', [MSE, ANCHOR], ids=['mse', 'anchor'])
def test_random_weights(config, run, capsys):
    rows, picture = run(config, '--num', 2)
    assert len(rows) == 2
    assert all(isinstance(row, PenaltyRow) for row in rows)
    loss = 'KeypointMSELoss' if config == MSE else 'AnchorLoss'
    assert list(rows[0].penalties) == [loss]
    assert rows[0].picture.shape == (128, 96, 3)
    assert rows[0].target.shape == rows[0].prediction.shape == (32, 24)
    # Neither target nor picture is a stranger's: people are noise here.
    assert 0.5 < rows[0].target.max() <= 1
    assert rows[0].picture.std() > 30
    assert picture.shape[1] > 800
    assert picture.std() > 20


@pytest.mark.parametrize('split', ['train', 'val'])
def test_splits(split, run):
    rows, _ = run(MSE, '--split', split, '--indices', 3, 1, '--keypoints', 5)
    assert [row.label for row in rows] == [
        *('000000000004\nleft_shoulder', '000000000002\nleft_shoulder')
    ]


def test_labels_of_the_people(run, tool, coco_data):
    """The test set's target has its peak where the label is."""
    rows, _ = run(
        *(MSE, '--indices', 0, '--keypoints', 'nose', 'right_ankle', 9)
    )
    assert [row.label.split('\n')[1] for row in rows] == [
        *('nose', 'right_ankle', 'left_wrist')
    ]
    cfg = tool.load_config(str(MSE), dict(data_root=str(coco_data)))
    dataset = tool.load_dataset(cfg, str(MSE), 'test')
    info = dataset.get_data_info(0)
    # The box's middle and height (or width) fill the crop, padded by 1.25.
    x1, y1, x2, y2 = info['bbox'][0]
    width = 1.25 * max(x2 - x1, (y2 - y1) * 96 / 128)
    middle = np.array([x1 + x2, y1 + y2]) / 2
    for row, k in zip(rows, (0, 16, 9)):
        wanted = (info['keypoints'][0, k] - middle) * 24 / width + (12, 16)
        y, x = np.unravel_index(row.target.argmax(), row.target.shape)
        np.testing.assert_allclose((x, y), wanted, atol=0.51)


def test_several_losses(run):
    own = "flat=dict(type='AnchorLoss', gamma=1, slack=0)"
    rows, picture = run(MSE, '--num', 1, '--losses', 'mse', own, 'fmse')
    assert list(rows[0].penalties) == ['mse', 'flat', 'fmse']
    assert picture.shape[1] > 1600
    maps = rows[0].penalties['fmse']
    np.testing.assert_allclose(maps.factor, rows[0].target + 1e-3, rtol=1e-5)


def test_a_checkpoint(run, tool, tmp_path):
    """Its weights are those that predict."""
    cfg = tool.load_config(str(MSE), {})
    model = tool.load_model(cfg, str(MSE), None)
    torch.nn.init.zeros_(model.head.final_layer.weight)
    torch.nn.init.constant_(model.head.final_layer.bias, 0.25)
    file = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    (row,), _ = run(MSE, file, '--num', 1)
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


@pytest.mark.slow
def test_on_real_people(run, shared_data):
    rows, _ = run(MSE, '--num', 3, data=shared_data / 'coco_mini')
    assert len(rows) == 3
    assert not any('no label' in row.label for row in rows)


def test_bad_input(run, tool, capsys, tmp_path, coco_data):
    text = tmp_path / 'weights.pth'
    text.write_text('no weights')
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict={}), other)
    ohkm = tmp_path / 'ohkm.py'
    ohkm.write_text(
        f"_base_ = '{MSE}'\n"
        "model = dict(head=dict(loss=dict(type='KeypointOHKMMSELoss')))\n"
    )
    simcc = tmp_path / 'simcc.py'
    simcc.write_text(
        f"_base_ = '{MSE}'\n"
        "encoder = dict(type='SimCCLabel', input_size=(96, 128))\n"
        "target = dict(type='GenerateTarget', encoder=encoder)\n"
        'train_dataloader = dict(dataset=dict(pipeline=[target]))\n'
    )
    no_model = tmp_path / 'no_model.py'
    no_model.write_text('a = 1\n')
    for args, message in (
        (['no.py'], 'The config no.py does not exist.'),
        ([no_model], f'The config {no_model} has no model.'),
        ([MSE, 'no.pth'], 'The checkpoint no.pth does not exist.'),
        ([MSE, text], f'The checkpoint {text} cannot be read: '),
        ([MSE, other], f'The checkpoint {other} does not fit '),
        ([MSE, '--num', 0], '--num must be positive, got 0.'),
        ([MSE, '--indices', 4], '--indices must be from 0 to 3, '),
        ([MSE, '--keypoints', 'hand'], 'The keypoints must be numbers'),
        ([MSE, '--losses', 'L9'], '--losses takes mse, amse, '),
        ([MSE, '--losses', 'ohkm'], 'KeypointOHKMMSELoss does not tell '),
        ([simcc, '--losses', 'mse'], 'Penalty maps need one target heatmap '),
        ([ohkm], 'KeypointOHKMMSELoss does not tell the loss of each pixel'),
    ):
        with pytest.raises(SystemExit) as error:
            run(*args)
        assert str(error.value).startswith(message)
        assert '\n' not in str(error.value)
    with pytest.raises(SystemExit) as error:
        run(MSE, data=tmp_path / 'nowhere')
    assert 'The test set of' in str(error.value)
    assert not list(tmp_path.glob('out/*'))


def test_bad_out(tool, tmp_path):
    file = tmp_path / 'file'
    file.write_text('')
    (tmp_path / 'folder.png').mkdir()
    for out, message in (
        (tmp_path / 'grid.jpg', 'must be a .png file, got '),
        (file / 'grid.png', 'cannot be written: '),
        (tmp_path / 'folder.png', 'it is a folder.'),
    ):
        with pytest.raises(SystemExit, match=message):
            tool.check_out(out)
