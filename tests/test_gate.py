"""Hosts are asked for by module, and refused in one sentence with a cure."""

import importlib.util
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mmpose_lossplus import gate

from .factories import ROOT


def sentence():
    with pytest.raises(ImportError) as error:
        gate.check_versions()
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ('module', 'found', 'message'),
    [
        ('mmcv', '3.0.0', 'needs mmcv>=2.1.0,<3.0.0, but found 3.0.0: pip'),
        ('mmcv', '2.0.1', 'needs mmcv>=2.1.0,<3.0.0, but found 2.0.1: pip'),
        ('mmpose', '0.29.0', 'needs mmpose>=1.3.0,<1.4.0, but found 0.29.0'),
        ('mmpose', '1.4.0', 'but found 1.4.0'),
        ('mmengine', '0.9.1', 'needs mmengine>=0.10.0,<1.0.0'),
        ('mmdet', '2.28.2', 'needs mmdet>=3.2.0,<4.0.0'),
    ],
)
def test_unsupported_version(module, found, message, monkeypatch):
    fake = SimpleNamespace(__version__=found)
    monkeypatch.setitem(sys.modules, module, fake)
    assert message in sentence()


@pytest.mark.parametrize(
    'version', ['2.1.0', '2.2.0', '2.3.6', '2.1.0rc1+cpu']
)
def test_whoever_made_it(version, monkeypatch):
    """OneDL's mmcv is newer than OpenMMLab's, and is the same module."""
    monkeypatch.setitem(
        sys.modules, 'mmcv', SimpleNamespace(__version__=version)
    )
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(  # the fake has no ops
        importlib.util,
        'find_spec',
        lambda name: name == 'mmcv._ext' or find_spec(name),
    )
    gate.check_versions()


@pytest.mark.parametrize('module', gate.HOSTS)
def test_missing_host(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # import fails
    text = sentence()
    assert f'needs {module}>=' in text
    assert f'there is no module {module}: pip install' in text


def test_mmcv_without_ops(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert 'compiled ops' in sentence()


@pytest.mark.parametrize('module', gate.HOSTS)
def test_host_that_cannot_be_imported(module, tmp_path):
    """As of an mmdet that refuses this mmcv; and nothing comes before it."""
    (tmp_path / f'{module}.py').write_text('assert False, "not with\\nmmcv"')
    result = subprocess.run(
        [sys.executable, '-c', 'import mmpose_lossplus'],
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    *_, last = result.stderr.splitlines()
    assert last.startswith('ImportError: mmpose_lossplus')
    assert f'needs {module}>=' in last
    assert 'AssertionError: not with mmcv' in last


@pytest.mark.parametrize('stack', ['openmmlab', 'onedl'])
def test_pinned_hosts_are_supported(stack):
    text = (ROOT / 'requirements' / f'{stack}.txt').read_text()
    pins = dict(re.findall(r'^(?:onedl-)?(mm\w+)==(\S+)', text, re.M))
    for name, (minimum, maximum, _) in gate.HOSTS.items():
        # OneDL's distribution of the module mmdet is called mmdetection.
        pin = pins.get(name) or pins['mmdetection']
        low, high, found = (
            tuple(map(int, v.split('.'))) for v in (minimum, maximum, pin)
        )
        assert low <= found < high
