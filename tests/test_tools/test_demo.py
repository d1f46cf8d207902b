"""make demo: a short run of all its steps, and its bad input."""

import json
import re

import cv2
import mmengine
import numpy as np
import pytest

from ..factories import load_tool, write_noise


def run_demo(run_tool, tmp_path, loss, epochs, *more):
    """What it prints, if that and the files are as they should be."""
    result = run_tool(
        'misc/demo.py',
        *('--loss', loss, '--data', tmp_path / 'demo'),
        *('--work-dir', tmp_path / 'work', '--epochs', epochs, *more),
    )
    work_dir = tmp_path / 'work' / f'demo_{loss}'
    assert str(work_dir / 'held_out.png') in result.stdout
    assert cv2.imread(str(work_dir / 'held_out.png')).std() > 20
    table = result.stdout[result.stdout.index('person boxes') :]
    for boxes in ('annotated', 'simulated'):
        assert re.search(rf'{boxes} .*0\.\d{{3}}', table)
    assert (work_dir / f'epoch_{epochs}.pth').exists()
    return result.stdout


@pytest.mark.slow
def test_all_steps(run_tool, tmp_path):
    run_demo(run_tool, tmp_path, 'anchor', 2)


@pytest.mark.slow
def test_the_whole_way(run_tool, tmp_path):
    """With a detector, its boxes and a clip."""
    printed = run_demo(run_tool, tmp_path, 'hmw', 1, '--full')
    boxes = (tmp_path / 'work/demo_detector/boxes.json').read_text()
    boxes = json.loads(boxes)
    assert {box['category_id'] for box in boxes} == {1}
    clip = cv2.VideoCapture(str(tmp_path / 'work/demo_hmw/clip/cam04.mp4'))
    assert clip.get(cv2.CAP_PROP_FRAME_COUNT) == 100
    assert 'detected' in printed
    assert 'person AP' in printed
    assert ' - INFO - ' not in printed


def test_contact_sheet(tmp_path, monkeypatch):
    """One person of two beside the label, one in its place."""
    demo = load_tool('misc/demo.py')
    write_noise(tmp_path / 'a.jpg', 100, 100)
    points = np.c_[np.random.rand(17, 2) * 40 + 30, np.full(17, 2)]
    people = [
        dict(
            img_path=str(tmp_path / 'a.jpg'),
            raw_ann_info=dict(
                bbox=[10, 5, 40, 90], area=900, keypoints=points.ravel()
            ),
            pred_instances=dict(keypoints=points[None, :, :2] + shift),
        )
        for shift in (0, 50)
    ]
    people.append(dict(people[0], raw_ann_info=None))
    mmengine.dump(people, tmp_path / 'people.pkl')
    titles, part = [], demo.plt.matplotlib.figure.SubFigure
    monkeypatch.setattr(part, 'suptitle', lambda _, text: titles.append(text))
    demo.draw_sheet(tmp_path / 'people.pkl', tmp_path / 'sheet.png')
    assert titles == ['a, OKS 1.00', 'a, OKS 0.00']
    assert cv2.imread(str(tmp_path / 'sheet.png')).std() > 20
