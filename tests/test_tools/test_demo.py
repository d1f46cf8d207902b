"""make demo: a short run of all its steps, and its bad input."""

import json

import cv2
import pytest


@pytest.mark.slow
@pytest.mark.parametrize('loss', ['hmw', 'anchor'])
def test_all_steps(run_tool, tmp_path, loss):
    result = run_tool(
        'misc/demo.py',
        *('--loss', loss, '--data', tmp_path / 'demo'),
        *('--work-dir', tmp_path / 'work', '--epochs', 2),
    )
    work_dir = tmp_path / 'work' / f'demo_{loss}'
    for name in ('held_out.png', 'training.png'):
        picture = cv2.imread(str(work_dir / name))
        assert picture.shape[1] > 800
        # Something was drawn: not one colour, not a failed crop.
        assert picture.std() > 20
        assert str(work_dir / name) in result.stdout
    table = result.stdout[result.stdout.index('person boxes') :]
    assert 'annotated' in table
    assert 'simulated' in table
    assert (work_dir / 'epoch_2.pth').exists()


@pytest.mark.slow
def test_the_whole_way(run_tool, tmp_path):
    """With a detector, its boxes and a clip."""
    result = run_tool(
        'misc/demo.py',
        *('--full', '--loss', 'mse', '--data', tmp_path / 'demo'),
        *('--work-dir', tmp_path / 'work', '--epochs', 1),
    )
    boxes = tmp_path / 'work' / 'demo_detector' / 'boxes.json'
    assert {box['category_id'] for box in json.loads(boxes.read_text())} == {1}
    clip = cv2.VideoCapture(str(tmp_path / 'work/demo_mse/clip/cam04.mp4'))
    assert clip.get(cv2.CAP_PROP_FRAME_COUNT) == 100
    table = result.stdout[result.stdout.index('person boxes') :]
    for kind in ('annotated', 'simulated', 'detected'):
        assert kind in table


def test_unknown_loss(run_tool, tmp_path):
    result = run_tool(
        'misc/demo.py', '--loss', 'l1', check=False, cwd=tmp_path
    )
    assert result.returncode == 1
    assert result.stdout.strip() == (
        'LOSS must be one of mse, amse, rmse, fmse, anchor, hmw, got l1.'
    )


@pytest.mark.slow
@pytest.mark.parametrize('tool', ['draw_predictions.py', 'plot_training.py'])
def test_pictures_have_help(run_tool, tool):
    assert (
        'picture to write'
        in run_tool(f'analysis_tools/{tool}', '--help').stdout
    )


@pytest.mark.slow
def test_missing_dump(run_tool, tmp_path):
    result = run_tool(
        *('analysis_tools/draw_predictions.py', tmp_path / 'no.pkl', 'x.png'),
        check=False,
    )
    assert result.stdout.strip() == (
        f'The dump {tmp_path / "no.pkl"} does not exist.'
    )


def test_no_training_to_plot(run_tool, tmp_path):
    result = run_tool(
        'analysis_tools/plot_training.py', tmp_path, 'x.png', check=False
    )
    assert 'has no */vis_data/scalars.json' in result.stdout
    assert 'Traceback' not in result.stdout
