"""The tutorial of docs/own_data.md, run as it is printed."""

import json
import re
import runpy
import sys

import numpy as np
import onnx
import pytest

from .factories import blocks, call

PAGE = 'own_data.md'


@pytest.fixture(scope='module')
def tutorial(tmp_path_factory):
    """The reader's folder afterwards, and what the commands have printed."""
    folder = tmp_path_factory.mktemp('tutorial')
    for text in blocks(PAGE, 'python'):  # which begin with their path
        path = folder / re.match('# (.*)\n', text)[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding='utf-8')
    script = f'set -e\npython() {{ {sys.executable} "$@"; }}\n'
    script += ''.join(blocks(PAGE))
    return folder, call('bash', '-c', script, cwd=folder).stdout


@pytest.mark.slow
def test_tutorial_leaves_what_it_says(tutorial):
    folder, output = tutorial
    (clean,) = blocks(PAGE, 'text')
    assert clean in output
    for name in (
        'work_dirs/planes/epoch_20.pth',
        'work_dirs/compare/planes/mse/seed0/epoch_1.pth',
        'work_dirs/compare/planes/amse/seed0/epoch_1.pth',
        'work_dirs/compare/planes/report.md',
        'drawn/1.png',
    ):
        assert (folder / name).stat().st_size, name
    for script in ('train.py', 'test.py'):
        assert f'{script} has finished.' in output


@pytest.mark.slow
def test_tutorial_trains_a_model(tutorial):
    """Better than the page states, and than a constant prediction."""
    folder, output = tutorial
    (ap,) = re.findall(r'Epoch\(test\).*?coco/AP: ([\d.]+)', output)
    constant = folder / 'work_dirs/compare/planes/constant.json'
    assert float(ap) > json.loads(constant.read_text())['coco/AP']
    assert float(ap) > 0.7


@pytest.mark.slow
def test_tutorial_finds_the_keypoints_of_a_picture(tutorial):
    """On average within the width of the lines of the plane, in pixels."""
    folder, _ = tutorial
    (found,) = json.loads((folder / 'drawn/predictions.json').read_text())
    labels = folder / 'modèles réduits/val.json'
    truth = json.loads(labels.read_text())['annotations'][0]
    points = np.reshape([found['keypoints'], truth['keypoints']], (2, 5, 3))
    distances = np.linalg.norm(np.subtract(*points[..., :2]), axis=-1)
    assert distances.mean() < 5


@pytest.mark.slow
def test_tutorial_exports_its_keypoints(tutorial):
    folder, _ = tutorial
    model = onnx.load(folder / 'modèles réduits/planes.onnx')
    metadata = {x.key: json.loads(x.value) for x in model.metadata_props}
    info = runpy.run_path(folder / 'modèles réduits/metainfo.py')
    keypoints = info['dataset_info']['keypoint_info'].values()
    names = [keypoint['name'] for keypoint in keypoints]
    assert metadata['keypoint_names'] == names
    assert metadata['flip_indices'] == [
        names.index(x['swap'] or x['name']) for x in keypoints
    ]
