"""The version gate and the public names."""

import subprocess
import sys
from importlib import metadata

import pytest

import mmpose_lossplus

from .factories import ROOT


@pytest.mark.parametrize(
    ('package', 'found', 'message'),
    [
        ('mmcv', '2.2.0', 'needs mmcv>=2.1.0,<2.2.0, but found 2.2.0.'),
        ('mmcv', '2.0.1', 'needs mmcv>=2.1.0,<2.2.0, but found 2.0.1.'),
        ('mmpose', '0.29.0', 'needs mmpose>=1.3.0,<1.4.0, but found 0.29.0.'),
        ('mmpose', '1.4.0', 'but found 1.4.0.'),
        ('mmengine', '0.9.1', 'needs mmengine>=0.10.0,<1.0.0'),
        ('mmcv', None, 'but found no such package.'),
    ],
)
def test_unsupported_host(package, found, message, monkeypatch):
    version = metadata.version

    def fake(name):
        if name != package:
            return version(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, 'version', fake)
    with pytest.raises(ImportError) as error:
        mmpose_lossplus._check_hosts()
    assert message in str(error.value)
    assert str(error.value).count('\n') == 0


@pytest.mark.parametrize(
    ('package', 'edge'), [('mmcv', '2.1.0'), ('mmpose', '1.3.0')]
)
def test_bounds_are_inclusive_below(package, edge, monkeypatch):
    version = metadata.version
    monkeypatch.setattr(
        metadata,
        'version',
        lambda name: edge if name == package else version(name),
    )
    mmpose_lossplus._check_hosts()


def test_mmcv_without_ops(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='compiled ops'):
        mmpose_lossplus._check_hosts()


def test_gate_comes_before_any_import_of_a_host(tmp_path):
    """An unsupported host that fails at import must not hide the sentence."""
    info = tmp_path / 'mmpose-9.9.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Name: mmpose\nVersion: 9.9\n')
    (tmp_path / 'mmpose.py').write_text('raise RuntimeError("imported")')
    result = subprocess.run(
        [sys.executable, '-c', 'import mmpose_lossplus'],
        env={'PYTHONPATH': f'{tmp_path}:{ROOT}'},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert 'needs mmpose>=1.3.0,<1.4.0, but found 9.9' in result.stderr
    assert 'imported' not in result.stderr


def test_setup_requires_the_same_hosts():
    text = (ROOT / 'setup.py').read_text()
    for name, (minimum, maximum) in mmpose_lossplus.HOST_VERSIONS.items():
        assert f"'{name}>={minimum},<{maximum}'" in text


def test_pinned_hosts_are_supported():
    pins = [
        line.split('==')
        for file in ('mminstall', 'runtime')
        for line in (ROOT / 'requirements' / f'{file}.txt')
        .read_text()
        .splitlines()
        if line.startswith(('mmengine', 'mmcv', 'mmpose'))
    ]
    assert len(pins) == 3
    for name, version in pins:
        minimum, maximum = (
            tuple(map(int, v.split('.')))
            for v in mmpose_lossplus.HOST_VERSIONS[name]
        )
        assert minimum <= tuple(map(int, version.split('.'))) < maximum


def test_public_names_exist_and_are_sorted():
    names = mmpose_lossplus.__all__
    assert names == sorted(names)
    assert all(hasattr(mmpose_lossplus, name) for name in names)
