"""No tool runs what a checkpoint says, and each says why in one sentence."""

import os

import pytest
import torch

from .factories import ROOT, tiny_options, write_noise

POSE = ROOT / 'configs' / 'heatmap_weighting'
POSE /= 'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192.py'


class MakeFolder:
    """Pickled as a call that makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.slow
@pytest.mark.parametrize(
    'tool',
    [
        'train.py',
        'test.py',
        'infer.py',
        'deployment/export_onnx.py',
        'analysis_tools/visualize_penalty.py',
        'dataset_converters/detect_persons.py',
    ],
)
def test_nothing_is_run(tool, coco_data, run_tool, tmp_path):
    victim, evil = tmp_path / 'victim', tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, meta=MakeFolder(victim)), evil)
    write_noise(tmp_path / 'x.jpg', 64, 48)
    options = tiny_options(coco_data, epochs=1)
    work_dir = ['--work-dir', tmp_path / 'work', '--cfg-options', *options]
    detector = ROOT / 'configs' / 'detectors'
    detector = next(detector.glob('*.py'))
    args = {
        'train.py': [POSE, *work_dir, f'load_from={evil}'],
        'test.py': [POSE, evil, *work_dir],
        'infer.py': [tmp_path / 'x.jpg', '--pose', POSE, evil],
        'export_onnx.py': [POSE, evil, '--out', tmp_path / 'x.onnx'],
        'visualize_penalty.py': [POSE, evil, '--out', tmp_path / 'maps'],
        'detect_persons.py': [
            *(detector, evil, '--img-root', tmp_path),
            *('--out', tmp_path / 'boxes.json'),
        ],
    }
    run = run_tool(tool, *args[tool.split('/')[-1]], check=False)
    assert run.returncode == 1, run.stdout
    *_, last = run.stdout.splitlines()
    assert str(evil) in last
    assert 'mkdir' in last
    assert not victim.exists()
