"""What breaks in practice is found and has a cure of one line."""

import pytest


def test_healthy_environment(run_tool):
    output = run_tool('misc/doctor.py').stdout
    assert 'FAILED' not in output
    assert 'mmpose_lossplus' in output


@pytest.mark.parametrize(
    ('module', 'source', 'check', 'cure'),
    [
        (
            'xtcocotools/_mask.py',
            "raise ValueError('numpy.dtype size changed')",
            'xtcocotools against numpy',
            'numpy<2',
        ),
        (
            'torchvision/__init__.py',
            "raise RuntimeError('operator torchvision::nms does not exist')",
            'torchvision against torch',
            'torchvision that matches',
        ),
        (
            'mmcv/__init__.py',
            "__version__ = '2.1.0'",
            'mmcv ops',
            'mmcv-lite is not enough',
        ),
    ],
    ids=['xtcocotools', 'torchvision', 'mmcv'],
)
def test_broken_package(run_tool, tmp_path, module, source, check, cure):
    path = tmp_path / module
    path.parent.mkdir(parents=True)
    (path.parent / '__init__.py').write_text('')
    path.write_text(source)
    env = dict(PYTHONPATH=str(tmp_path))
    result = run_tool('misc/doctor.py', env=env, check=False)
    assert result.returncode == 1
    _, lines = result.stdout.split(f'FAILED  {check}\n')
    assert cure in lines.splitlines()[1]
