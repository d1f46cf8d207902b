"""Print the versions and try what breaks in practice, each with its cure.

What is built on something broken is not tried: every cure is that of a cause.
Exits with 1 if anything failed. Uses the standard library only, for all else
is what it looks at.
"""

import argparse
import io
import platform
import shlex
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Callable, Dict, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parents[2]  # with a wheel it is .mim
HOSTS = ('mmengine', 'mmcv', 'mmdet')
# Modules that are compiled against NumPy, and what pip calls them.
COMPILED = {
    'cv2': 'opencv-python',
    'matplotlib.ft2font': 'matplotlib',
    'pycocotools._mask': 'pycocotools',
    'scipy.optimize': 'scipy',
    'shapely': 'shapely',
    'xtcocotools._mask': 'xtcocotools',
}
# Its setup.py asks locals() for what exec() has set, which Python 3.13 does
# not give any more (PEP 667).
MEND_XTCOCOTOOLS = (
    'mkdir xtc && TMPDIR=$PWD/xtc pip download --no-deps --no-clean '
    '--no-build-isolation --no-binary :all: -c {pins} xtcocotools; sed -i '
    "\"s/'exec'))/'exec'), globals())/; s/locals()\\[/globals()[/\" "
    'xtc/*/xtcocotools*/setup.py && pip install --no-build-isolation '
    '--no-deps xtc/*/xtcocotools*/'
)
# torch asks for C++20, and mmcv for C++17.
CXX20 = (
    'printf \'#!/bin/sh\\nexec c++ "$@" -std=c++20\\n\' > cxx20 && '
    'chmod +x cxx20 && CXX=$PWD/cxx20 '
)


class Check(NamedTuple):
    """Something to try, which needs that others are in order."""

    name: str
    run: Callable[[], str]  # returns what it has found
    cure: str
    needs: Tuple[str, ...] = ()


def load_gate() -> ModuleType:
    """The gate alone: its package would import all that may be broken."""
    spec = find_spec('mmpose_lossplus')
    if spec is None:
        sys.exit(
            f'{sys.executable} has no mmpose_lossplus: pip install '
            f'--no-build-isolation {shlex.quote(str(ROOT))}'
        )
    sys.modules['mmpose_lossplus'] = module_from_spec(spec)
    gate = import_module('mmpose_lossplus.gate')
    del sys.modules['mmpose_lossplus']
    return gate


def find_makers() -> Dict[str, str]:
    """The stack that each host is of, told without importing it."""
    makers = {}
    for name in HOSTS:
        spec = find_spec(name)
        if spec and spec.origin:
            file = Path(spec.origin).with_name('version.py')
            text = file.read_text('utf-8') if file.exists() else ''
            # OneDL's modules ask for the version of onedl-<name>.
            makers[name] = 'onedl' if 'onedl' in text else 'openmmlab'
    return makers


def check_import(module: str) -> str:
    import_module(module)
    package = import_module(module.partition('.')[0])
    return getattr(package, '__version__', '')


def check_torch_with_numpy() -> str:
    """Give a tensor to NumPy, which torch takes only as it was built for."""
    import torch

    torch.ones(1).numpy()
    return ''


def check_nms(module: str) -> str:
    """Call an op that is compiled against torch."""
    import torch

    import_module(f'{module}.ops').nms(torch.rand(1, 4), torch.rand(1), 0.5)
    return import_module(module).__version__


def check_host(name: str, bounds: Tuple[str, str], *parts: str) -> str:
    """Import a host and compare its version."""
    from mmengine.utils import digit_version

    found = import_module(name).__version__
    low, high = bounds
    if not digit_version(low) <= digit_version(found) < digit_version(high):
        raise ImportError(f'it is {found}, must be >={low},<{high}')
    for part in parts:
        import_module(part)
    return found


def check_mmcv(bounds: Tuple[str, str]) -> str:
    check_host('mmcv', bounds)
    return check_nms('mmcv')


def check_config() -> str:
    """Find a config of MMPose by its name."""
    from mmengine.hub import get_config

    folder = 'mmpose::body_2d_keypoint/topdown_heatmap/coco'
    get_config(f'{folder}/td-hm_res50_8xb64-210e_coco-256x192.py')
    return ''


