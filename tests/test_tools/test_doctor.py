"""What breaks in practice is found once, with the cure of its cause."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmpose_lossplus.gate import HOSTS

from ..factories import ROOT, call, call_tool, load_tool

BOUNDS = {name: host[:2] for name, host in HOSTS.items()}
NO_CUDA = "raise OSError('libcudart.so.12: cannot open shared object file')"
# As one before 2.3 beside NumPy 2.
OLD_TORCH = """
class ones:
    def __init__(self, *size): pass
    def numpy(self): raise RuntimeError('Numpy is not available')
"""
ABI = "raise ValueError('numpy.dtype size changed')"


@pytest.fixture
def put_over(tmp_path):
    """Put modules over those that are installed: the path of them."""

    def write(**sources):
        for name, source in sources.items():
            file = tmp_path.joinpath(*name.split('__')).with_suffix('.py')
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.parent != tmp_path:
                (file.parent / '__init__.py').touch()
            file.write_text(source)
        return dict(PYTHONPATH=f'{tmp_path}:{ROOT}')

    return write


def read(result):
    """What is in order, the cures of what is not, the reasons to wait."""
    text = result.stdout
    waits = re.findall(r'^not tried  because of (.*): (.*)$', text, re.M)
    cures = re.findall(r'^FAILED +(.*)\n.*\n +cure: (.*)$', text, re.M)
    assert result.returncode == bool(cures), text
    good = re.findall(r'^ok +(\D*?)(?: [\d.].*)?$', text, re.M)
    return good, dict(cures), {x: names.split(', ') for x, names in waits}


def test_healthy_environment():
    good, cures, waits = read(call_tool('misc/doctor.py', check=False))
    assert not cures
    assert not waits
    assert {*HOSTS, 'numpy', 'torch', 'mmpose_lossplus'} <= {*good}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('sources', 'cures', 'in_order', 'waiting'),
    [
        (
            dict(numpy="raise ImportError('libblas.so.3: cannot open')"),
            dict(numpy=' numpy'),
            [],
            ['torch', 'xtcocotools', 'mmengine', 'mmcv', 'mmpose'],
        ),
        (
            dict(torch=OLD_TORCH),
            {'torch with numpy': 'torch before 2.3'},
            ['numpy', 'torch'],
            ['torchvision', 'xtcocotools', 'mmengine', 'mmcv', 'mmpose'],
        ),
        (
            dict(torchvision="raise RuntimeError('no torchvision::nms')"),
            dict(torchvision='built for this torch'),
            ['torch with numpy', 'xtcocotools'],
            ['mmengine', 'mmcv', 'mmdet', 'mmpose', 'mmpose_lossplus'],
        ),
        (
            dict(xtcocotools___mask=ABI, pycocotools___mask=ABI),
            dict(
                xtcocotools='--no-build-isolation', pycocotools='pycocotools'
            ),
            ['mmengine', 'mmcv'],
            ['mmdet', 'mmpose', 'mmpose_lossplus'],
        ),
        (
            dict(cv2="raise ImportError('libGL.so.1: cannot open')"),
            {'opencv-python': 'apt install libgl1'},
            ['xtcocotools'],
            ['mmengine', 'mmcv', 'mmpose'],
        ),
        (
            dict(mmcv="__version__ = '2.1.0'"),
            dict(mmcv='MMCV_WITH_OPS=1'),
            ['mmengine', 'xtcocotools'],
            ['mmdet', 'mmpose', 'mmpose_lossplus'],
        ),
        (
            dict(mmpose="__version__ = '1.2.0'"),
            dict(mmpose='mmpose'),
            ['mmcv', 'mmdet'],
            ['drawing a person', 'mmpose_lossplus'],
        ),
    ],
    ids=[
        'numpy',
        'torch',
        'torchvision',
        'cocotools',
        'libGL',
        'mmcv-lite',
        'mmpose',
    ],
)
def test_only_causes_have_cures(put_over, sources, cures, in_order, waiting):
    result = call_tool('misc/doctor.py', env=put_over(**sources), check=False)
    good, found, waits = read(result)
    assert set(found) == set(cures)
    for name, cure in cures.items():
        assert cure in found[name]
    assert set(in_order) <= set(good)
    waits = {name for names in waits.values() for name in names}
    assert set(waiting) <= waits
    assert not waits & set(good)


def hosts(**makers):
    """Hosts as their makers write down the version."""
    kinds = dict(onedl="version('onedl-{}')", openmmlab="__version__ = '1'")
    return {f'{k}__version': kinds[v].format(k) for k, v in makers.items()}


@pytest.mark.parametrize(
    ('mmengine', 'mmdet', 'stack'),
    [
        ('openmmlab', 'openmmlab', 'openmmlab'),
        ('onedl', 'onedl', 'onedl'),
        ('onedl', 'openmmlab', 'onedl'),
    ],
)
def test_stack_is_told_by_modules(put_over, mmengine, mmdet, stack):
    """Whatever else is broken, and whatever pip calls them."""
    made = hosts(mmengine=mmengine, mmcv=mmengine, mmdet=mmdet)
    env = put_over(torch=NO_CUDA, **made)
    result = call_tool('misc/doctor.py', env=env, check=False)
    assert list(read(result)[1]) == ['torch']
    (line,) = re.findall('^stack .*', result.stdout, re.M)
    assert line.split()[1] == stack
    assert (f'mmdet is of {mmdet}' in line) == (mmengine != mmdet)
    assert str(ROOT / 'requirements' / f'{stack}.txt') in result.stdout


@pytest.mark.parametrize('stack', ['openmmlab', 'onedl'])
@pytest.mark.parametrize('python', [(3, 10), (3, 13)])
def test_cures_take_what_the_stack_pins(stack, python):
    pins = ROOT / 'requirements' / f'{stack}.txt'
    doctor = load_tool('misc/doctor.py')
    checks = doctor.make_checks(stack, pins, BOUNDS, python)
    pinned = re.findall(r'^[\w-]+(?===)', pins.read_text('utf-8'), re.M)
    cures = {check.name: check.cure for check in checks}
    assert (stack == 'openmmlab') == ('setuptools' in cures)
    for name, cure in cures.items():
        for words in re.findall(rf'-c {pins} (.*?)(?:$|;| \()', cure):
            assert words.split()[-1] in pinned, name
    for name in ('mmengine', 'mmcv', 'mmdet'):
        assert ('onedl-' in cures[name]) == (stack == 'onedl')
    known = [check.name for check in checks]
    for check in checks:  # each comes after what it needs
        assert set(check.needs) <= set(known[: known.index(check.name)])


def test_xtcocotools_is_mended_for_python_3_13(tmp_path):
    """By the commands of its cure, on a setup.py like its own."""
    doctor = load_tool('misc/doctor.py')
    checks = doctor.make_checks('onedl', Path('x'), BOUNDS, (3, 13))
    (cure,) = (c.cure for c in checks if c.name == 'xtcocotools')
    setup = tmp_path / 'xtc' / 'pip-1' / 'xtcocotools_1' / 'setup.py'
    setup.parent.mkdir(parents=True)
    (tmp_path / 'version.py').write_text("__version__ = '1.14.3'")
    setup.write_text(
        'def version():\n'
        "    with open('version.py') as f:\n"
        "        exec(compile(f.read(), 'version.py', 'exec'))\n"
        "    return locals()['__version__']\n"
        'print(version())\n'
    )
    mend = re.search('sed .*? &&', cure)[0][: -len('&&')]
    subprocess.run(mend, shell=True, cwd=tmp_path, check=True)
    assert 'globals()' in setup.read_text()
    assert call(sys.executable, setup, cwd=tmp_path).stdout == '1.14.3\n'


def test_wheel_user_is_not_told_of_a_checkout(tmp_path, put_over, monkeypatch):
    """Pins and cures are those of the folder that a wheel has."""
    package = tmp_path / 'mmpose_lossplus'
    mim = package / '.mim'
    shutil.copytree(ROOT / 'requirements', mim / 'requirements')
    for name in ('__init__.py', 'gate.py', 'version.py'):
        shutil.copy(ROOT / 'mmpose_lossplus' / name, package)
    script = mim / 'tools' / 'misc' / 'doctor.py'
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / 'tools' / 'misc' / 'doctor.py', script)
    env = put_over(torch=NO_CUDA)
    result = call_tool(script, env=env, cwd=tmp_path, check=False)
    assert list(read(result)[1]) == ['torch']
    assert f'-c {mim / "requirements"}' in result.stdout
    assert str(ROOT) not in result.stdout.replace(sys.executable, '')
    doctor = load_tool(script)
    checks = doctor.make_checks('onedl', Path('x'), BOUNDS, (3, 12))
    assert not any(' -e ' in check.cure for check in checks)
