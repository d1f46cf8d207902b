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
    made = tool.Stack((this, this), ('a', 'b', 'c', 'd'), 1, 5)
    monkeypatch.setitem(tool.STACKS, 'this', made)
    return 'this'


def refused(venv, stack, *words):
    with pytest.raises(SystemExit) as stop:
        tool.check_machine(venv, stack)
    assert not venv.exists()
    for word in words:
        assert word in stop.value.code
    assert '\n' not in stop.value.code


@pytest.mark.parametrize(
    ('version', 'chosen'),
    [
        ((3, 9), 'openmmlab'),
        ((3, 10), 'onedl'),
        ((3, 11), 'onedl'),
        ((3, 12), 'onedl'),
        ((3, 13), 'onedl'),
        ((3, 8), None),
        ((3, 99), None),
    ],
)
def test_newest_stack_that_fits(version, chosen, monkeypatch):
    monkeypatch.setattr(sys, 'version_info', version)
    if chosen:
        assert tool.choose() == chosen
    else:
        with pytest.raises(SystemExit, match=r'3\.10 to .* 3\.9 to 3\.11'):
            tool.choose()


def test_unsupported_python(tmp_path, monkeypatch):
    other = tool.Stack(((3, 98), (3, 99)), ('a', 'b', 'c', 'd'), 1, 5)
    monkeypatch.setitem(tool.STACKS, 'future', other)
    version = sys.version.split()[0]
    refused(tmp_path / 'venv', 'future', '3.98', version, 'python3.99')


def test_nothing_to_compile_with(tmp_path, monkeypatch, stack):
    """All that is missing is named at once."""
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    paths = dict(sysconfig.get_paths(), include=str(tmp_path))
    monkeypatch.setattr(sysconfig, 'get_paths', lambda: paths)
    refused(tmp_path / 'venv', stack, 'g++', f'{tmp_path}/Python.h')


@pytest.mark.parametrize('known', [True, False])
def test_compiler_of_the_last_decade(known, tmp_path, monkeypatch, stack):
    """One that refuses the flag, or does not know the headers."""
    new = tool.STACKS[stack]._replace(cxx_flag='-std=c++20')
    monkeypatch.setitem(tool.STACKS, stack, new)
    compiler = tmp_path / 'c++'
    compiler.write_text(f'#!/bin/sh\nexit {0 if known else 1}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    if known:
        tool.check_machine(tmp_path / 'venv', stack)
    else:
        refused(tmp_path / 'venv', stack, 'C++20', str(compiler), 'GCC 10')


def test_a_real_compiler():
    compiler = shutil.which('c++')
    assert tool.compiles('#include <cstdio>\n', compiler, '-std=c++11')
    assert not tool.compiles('#include <nowhere>\n', compiler, '-std=c++11')
    assert not tool.compiles('int i;\n', compiler, '-std=c++00')


def test_little_disk(tmp_path, monkeypatch, stack):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**30)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    refused(tmp_path / 'venv', stack, '5 GB', '3.0 GB')


@pytest.mark.parametrize(
    ('stamp', 'ready'), [('this', True), ('other', False)]
)
def test_made_only_when_needed(stamp, ready, stack, tmp_path, monkeypatch):
    """Even on a machine that could not make it, a ready one is left alone."""
    monkeypatch.setattr(tool, 'constraints', lambda stack: tmp_path / 'pins')
    (tmp_path / 'pins').write_text('a==1')
    text = tool.requirements_hash(stack) if ready else stamp
    (tmp_path / 'mmpose_lossplus.stamp').write_text(text)
    command = ['setup_venv.py', str(tmp_path), '--stack', stack]
    monkeypatch.setattr(sys, 'argv', command)
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    if ready:
        tool.main()
    else:
        with pytest.raises(SystemExit, match=r'g\+\+'):
            tool.main()


def test_new_pins_need_a_new_environment(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'constraints', lambda stack: tmp_path / 'pins')
    hashes = set()
    for pins in ('a==1', 'a==2'):
        (tmp_path / 'pins').write_text(pins)
        hashes.add(tool.requirements_hash(stack))
    assert len(hashes) == 2


def test_environments_are_not_mixed(tmp_path):
    """One of another stack is made anew, what is not ours is left alone."""
    venv = tmp_path / 'venv'
    tool.make_folder(venv, 'openmmlab')
    leftover = venv / 'installed'
    leftover.write_text('half')
    tool.make_folder(venv, 'openmmlab')
    assert leftover.exists()  # goes on where it was cut off
    tool.make_folder(venv, 'onedl')
    assert not leftover.exists()
    assert (venv / 'bin' / 'python').exists()

    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('precious')
    with pytest.raises(SystemExit, match='not made by this script'):
        tool.make_folder(tmp_path / 'mine', 'onedl')
    assert (tmp_path / 'mine' / 'thesis.txt').exists()


def test_failed_step_is_one_sentence(capfd):
    with pytest.raises(SystemExit) as stop:
        tool.call(['sh', '-c', 'echo why >&2; exit 3'])
    assert 'exit code 3' in stop.value.code
    assert '\n' not in stop.value.code
    assert 'why' in capfd.readouterr().err


def test_every_stack_pins_the_same_packages():
    """A package that one stack lacks would only be missed by its tests."""
    names = {
        stack: set(
            re.findall(
                '^([a-z-]+)==', tool.constraints(stack).read_text(), re.M
            )
        )
        for stack in ('openmmlab', 'onedl')
    }
    for stack, pinned in names.items():
        hosts = set(tool.STACKS[stack].packages)
        assert hosts <= pinned
        names[stack] = pinned - hosts
    assert names['openmmlab'] == names['onedl']
    assert set(tool.BUILD) <= names['onedl']


@pytest.mark.parametrize('stack', ['openmmlab', 'onedl'])
def test_each_stack_has_its_own_environment(stack):
    """The folders' names, as `make` would use them."""
    # Not the settings of a `make test` that runs this test.
    given = ('MAKEFLAGS', 'MAKEOVERRIDES', 'STACK', 'VENV')
    env = {name: v for name, v in os.environ.items() if name not in given}
    command = ['make', '-n', 'venv', f'STACK={stack}']
    planned = subprocess.check_output(command, cwd=ROOT, env=env, text=True)
    assert f'setup_venv.py .venv-{stack} --stack {stack}\n' in planned


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