def check_drawing() -> str:
    """Draw a person, where MMPose takes arrays for numbers."""
    import numpy as np
    from mmengine.structures import InstanceData
    from mmpose.datasets import CocoDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from mmpose.structures import PoseDataSample
    from mmpose.visualization import PoseLocalVisualizer

    pose = InstanceData(
        keypoints=np.full((1, 17, 2), 4.0),
        keypoint_scores=np.ones((1, 17)),
        bboxes=np.array([[1.0, 1.0, 6.0, 6.0]]),
    )
    visualizer = PoseLocalVisualizer()
    visualizer.set_dataset_meta(parse_pose_metainfo(CocoDataset.METAINFO))
    visualizer.add_datasample(
        'doctor',
        np.zeros((8, 8, 3), np.uint8),
        PoseDataSample(pred_instances=pose),
        draw_bbox=True,
    )
    return ''


def check_mim() -> str:
    """Look for what mim needs."""
    mim = Path(import_module('mmpose_lossplus').__file__).parent / '.mim'
    if not (mim / 'tools' / 'train.py').exists():
        raise FileNotFoundError(f'{mim} has no tools/train.py')
    return ''


def check_checkpoint() -> str:
    """Save and load what PyTorch 2.6 and newer refuse without us."""
    import torch
    from mmengine.logging import MessageHub
    from mmengine.runner import load_checkpoint, save_checkpoint

    hub = MessageHub.get_instance('doctor')
    hub.update_scalar('loss', 1.0)
    model = torch.nn.Linear(1, 1)
    state = dict(state_dict=model.state_dict(), message_hub=hub.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, 'checkpoint.pth'))
        save_checkpoint(state, file)
        load_checkpoint(model, file)
    return ''


def make_checks(
    stack: str,
    pins: Path,
    bounds: Dict[str, Tuple[str, str]],
    python: Tuple[int, int],
) -> List[Check]:
    """All checks, each after those that it needs.

    Args:
        stack (str): 'openmmlab' or 'onedl'.
        pins (Path): The constraint file of the stack.
        bounds (dict): Of each host, the first version, and the first that is
            too new.
        python (tuple[int, int]): Version of Python.
    """
    onedl = stack == 'onedl'
    prefix, mmdet = ('onedl-', 'mmdetection') if onedl else ('', 'mmdet')
    pins = shlex.quote(str(pins))
    pip = f'pip install -c {pins}'
    again = f'{pip} --force-reinstall --no-deps'
    compiling = f'{again} --no-cache-dir --no-build-isolation'
    where = f'-e {shlex.quote(str(ROOT))}'
    if ROOT.name == '.mim':
        where = '--force-reinstall mmpose_lossplus-*.whl'
    reinstall = f'pip install --no-build-isolation --no-deps {where}'

    cures = {
        module: f'{again} {package}' for module, package in COMPILED.items()
    }
    cures['cv2'] += ' (if libGL.so.1 is missing: apt install libgl1)'
    # Its wheels are for NumPy 1.
    cures['xtcocotools._mask'] = (
        MEND_XTCOCOTOOLS.format(pins=pins)
        if python >= (3, 13)
        else f'{compiling} --no-binary xtcocotools xtcocotools'
    )
    base = ('torch with numpy',)
    checks = [
        Check('numpy', partial(check_import, 'numpy'), f'{again} numpy'),
        Check(
            'torch',
            partial(check_import, 'torch'),
            f'{pip} torch',
            ('numpy',),
        ),
        Check(
            'torch with numpy',
            check_torch_with_numpy,
            f'{again} numpy (torch before 2.3 needs one before 2)',
            ('torch',),
        ),
        Check(
            'torchvision',
            partial(check_nms, 'torchvision'),
            'install the torchvision that was built for this torch (0.16 for '
            '2.1, 0.29 for 2.14)',
            base,
        ),
        *(
            Check(package, partial(check_import, module), cures[module], base)
            for module, package in COMPILED.items()
        ),
    ]
    needs = (*base, 'torchvision', 'opencv-python', 'matplotlib')
    if not onedl:
        # MMEngine looks with it for packages, and mmcv's setup.py imports it.
        checks.append(
            Check(
                'setuptools',
                partial(check_import, 'pkg_resources'),
                'pip install "setuptools<82"',
            )
        )
        needs += ('setuptools',)
        # MMDet refuses 2.2.
        bounds = dict(bounds, mmcv=(bounds['mmcv'][0], '2.2.0'))
    compile_mmcv = (
        f'{CXX20 if onedl else ""}MMCV_WITH_OPS=1 {compiling} {prefix}mmcv'
    )
    return [
        *checks,
        Check(
            'mmengine',
            partial(
                check_host, 'mmengine', bounds['mmengine'], 'mmengine.runner'
            ),
            f'{pip} {prefix}mmengine',
            needs,
        ),
        Check(
            'mmcv',
            partial(check_mmcv, bounds['mmcv']),
            f'{compile_mmcv} (not mmcv-lite)',
            ('mmengine',),
        ),
        Check(
            'mmdet',
            partial(check_host, 'mmdet', bounds['mmdet'], 'mmdet.apis'),
            f'{pip} {prefix}{mmdet}',
            ('mmcv', 'pycocotools', 'scipy', 'shapely'),
        ),
        Check(
            'mmpose',
            partial(
                check_host,
                'mmpose',
                bounds['mmpose'],
                'mmpose.models',
                'mmpose.apis',
            ),
            f'{pip} --no-build-isolation mmpose',
            ('mmdet', 'xtcocotools'),
        ),
        Check(
            'configs by mmpose::',
            check_config,
            f'{again} --no-build-isolation mmpose',
            ('mmpose',),
        ),
        Check(
            'drawing a person',
            check_drawing,
            f'{again} numpy (MMPose cannot draw with 2.4 and newer)',
            ('mmpose',),
        ),
        Check(
            'mmpose_lossplus',
            partial(check_import, 'mmpose_lossplus'),
            reinstall,
            ('mmpose',),
        ),
        Check('its files for mim', check_mim, reinstall, ('mmpose_lossplus',)),
        Check(
            'saving and loading a checkpoint',
            check_checkpoint,
            f'{again} {prefix}mmengine',
            ('mmpose_lossplus',),
        ),
    ]


