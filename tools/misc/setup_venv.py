"""Make the virtual environment of ``make demo`` and ``make test``.

There is one for each stack of versions that work together. Does nothing when
the environment is there and its requirements are unchanged. Uses the standard
library only: it runs before anything is installed.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'


class Stack(NamedTuple):
    """What a stack needs."""

    pythons: tuple  # the first and the last that its pins were tried with
    download_gb: float  # torch, torchvision and the CUDA libraries
    disk_gb: int  # the environment, downloads and compiling
    cxx_flag: str = ''  # what torch needs instead of what mmcv asks for


STACKS = dict(
    default=Stack(((3, 9), (3, 11)), 2.5, 10),
    # mmcv asks for C++17.
    newest=Stack(((3, 12), (3, 12)), 2.9, 12, '-std=c++20'),
)


def check_machine(venv: Path, stack: str) -> None:
    """Stop with one sentence if the environment cannot be made here."""
    (_, first), (_, last) = STACKS[stack].pythons
    if not (3, first) <= sys.version_info[:2] <= (3, last):
        sys.exit(
            f'The {stack} stack needs Python 3.{first} to 3.{last}, but '
            f'{sys.executable} is {sys.version.split()[0]}: name another one, '
            f'as in "make PYTHON=python3.{last} STACK={stack} test".'
        )
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    needed = {
        'ensurepip (python3-venv)': importlib.util.find_spec('ensurepip'),
        'a C++ compiler (g++)': shutil.which(os.environ.get('CXX', 'c++')),
        f'{header} (python3-dev)': header.exists(),
    }
    missing = [name for name, found in needed.items() if not found]
    if missing:
        sys.exit(
            f'To compile mmcv in a virtual environment of {sys.executable}, '
            f'{" and ".join(missing)} must be there: install the package in '
            'brackets (as Debian and Ubuntu call it).'
        )
    folder = next(p for p in (venv, *venv.parents) if p.exists())
    free, disk_gb = shutil.disk_usage(folder).free / 2**30, STACKS[stack][2]
    if free < disk_gb:
        sys.exit(
            f'{disk_gb} GB of free disk are needed for {venv}, but {folder} '
            f'has {free:.1f} GB: free some or set VENV= to another disk.'
        )


def call(command: list, **env: str) -> None:
    """Run a command and say how long it takes."""
    start = time.time()
    process = subprocess.Popen(command, env={**os.environ, **env})
    while process.poll() is None:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            print(f'      ... {time.time() - start:.0f} s')
    if process.returncode:
        text = ' '.join(map(str, command))
        sys.exit(f'{text} failed with exit code {process.returncode}.')
    print(f'      done in {time.time() - start:.0f} s')


def requirements(stack: str) -> dict:
    """Return the requirements files by name: the stack's own, or default's."""
    default = sorted(REQUIREMENTS.glob('*.txt'))
    own = (REQUIREMENTS / stack).glob('*.txt')
    return {file.stem: file for file in (*default, *own)}


def requirements_hash(stack: str) -> str:
    """Return what changes whenever the environment must be made again."""
    files = [*requirements(stack).values(), ROOT / 'setup.py', Path(__file__)]
    content = b''.join(file.read_bytes() for file in files)
    version = str(sys.version_info[:2]).encode()
    return hashlib.sha256(version + str(ROOT).encode() + content).hexdigest()


def torch_cache(python: Path) -> list:
    """Return pip's option for a cache that is for the installed torch alone.

    pip's cache does not know which torch a wheel was compiled against.
    """
    version = [python, '-c', 'import torch; print(torch.__version__)']
    version = subprocess.check_output(version, text=True).strip()
    command = [python, '-m', 'pip', 'cache', 'dir']
    cache = subprocess.run(command, capture_output=True, text=True)
    if cache.returncode:  # pip is told to keep none
        return []
    return ['--cache-dir', Path(cache.stdout.strip(), f'torch-{version}')]


def compiler_with(flag: str, venv: Path) -> Path:
    """Write a compiler that gets the flag last, where it overrides others."""
    script = venv / 'bin' / 'mmcv-c++'
    wrapped = shutil.which(os.environ.get('CXX', 'c++'))
    script.write_text(f'#!/bin/sh\nexec "{wrapped}" "$@" {flag}\n', 'utf-8')
    script.chmod(0o755)
    return script


def install(venv: Path, stack: str) -> None:
    """Install the stack and this project into an environment."""
    files, (_, download_gb, _, cxx_flag) = requirements(stack), STACKS[stack]
    python = venv / 'bin' / 'python'
    pip = [python, '-m', 'pip', 'install', '-q', '--no-build-isolation']
    pip += ['--disable-pip-version-check']
    # Many a Python was compiled with -g, which takes mmcv twice as long.
    flags = os.environ.get('CFLAGS', '') + ' -g0'
    env = dict(MMCV_WITH_OPS='1', CFLAGS=flags)
    if cxx_flag:
        env['CXX'] = str(compiler_with(cxx_flag, venv))
    # With a visible GPU mmcv would need the matching CUDA compiler.
    if os.environ.get('FORCE_CUDA') != '1':
        env.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')

    print(f'[1/4] torch and build tools ({download_gb} GB to download)')
    call([*pip, '-r', files['build']])
    print('[2/4] mmengine and mmcv (compiles for about ten minutes the first')
    print("      time, for this torch has no wheel; it stays in pip's cache)")
    mmcv = ['-r', files['mminstall'], '-c', files['runtime']]
    mmcv += torch_cache(python)
    call([*pip, *mmcv], **env)
    # One that was there already may be for the torch of before.
    test = [python, '-c', 'import mmcv.ops']
    if subprocess.call(test, stderr=subprocess.DEVNULL):
        print('      mmcv was compiled for another torch: installing it again')
        call([*pip, '--force-reinstall', '--no-deps', *mmcv], **env)
    print('[3/4] mmdet, mmpose and tools')
    rest = [('-r', files[name]) for name in ('runtime', 'demo', 'tests')]
    call([*pip, *sum(rest, ())])
    print('[4/4] mmpose_lossplus')
    call([*pip, '--no-deps', '-e', ROOT])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('venv', type=Path, help='folder of the environment')
    parser.add_argument('--stack', choices=STACKS, default='default')
    args = parser.parse_args()
    venv = args.venv.absolute()
    stamp = venv / 'mmpose_lossplus.stamp'
    wanted = requirements_hash(args.stack)
    if stamp.exists() and stamp.read_text('utf-8') == wanted:
        return
    check_machine(venv, args.stack)
    sys.stdout.reconfigure(line_buffering=True)  # in a pipe, too
    print(f'Setting up {venv} with {sys.executable}')
    start = time.time()
    config = venv / 'pyvenv.cfg'
    version = f'version = {sys.version.split()[0]}'
    if not config.exists() or version not in config.read_text('utf-8'):
        subprocess.check_call([sys.executable, '-m', 'venv', '--clear', venv])
    install(venv, args.stack)
    stamp.write_text(wanted, 'utf-8')
    print(f'Set up in {(time.time() - start) / 60:.1f} minutes')


if __name__ == '__main__':
    main()
