"""A machine that cannot make the environment hears why in one sentence."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

from ..factories import ROOT, load_tool


@pytest.fixture
def tool():
    return load_tool('misc/setup_venv.py')


@pytest.fixture
def stack(tool):
    """The stack that this Python runs."""
    for name, stack in tool.STACKS.items():
        if stack.pythons[0] <= sys.version_info[:2] <= stack.pythons[1]:
            return name
    raise AssertionError(f'No stack takes Python {sys.version}.')


def sentence(tool, venv, stack):
    with pytest.raises(SystemExit) as stop:
        tool.check_machine(venv, stack)
    assert '\n' not in stop.value.code
    assert not venv.exists()
    return stop.value.code


@pytest.mark.parametrize(
    ('stack', 'version', 'wanted'),
    [
        ('oldest', (3, 7), 'needs Python 3.8, but'),
        ('oldest', (3, 9), 'needs Python 3.8, but'),
        ('default', (3, 8), 'needs Python 3.9 to 3.11, but'),
        ('default', (3, 12), 'needs Python 3.9 to 3.11, but'),
        ('newest', (3, 11), 'needs Python 3.12, but'),
        ('newest', (3, 13), 'needs Python 3.12, but'),
    ],
)
def test_unsupported_python(
    tool, tmp_path, monkeypatch, stack, version, wanted
):
    monkeypatch.setattr(sys, 'version_info', version + (0,))
    monkeypatch.setattr(sys, 'version', f'{version[0]}.{version[1]}.0 (x)')
    message = sentence(tool, tmp_path / 'venv', stack)
    assert wanted in message
    assert f'{version[0]}.{version[1]}.0' in message
    assert re.search(f'make PYTHON=python3[.][0-9]+ STACK={stack} ', message)


def test_no_compiler(tool, tmp_path, monkeypatch, stack):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    assert 'no C++ compiler' in sentence(tool, tmp_path / 'venv', stack)


def test_no_headers(tool, tmp_path, monkeypatch, stack):
    paths = dict(sysconfig.get_paths(), include=str(tmp_path))
    monkeypatch.setattr(sysconfig, 'get_paths', lambda: paths)
    assert 'Python.h is missing' in sentence(tool, tmp_path / 'venv', stack)


def test_little_disk(tool, tmp_path, monkeypatch, stack):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**30)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    message = sentence(tool, tmp_path / 'venv', stack)
    assert '3.0 GB' in message
    assert 'VENV=' in message


@pytest.fixture
def arguments(tool, tmp_path, monkeypatch, stack):
    """Calls the script for an environment that could not be made."""
    command = ['setup_venv.py', str(tmp_path), '--stack', stack]
    monkeypatch.setattr(sys, 'argv', command)
    monkeypatch.setattr(shutil, 'which', lambda name: None)


def write_stamp(tool, folder, stack):
    (folder / 'mmpose_lossplus.stamp').write_text(tool.fingerprint(stack))


@pytest.mark.usefixtures('arguments')
def test_a_ready_environment_is_left_alone(tool, tmp_path, stack):
    """Never twice: even on a machine that could not make it again."""
    write_stamp(tool, tmp_path, stack)
    tool.main()


@pytest.mark.usefixtures('arguments')
def test_a_stale_environment_is_not(tool, tmp_path):
    (tmp_path / 'mmpose_lossplus.stamp').write_text('older requirements')
    with pytest.raises(SystemExit, match='no C'):
        tool.main()


@pytest.mark.usefixtures('arguments')
def test_the_environment_of_another_stack_is_stale(tool, tmp_path, stack):
    (other, *_) = set(tool.STACKS) - {stack}
    write_stamp(tool, tmp_path, other)
    with pytest.raises(SystemExit, match='no C'):
        tool.main()


def test_unknown_stack(tool, tmp_path, monkeypatch, capsys):
    command = ['setup_venv.py', str(tmp_path), '--stack', 'latest']
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(SystemExit):
        tool.main()
    error = capsys.readouterr().err
    assert "'latest' (choose from" in error
    assert all(stack in error for stack in tool.STACKS)


@pytest.mark.parametrize('stack', ['oldest', 'default', 'newest'])
def test_every_stack_pins_the_same_packages(tool, stack):
    """A package that one stack lacks would only be missed by its tests."""

    def names(files):
        return {
            name: set(re.findall('^([a-z-]+)==', file.read_text(), re.M))
            for name, file in files.items()
        }

    found = names(tool.requirements(stack))
    assert found['mminstall'] == {'mmengine', 'mmcv'}
    if stack == 'newest':  # compiles xtcocotools
        found['build'].remove('cython')
    assert found == names(tool.requirements('default'))


def test_each_stack_has_its_own_environment():
    """The folders' names, as `make` would use them."""
    for stack, venv in (
        ('oldest', '.venv-oldest'),
        ('default', '.venv'),
        ('newest', '.venv-newest'),
    ):
        command = ['make', '-n', 'venv', f'STACK={stack}']
        # Not those of a `make test` that runs this test.
        env = {
            name: value
            for name, value in os.environ.items()
            if name not in ('MAKEFLAGS', 'MAKEOVERRIDES', 'STACK', 'VENV')
        }
        planned = subprocess.check_output(
            command, cwd=ROOT, env=env, text=True
        )
        assert f'setup_venv.py {venv} --stack {stack}\n' in planned


def test_each_torch_has_a_cache_of_its_own(tool, tmp_path):
    """So that no mmcv is taken that was compiled against another one."""
    python = tmp_path / 'python'

    def option(torch):
        python.write_text(
            f'#!/bin/sh\n[ "$1" = -c ] && echo {torch} || echo /cache\n'
        )
        python.chmod(0o755)
        return [str(part) for part in tool.torch_cache(python)]

    assert option('2.1.2') == ['--cache-dir', '/cache/torch-2.1.2']
    assert option('1.8.0') == ['--cache-dir', '/cache/torch-1.8.0']


def test_no_cache_if_pip_keeps_none(tool, tmp_path):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && echo 2.1.2\n')
    python.chmod(0o755)
    assert tool.torch_cache(python) == []


def test_the_flag_of_the_compiler_comes_last(tool, tmp_path, monkeypatch):
    """Of two C++ standards a compiler takes the second."""
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('CXX', 'echo')
    command = tool.compiler_with('-std=c++20', tmp_path)
    output = subprocess.check_output(
        [command, '-std=c++17', 'a b.cpp'], text=True
    )
    assert output == '-std=c++17 a b.cpp -std=c++20\n'