def run_checks(checks: List[Check]) -> Tuple[int, int]:
    """Print what is in order and what is not.

    Returns:
        tuple[int, int]: How many failed, and how many were not tried.
    """
    blamed: Dict[str, List[str]] = {}  # what failed, or why it was not tried
    waiting: Dict[str, List[str]] = {}  # what was not tried, by the reason
    failed = 0
    for check in checks:
        causes = [c for name in check.needs for c in blamed.get(name, ())]
        if causes:
            causes = list(dict.fromkeys(causes))
            blamed[check.name] = causes
            waiting.setdefault(' and '.join(causes), []).append(check.name)
            continue
        try:
            with (
                redirect_stdout(io.StringIO()),
                redirect_stderr(io.StringIO()),
            ):
                found = check.run()
        except Exception as error:  # whatever it is, name it and go on
            failed += 1
            blamed[check.name] = [check.name]
            reason = str(error).strip().partition('\n')[0]
            print(f'FAILED     {check.name}')
            print(f'           {type(error).__name__}: {reason}')
            print(f'           cure: {check.cure}', flush=True)
        else:
            print(f'ok         {check.name} {found}'.rstrip(), flush=True)
    for causes, names in waiting.items():
        print(f'not tried  because of {causes}: {", ".join(names)}')
    return failed, len(blamed) - failed


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    gate = load_gate()
    python = sys.version_info[:2]
    makers = find_makers()
    if makers:
        stack = 'onedl' if 'onedl' in makers.values() else 'openmmlab'
        told = ', '.join(f'{name} is of {s}' for name, s in makers.items())
        if len(set(makers.values())) == 1:
            told = f'{", ".join(makers)} are of it'
    else:
        stack = 'onedl' if python >= (3, 10) else 'openmmlab'
        told = 'it fits this Python, and nothing of any is installed'
    pins = ROOT / 'requirements' / f'{stack}.txt'
    print(f'Python     {platform.python_version()} ({sys.executable})')
    print(f'stack      {stack} ({told})')
    print(f'pins       {pins}')
    if stack == 'openmmlab' and python > (3, 11):
        print('           (for Python 3.9 to 3.11; onedl has newer ones, too)')
    print()
    bounds = {name: host[:2] for name, host in gate.HOSTS.items()}
    checks = make_checks(stack, pins, bounds, python)
    failed, left = run_checks(checks)
    print()
    if failed:
        sys.exit(
            f'{failed} of {len(checks)} checks failed and {left} were not '
            'tried: apply the cures and call this again.'
        )
    print(f'All {len(checks)} checks passed.')


if __name__ == '__main__':
    main()
