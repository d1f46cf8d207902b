"""Make the virtual environment of ``make demo`` and ``make test``.

There is one for each stack: the default versions, the oldest and the newest
that work together. Does nothing when the environment is there and its
requirements are unchanged. Uses the standard library only: it runs before
anything is installed.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
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
    oldest=Stack(((3, 8), (3, 8)), 0.7, 5),
    default=Stack(((3, 9), (3, 11)), 2.5, 10),
    # mmcv asks for C++17.
    newest=Stack(((3, 12), (3, 12)), 2.9, 12, '-std=c++20'),
)


def check_machine(venv: Path, stack: str) -> None:
    """Stop with one sentence if the environment cannot be made here."""
    pythons, disk_gb = STACKS[stack].pythons, STACKS[stack].disk_gb
    if not pythons[0] <= sys.version_info[:2] <= pythons[1]:
        names = dict.fromkeys('.'.join(map(str, v)) for v in pythons)
        sys.exit(
            f'The {stack} stack needs Python {" to ".join(names)}, but '
            f'{sys.executable} is {sys.version.split()[0]}: name another one, '
            f'as in "make PYTHON=python{[*names][-1]} STACK={stack} test".'
        )
    if importlib.util.find_spec('ensurepip') is None:
        sys.exit(
            f'{sys.executable} cannot make virtual environments: install '
            'its venv package (python3-venv on Debian and Ubuntu).'
        )
    compiler = os.environ.get('CXX', 'c++')
    if shutil.which(compiler) is None:
        sys.exit(
            f'mmcv has to be compiled, but there is no C++ compiler '
            f'"{compiler}": install one (g++ on Debian and Ubuntu).'
        )
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    if not header.exists():
        sys.exit(
            f'mmcv has to be compiled, but {header} is missing: install '
            "Python's headers (python3-dev on Debian and Ubuntu)."
        )
    folder = next(p for p in (venv, *venv.parents) if p.exists())
    free = shutil.disk_usage(folder).free / 2**30
    if free < disk_gb:
        sys.exit(
            f'{disk_gb} GB of free disk are needed for {venv}, but '
            f'{folder} has {free:.1f} GB: free some or set VENV= to another '
            'disk.'
        )


def run(title: str, command: list, env: dict = None) -> None:
    """Run a command under a title, with the time it takes."""
    print(title, flush=True)
    start, done = time.time(), threading.Event()

    def report() -> None:
        while not done.wait(30):
            print(f'      ... {time.time() - start:.0f} s', flush=True)

    threading.Thread(target=report, daemon=True).start()
    try:
        code = subprocess.call(command, env={**os.environ, **(env or {})})
    finally:
        done.set()
    if code:
        sys.exit(
            f'{" ".join(map(str, command))} failed with exit code {code}.'
        )
    print(f'      done in {time.time() - start:.0f} s', flush=True)


def requirements(stack: str) -> dict:
    """Return the requirements files by name: the stack's own, or default's."""
    default = sorted(REQUIREMENTS.glob('*.txt'))
    own = (REQUIREMENTS / stack).glob('*.txt')
    return {file.stem: file for file in (*default, *own)}


def torch_cache(python: Path) -> list:
    """Return pip's option for a cache that is for the installed torch alone.

    pip's cache does not know which torch a wheel was compiled against.
    """
    version = [python, '-c', 'import torch; print(torch.__version__)']
    version = subprocess.check_output(version, text=True).strip()
    cache = subprocess.run(
        [python, '-m', 'pip', 'cache', 'dir'],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if cache.returncode:  # pip is told to keep none
        return []
    return ['--cache-dir', Path(cache.stdout.strip(), f'torch-{version}')]


def compiler_with(flag: str, venv: Path) -> Path:
    """Write a compiler that gets the flag last, where it overrides others."""
    script = venv / 'bin' / 'mmcv-c++'
    wrapped = shutil.which(os.environ.get('CXX', 'c++'))
    script.write_text(f'#!/bin/sh\nexec "{wrapped}" "$@" {flag}\n')
    script.chmod(0o755)
    return script


def install(venv: Path, stack: str) -> None:
    files = requirements(stack)
    python = venv / 'bin' / 'python'
    pip = [python, '-m', 'pip', 'install', '-q', '--no-build-isolation']
    pip += ['--disable-pip-version-check']
    mmcv = ['-r', files['mminstall'], '-c', files['runtime']]
    # With a visible GPU mmcv would need the matching CUDA compiler.
    # Many a Python was compiled with -g, which takes mmcv twice as long.
    flags = os.environ.get('CFLAGS', '') + ' -g0'
    mmcv_env = dict(MMCV_WITH_OPS='1', CFLAGS=flags)
    if STACKS[stack].cxx_flag:
        mmcv_env['CXX'] = str(compiler_with(STACKS[stack].cxx_flag, venv))
    if os.environ.get('FORCE_CUDA') != '1':
        mmcv_env.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')

    run(
        '[1/4] torch and build tools '
        f'({STACKS[stack].download_gb} GB to download)',
        [*pip, '-r', files['build']],
    )
    mmcv += torch_cache(python)
    run(
        '[2/4] mmengine and mmcv (mmcv has no wheel for this torch: the first '
        'time it\n      compiles for about ten minutes; pip keeps the wheel '
        'in its cache)',
        [*pip, *mmcv],
        mmcv_env,
    )
    # One that was there already may be for the torch of before.
    if subprocess.call(
        [python, '-c', 'import mmcv.ops'], stderr=subprocess.DEVNULL
    ):
        run(
            '      mmcv was compiled for another torch: installing it again',
            [*pip, '--force-reinstall', '--no-deps', *mmcv],
            mmcv_env,
        )
    rest = [('-r', files[name]) for name in ('runtime', 'demo', 'tests')]
    run('[3/4] mmdet, mmpose and tools', [*pip, *sum(rest, ())])
    run('[4/4] mmpose_lossplus', [*pip, '--no-deps', '-e', ROOT])


def fingerprint(stack: str) -> str:
    files = [*requirements(stack).values(), ROOT / 'setup.py', Path(__file__)]
    content = b''.join(file.read_bytes() for file in files)
    version = str(sys.version_info[:2]).encode()
    return hashlib.sha256(version + str(ROOT).encode() + content).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('venv', type=Path, help='folder of the environment')
    parser.add_argument('--stack', choices=STACKS, default='default')
    args = parser.parse_args()
    venv = args.venv.absolute()
    stamp = venv / 'mmpose_lossplus.stamp'
    if stamp.exists() and stamp.read_text() == fingerprint(args.stack):
        return
    check_machine(venv, args.stack)
    print(f'Setting up {venv} with {sys.executable}', flush=True)
    start = time.time()
    config = venv / 'pyvenv.cfg'
    version = f'version = {sys.version.split()[0]}'
    if not config.exists() or version not in config.read_text():
        subprocess.check_call(
            [sys.executable, '-m', 'venv', '--clear', str(venv)]
        )
    install(venv, args.stack)
    stamp.write_text(fingerprint(args.stack))
    print(f'Set up in {(time.time() - start) / 60:.1f} minutes', flush=True)


if __name__ == '__main__':
    main()
