"""Make the virtual environment of ``make demo`` and ``make test``.

Does nothing when the environment is there and its requirements are unchanged.
Uses the standard library only: it runs before anything is installed.
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

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
PYTHONS = ((3, 9), (3, 11))  # what torch 2.1 and these pins have wheels for
DISK_GB = 10  # 6 for the environment, the rest for downloads and compiling


def check_machine(venv: Path) -> None:
    """Stop with one sentence if the environment cannot be made here."""
    oldest, newest = ('.'.join(map(str, v)) for v in PYTHONS)
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        sys.exit(
            f'Python {oldest} to {newest} is needed, but {sys.executable} is '
            f'{sys.version.split()[0]}: name another one, as in '
            f'"make PYTHON=python{newest} test".'
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
    if free < DISK_GB:
        sys.exit(
            f'{DISK_GB} GB of free disk are needed for {venv}, but '
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


def install(venv: Path) -> None:
    python = venv / 'bin' / 'python'
    pip = [python, '-m', 'pip', 'install', '-q', '--no-build-isolation']
    pip += ['--disable-pip-version-check']
    mmcv = ['-r', REQUIREMENTS / 'mminstall.txt']
    mmcv += ['-c', REQUIREMENTS / 'runtime.txt']
    # With a visible GPU mmcv would need the matching CUDA compiler.
    mmcv_env = dict(MMCV_WITH_OPS='1')
    if os.environ.get('FORCE_CUDA') != '1':
        mmcv_env.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')

    run(
        '[1/4] torch and build tools (2.5 GB to download)',
        [*pip, '-r', REQUIREMENTS / 'build.txt'],
    )
    run(
        '[2/4] mmengine and mmcv (mmcv has no wheel for this torch: the first '
        'time it\n      compiles for about ten minutes; pip keeps the wheel '
        'in its cache)',
        [*pip, *mmcv],
        mmcv_env,
    )
    # pip's cache does not know which torch a wheel was compiled against.
    if subprocess.call(
        [python, '-c', 'import mmcv.ops'], stderr=subprocess.DEVNULL
    ):
        run(
            '      pip had an mmcv for another torch: compiling again',
            [*pip, '--force-reinstall', '--no-deps', '--no-cache-dir', *mmcv],
            mmcv_env,
        )
    files = [REQUIREMENTS / f'{f}.txt' for f in ('runtime', 'demo', 'tests')]
    run(
        '[3/4] mmdet, mmpose and tools',
        [*pip, *(x for file in files for x in ('-r', file))],
    )
    run('[4/4] mmpose_lossplus', [*pip, '--no-deps', '-e', ROOT])


def fingerprint() -> str:
    files = sorted(REQUIREMENTS.glob('*.txt')) + [ROOT / 'setup.py']
    content = b''.join(f.read_bytes() for f in [*files, Path(__file__)])
    version = str(sys.version_info[:2]).encode()
    return hashlib.sha256(version + str(ROOT).encode() + content).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('venv', type=Path, help='folder of the environment')
    venv = parser.parse_args().venv.absolute()
    stamp = venv / 'mmpose_lossplus.stamp'
    if stamp.exists() and stamp.read_text() == fingerprint():
        return
    check_machine(venv)
    print(f'Setting up {venv} with {sys.executable}', flush=True)
    start = time.time()
    config = venv / 'pyvenv.cfg'
    version = f'version = {sys.version.split()[0]}'
    if not config.exists() or version not in config.read_text():
        subprocess.check_call(
            [sys.executable, '-m', 'venv', '--clear', str(venv)]
        )
    install(venv)
    stamp.write_text(fingerprint())
    print(f'Set up in {(time.time() - start) / 60:.1f} minutes', flush=True)


if __name__ == '__main__':
    main()
