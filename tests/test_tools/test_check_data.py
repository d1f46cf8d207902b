"""tools/misc/check_data.py, and what train.py and test.py do of it."""

import json
import shutil

import pytest

from ..factories import CONFIGS, DETECTOR, fork_tool, tiny_options

CONFIG = next(
    path
    for path in CONFIGS
    if path.stem == 'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192'
)


@pytest.fixture
def root(coco_data, tmp_path):
    """Two people of the training have impossible labels, one odd ones."""
    root = shutil.copytree(coco_data, tmp_path / 'coco')
    file = root / 'annotations' / 'person_keypoints_train2017.json'
    coco = json.loads(file.read_text())
    one, two, three, _ = coco['annotations']
    one['keypoints'][2] = two['keypoints'][2] = -1
    three['num_keypoints'] = 3
    file.write_text(json.dumps(coco))
    return root


def options(root):
    return ['--cfg-options', *tiny_options(root, epochs=1)]


def test_table_and_exit_code(root, coco_data):
    found = fork_tool(
        'misc/check_data.py', CONFIG, *options(root), check=False
    )
    assert found.returncode == 1
    assert 'person_keypoints_train2017.json' in found.stdout
    assert 'Kinds of error: 1, of warning: 1' in found.stdout
    good = ['misc/check_data.py', '--no-pictures', CONFIG, *options(coco_data)]
    assert 'No fault' in fork_tool(*good).stdout
    # The fixture's training and validation are of the same noise.
    good.remove('--no-pictures')
    assert 'of error: 0, of warning: 1' in fork_tool(*good).stdout
    other = fork_tool('misc/check_data.py', DETECTOR, check=False)
    assert other.returncode == 1
    assert 'no data set of MMPose' in other.stdout


def test_a_training_does_not_begin(root, tmp_path):
    """MMPose would train with a negative weight, to a loss below 0."""
    work_dir = ['--work-dir', tmp_path / 'work']
    arguments = (CONFIG, *work_dir, *options(root))
    found = fork_tool('train.py', *arguments, check=False)
    assert found.returncode == 1
    *_, warning, error = found.stdout.splitlines()
    assert warning.startswith('Warning: ')
    assert 'id 3' in warning
    assert 'id 1: -1' in error
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_a_test_does_not_look_at_the_training(root, tmp_path):
    """Only the checkpoint is missing."""
    arguments = (CONFIG, tmp_path / 'no.pth', *options(root))
    work_dir = ['--work-dir', tmp_path / 'work']
    found = fork_tool('test.py', *arguments, *work_dir, check=False)
    assert found.returncode == 1
    assert 'no.pth' in found.stdout.splitlines()[-1]
