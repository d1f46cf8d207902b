"""The environments of the Makefile: where one can be made, and when it is."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

from ..factories import ROOT, load_tool

tool = load_tool('misc/setup_venv.py')


@pytest.fixture
def stack(monkeypatch):
    """A stack for this Python, whatever it is."""
    this = sys.version_info[:2]
    monkeypatch.setitem(tool.STACKS, 'this', tool.Stack((this, this), 1, 5))
    return 'this'


def refused(venv, stack, *words):
    with pytest.raises(SystemExit) as stop:
        tool.check_machine(venv, stack)
    assert not venv.exists()
    for word in words:
        assert word in stop.value.code


def test_unsupported_python(tmp_path, monkeypatch):
    other = tool.Stack(((3, 98), (3, 99)), 1, 5)
    monkeypatch.setitem(tool.STACKS, 'future', other)
    version = sys.version.split()[0]
    refused(tmp_path / 'venv', 'future', '3.98', version, 'python3.99')


def test_nothing_to_compile_with(tmp_path, monkeypatch, stack):
    """All that is missing is named at once."""
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    paths = dict(sysconfig.get_paths(), include=str(tmp_path))
    monkeypatch.setattr(sysconfig, 'get_paths', lambda: paths)
    refused(tmp_path / 'venv', stack, 'g++', f'{tmp_path}/Python.h')


def test_little_disk(tmp_path, monkeypatch, stack):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**30)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    refused(tmp_path / 'venv', stack, '5 GB', '3.0 GB')


@pytest.mark.parametrize(
    ('stamp', 'ready'), [('this', True), ('newest', False), (None, False)]
)
def test_made_only_when_needed(stamp, ready, stack, tmp_path, monkeypatch):
    """Even on a machine that could not make it, a ready one is left alone."""
    text = tool.requirements_hash(stamp) if stamp else 'older requirements'
    (tmp_path / 'mmpose_lossplus.stamp').write_text(text)
    command = ['setup_venv.py', str(tmp_path), '--stack', stack]
    monkeypatch.setattr(sys, 'argv', command)
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    if ready:
        tool.main()
    else:
        with pytest.raises(SystemExit, match=r'g\+\+'):
            tool.main()


@pytest.mark.parametrize('stack', tool.STACKS)
def test_every_stack_pins_the_same_packages(stack):
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


@pytest.mark.parametrize(
    ('stack', 'venv'), [('default', '.venv'), ('newest', '.venv-newest')]
)
def test_each_stack_has_its_own_environment(stack, venv):
    """The folders' names, as `make` would use them."""
    # Not the settings of a `make test` that runs this test.
    given = ('MAKEFLAGS', 'MAKEOVERRIDES', 'STACK', 'VENV')
    env = {name: v for name, v in os.environ.items() if name not in given}
    command = ['make', '-n', 'venv', f'STACK={stack}']
    planned = subprocess.check_output(command, cwd=ROOT, env=env, text=True)
    assert f'setup_venv.py {venv} --stack {stack}\n' in planned


@pytest.mark.parametrize(
    ('pip', 'cache'),
    [('echo /cache', ['--cache-dir', '/cache/torch-2.1.2']), ('exit 1', [])],
    ids=['cache', 'none'],
)
def test_each_torch_has_a_cache_of_its_own(pip, cache, tmp_path):
    """So that no mmcv is taken that was compiled against another one."""
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo 2.1.2 || {pip}\n')
    python.chmod(0o755)
    assert list(map(str, tool.torch_cache(python))) == cache


def test_the_flag_of_the_compiler_comes_last(tmp_path, monkeypatch):
    """Of two C++ standards a compiler takes the second."""
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('CXX', 'echo')
    command = [tool.compiler_with('-std=c++20', tmp_path), '-std=c++17', 'a b']
    output = subprocess.check_output(command, text=True)
    assert output == '-std=c++17 a b -std=c++20\n'
