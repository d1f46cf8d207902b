"""A machine that cannot make the environment hears why in one sentence."""

import shutil
import sys
import sysconfig

import pytest

from ..conftest import load_tool


@pytest.fixture
def tool():
    return load_tool('misc/setup_venv.py')


def sentence(tool, venv):
    with pytest.raises(SystemExit) as stop:
        tool.check_machine(venv)
    assert '\n' not in stop.value.code
    assert not venv.exists()
    return stop.value.code


@pytest.mark.parametrize('version', [(3, 8), (3, 12), (3, 13)])
def test_unsupported_python(tool, tmp_path, monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version + (0,))
    monkeypatch.setattr(sys, 'version', f'{version[0]}.{version[1]}.0 (x)')
    message = sentence(tool, tmp_path / 'venv')
    assert f'{version[0]}.{version[1]}.0' in message
    assert 'make PYTHON=' in message


def test_no_compiler(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    assert 'no C++ compiler' in sentence(tool, tmp_path / 'venv')


def test_no_headers(tool, tmp_path, monkeypatch):
    paths = dict(sysconfig.get_paths(), include=str(tmp_path))
    monkeypatch.setattr(sysconfig, 'get_paths', lambda: paths)
    assert 'Python.h is missing' in sentence(tool, tmp_path / 'venv')


def test_little_disk(tool, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**30)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    message = sentence(tool, tmp_path / 'venv')
    assert '3.0 GB' in message
    assert 'VENV=' in message


def test_a_ready_environment_is_left_alone(tool, tmp_path, monkeypatch):
    """Never twice: even on a machine that could not make it again."""
    (tmp_path / 'mmpose_lossplus.stamp').write_text(tool.fingerprint())
    monkeypatch.setattr(sys, 'argv', ['setup_venv.py', str(tmp_path)])
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    tool.main()


def test_a_stale_environment_is_not(tool, tmp_path, monkeypatch):
    (tmp_path / 'mmpose_lossplus.stamp').write_text('older requirements')
    monkeypatch.setattr(sys, 'argv', ['setup_venv.py', str(tmp_path)])
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(SystemExit, match='no C'):
        tool.main()
