"""Make the virtual environment of ``make demo`` and ``make test``.

A stack is a set of versions that work together, pinned in ``requirements``;
without --stack it is the newest that fits this Python. Does nothing when the
environment is there and its pins are unchanged, and goes on where it was cut
off. Uses the standard library only: it runs before anything is installed.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Stack(NamedTuple):
    """What a stack needs; its pins are in ``requirements/<name>.txt``."""

    pythons: tuple  # the first and the last
    packages: tuple  # of the hosts; mmpose is the same everywhere
    download_gb: float  # torch, torchvision and the CUDA libraries
    disk_gb: int  # the environment, downloads and compiling
    cxx_flag: str = ''  # what torch needs instead of what mmcv asks for
    from_source: tuple = ()  # whose wheels are for numpy 1


# The newest comes first.
STACKS = dict(
    onedl=Stack(
        ((3, 10), (3, 14)),
        (
            'onedl-mmengine',
            'onedl-mmcv',
            'onedl-mmdetection',
            'onedl-mmpretrain',
        ),
        2.9,
        12,
        '-std=c++20',  # mmcv asks for C++17
        ('xtcocotools',),
    ),
    openmmlab=Stack(
        ((3, 9), (3, 11)),
        ('mmengine', 'mmcv', 'mmdet', 'mmpretrain'),
        2.5,
        10,
    ),
)
BUILD = ('pip', 'setuptools', 'wheel', 'ninja', 'psutil', 'cython', 'numpy')


def choose() -> str:
    """Return the newest stack that fits this Python, or end the script."""
    for name, stack in STACKS.items():
        first, last = stack.pythons
        if first <= sys.version_info[:2] <= last:
            return name
    spans = [
        '{}.{} to {}.{}'.format(*first, *last)
        for (first, last), *_ in STACKS.values()
    ]
    sys.exit(
        f'No stack fits {sys.executable}, which is Python '
        f'{sys.version.split()[0]}: name one of {" or of ".join(spans)}, as '
        'in "make PYTHON=python3.12 test".'
    )


def check_machine(venv: Path, stack: str) -> None:
    """Stop with one sentence if the environment cannot be made here."""
    first, last = STACKS[stack].pythons
    if not first <= sys.version_info[:2] <= last:
        span = '{}.{} to {}.{}'.format(*first, *last)
        sys.exit(
            f'The {stack} stack needs Python {span}, but {sys.executable} is '
            f'{sys.version.split()[0]}: name another one, as in "make PYTHON='
            f'python{last[0]}.{last[1]} STACK={stack} test".'
        )
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    compiler = shutil.which(os.environ.get('CXX', 'c++'))
    needed = {
        'ensurepip (python3-venv)': importlib.util.find_spec('ensurepip'),
        'a C++ compiler (g++)': compiler,
        f'{header} (python3-dev)': header.exists(),
    }
    missing = [name for name, found in needed.items() if not found]
    if missing:
        sys.exit(
            f'To compile mmcv in a virtual environment of {sys.executable}, '
            f'{" and ".join(missing)} must be there: install the package in '
            'brackets (as Debian and Ubuntu call it).'
        )
    flag = STACKS[stack].cxx_flag
    if flag and not compiles('#include <concepts>\n', compiler, flag):
        sys.exit(
            f'The {stack} stack needs a compiler that knows C++20, as GCC 10 '
            f'and newer do, but {compiler} refuses {flag}: set CXX to another '
            'one.'
        )
    folder = next(p for p in (venv, *venv.parents) if p.exists())
    free, disk_gb = shutil.disk_usage(folder).free / 2**30, STACKS[stack][3]
    if free < disk_gb:
        sys.exit(
            f'{disk_gb} GB of free disk are needed for {venv}, but {folder} '
            f'has {free:.1f} GB: free some or set VENV= to another disk.'
        )


def compiles(source: str, compiler: str, flag: str) -> bool:
    """Tell whether a compiler takes a C++ source with a flag."""
    command = [compiler, flag, '-fsyntax-only', '-x', 'c++', '-']
    run = subprocess.run(
        command, input=source, text=True, stderr=subprocess.DEVNULL
    )
    return run.returncode == 0


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
        free = shutil.disk_usage(ROOT).free / 2**30
        sys.exit(
            f'{" ".join(map(str, command))} failed with exit code '
            f'{process.returncode}, with {free:.1f} GB of disk free: mend '
            'what it says above and call this again, which goes on from here.'
        )
    print(f'      done in {time.time() - start:.0f} s')


def constraints(stack: str) -> Path:
    """Return the file with the pins of a stack."""
    return ROOT / 'requirements' / f'{stack}.txt'


def requirements_hash(stack: str) -> str:
    """Return what changes whenever the environment must be made again."""
    files = [constraints(stack), ROOT / 'setup.py', Path(__file__)]
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


def xtcocotools_for_python_3_13(python: Path, pins: list, folder: str) -> Path:
    """Unpack the source of xtcocotools, and mend it.

    Its setup.py reads what exec() has set from locals(), which Python 3.13
    no longer gives (PEP 667). pip unpacks it before it asks for the version,
    and fails there.
    """
    command = [python, '-m', 'pip', 'download', '-q', '--no-deps', *pins]
    command += ['--no-clean', '--no-build-isolation', '--no-binary', ':all:']
    command += ['-d', folder, 'xtcocotools']
    env = {**os.environ, 'TMPDIR': folder}
    subprocess.run(command, env=env, stderr=subprocess.DEVNULL)
    found = list(Path(folder).glob('*/xtcocotools*/setup.py'))
    if not found:
        sys.exit(f'{" ".join(map(str, command))} has downloaded nothing.')
    source = found[0].read_text('utf-8')
    mended = source.replace("'exec'))", "'exec'), globals())")
    found[0].write_text(mended.replace('locals()[', 'globals()['), 'utf-8')
    return found[0].parent


def install(venv: Path, stack: str) -> None:
    """Install the stack and this project into an environment."""
    _, packages, download_gb, _, cxx_flag, from_source = STACKS[stack]
    mmengine, mmcv, mmdet, mmpretrain = packages
    python = venv / 'bin' / 'python'
    pins = ['-c', constraints(stack)]
    pip = [python, '-m', 'pip', 'install', '-q', '--no-build-isolation']
    pip += ['--disable-pip-version-check', *pins]
    # Many a Python was compiled with -g, which takes mmcv twice as long.
    flags = os.environ.get('CFLAGS', '') + ' -g0'
    env = dict(MMCV_WITH_OPS='1', CFLAGS=flags)
    if cxx_flag:
        env['CXX'] = str(compiler_with(cxx_flag, venv))
    # With a visible GPU mmcv would need the matching CUDA compiler.
    if os.environ.get('FORCE_CUDA') != '1':
        env.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')

    print(f'[1/4] torch and build tools ({download_gb} GB to download)')
    call([*pip, *BUILD, 'torch', 'torchvision'])
    print('[2/4] mmengine and mmcv (compiles for about ten minutes the first')
    print("      time, for this torch has no wheel; it stays in pip's cache)")
    cache = torch_cache(python)
    call([*pip, *cache, mmengine, mmcv], **env)
    # One that was there already may be for the torch of before.
    test = [python, '-c', 'import mmcv.ops']
    if subprocess.call(test, stderr=subprocess.DEVNULL):
        print('      mmcv was compiled for another torch: installing it again')
        call([*pip, *cache, '--force-reinstall', '--no-deps', mmcv], **env)
    print('[3/4] mmdet, mmpretrain and mmpose')
    for package in from_source:
        pip += ['--no-binary', package]
    with tempfile.TemporaryDirectory() as folder:
        source = []
        if from_source and sys.version_info >= (3, 13):
            source = [xtcocotools_for_python_3_13(python, pins, folder)]
        call([*pip, *source, mmdet, mmpretrain, 'mmpose'])
    print('[4/4] mmpose_lossplus, its tools and tests')
    call([*pip, '-e', f'{ROOT}[tools,export,tests]'])


def make_folder(venv: Path, stack: str) -> None:
    """Make an empty environment, unless one of this stack is there.

    One of another stack or Python is made anew, and one of somebody else is
    left alone.
    """
    note = venv / 'mmpose_lossplus.stack'
    made_for = f'{stack}, Python {sys.version.split()[0]}'
    if note.exists() and note.read_text('utf-8') == made_for:
        return
    if venv.exists() and any(venv.iterdir()) and not note.exists():
        sys.exit(
            f'{venv} was not made by this script: remove it or set VENV= to '
            'another folder.'
        )
    subprocess.check_call([sys.executable, '-m', 'venv', '--clear', venv])
    note.write_text(made_for, 'utf-8')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'venv', type=Path, nargs='?', help='folder (.venv-<stack>)'
    )
    parser.add_argument('--stack', choices=STACKS, help='(what fits Python)')
    parser.add_argument(
        '--choose', action='store_true', help='print the stack and stop'
    )
    args = parser.parse_args()
    stack = args.stack or choose()
    if args.choose:
        print(stack)
        return
    venv = (args.venv or ROOT / f'.venv-{stack}').absolute()
    stamp = venv / 'mmpose_lossplus.stamp'
    wanted = requirements_hash(stack)
    if stamp.exists() and stamp.read_text('utf-8') == wanted:
        return
    check_machine(venv, stack)
    sys.stdout.reconfigure(line_buffering=True)  # in a pipe, too
    print(f'Setting up {venv} with the {stack} stack and {sys.executable}')
    start = time.time()
    make_folder(venv, stack)
    install(venv, stack)
    stamp.write_text(wanted, 'utf-8')
    print(f'Set up in {(time.time() - start) / 60:.1f} minutes')


if __name__ == '__main__':
    main()
