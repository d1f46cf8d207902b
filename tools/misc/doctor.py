"""Print the versions and try what breaks in practice, each with its cure.

Exits with 1 if anything failed.
"""

import importlib
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path

PACKAGES = (
    'torch',
    'torchvision',
    'numpy',
    'opencv-python',
    'setuptools',
    'xtcocotools',
    'mmengine',
    'mmcv',
    'mmdet',
    'mmpose',
    'mmpose_lossplus',
)


def check_torchvision() -> None:
    import torch
    import torchvision

    torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)


def check_pkg_resources() -> None:
    importlib.import_module('pkg_resources')


def check_xtcocotools() -> None:
    importlib.import_module('xtcocotools._mask')


def check_mmcv_ops() -> None:
    import torch
    from mmcv.ops import nms

    nms(torch.rand(1, 4), torch.rand(1), 0.5)


def check_mmdet() -> None:
    importlib.import_module('mmdet')


def check_mmpose() -> None:
    importlib.import_module('mmpose.models')


def check_config() -> None:
    from mmengine.hub import get_config

    get_config(
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_res50_8xb64-210e_coco-256x192.py'
    )


def check_checkpoint() -> None:
    import torch
    from mmengine.logging import MessageHub
    from mmengine.runner import load_checkpoint, save_checkpoint

    import mmpose_lossplus  # noqa: F401  lets torch 2.6 and newer load it

    hub = MessageHub.get_instance('doctor')
    hub.update_scalar('loss', 1.0)
    model = torch.nn.Linear(1, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, 'checkpoint.pth'))
        state = dict(
            state_dict=model.state_dict(), message_hub=hub.state_dict()
        )
        save_checkpoint(state, file)
        load_checkpoint(model, file)


def check_lossplus() -> None:
    import mmpose_lossplus

    mim = Path(mmpose_lossplus.__file__).parent / '.mim'
    if not (mim / 'tools' / 'train.py').exists():
        raise FileNotFoundError(f'{mim} has no tools/train.py')


CHECKS = (
    (
        'torchvision against torch',
        check_torchvision,
        'install the torchvision that matches your torch '
        '(torch 2.1.2 goes with torchvision 0.16.2)',
    ),
    (
        'setuptools with pkg_resources',
        check_pkg_resources,
        'pip install "setuptools<81"',
    ),
    (
        'xtcocotools against numpy',
        check_xtcocotools,
        'pip install "numpy<2", or compile it: pip install '
        '--no-build-isolation --no-binary xtcocotools xtcocotools',
    ),
    (
        'mmcv ops',
        check_mmcv_ops,
        'compile mmcv for your torch: MMCV_WITH_OPS=1 pip install '
        '--no-build-isolation --no-cache-dir --force-reinstall --no-deps '
        'mmcv==2.1.0 (mmcv-lite is not enough)',
    ),
    (
        'mmdet against mmcv',
        check_mmdet,
        'pip install "mmdet>=3.2,<3.4" and mmcv 2.1 (mmdet refuses 2.2)',
    ),
    (
        'mmpose models',
        check_mmpose,
        'pip install --no-build-isolation "mmpose>=1.3,<1.4"',
    ),
    (
        'configs by mmpose::',
        check_config,
        'pip install "setuptools<81" and a full mmpose, not a checkout',
    ),
    (
        'saving and loading a checkpoint',
        check_checkpoint,
        'pip install mmengine==0.10.7, whose checkpoints mmpose_lossplus lets '
        'torch 2.6 and newer load',
    ),
    (
        'mmpose_lossplus and its .mim folder',
        check_lossplus,
        'pip install --no-build-isolation --no-deps -e . in the checkout',
    ),
)


def main() -> None:
    print(f'{"Python":28}{platform.python_version()} ({sys.executable})')
    for package in PACKAGES:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = 'not installed'
        print(f'{package:28}{version}')
    print()

    failed = 0
    for name, check, cure in CHECKS:
        try:
            check()
        except Exception as error:  # whatever it is, name it and go on
            failed += 1
            reason = str(error).strip().splitlines() or ['']
            print(f'FAILED  {name}')
            print(f'        {type(error).__name__}: {reason[0]}')
            print(f'        cure: {cure}')
        else:
            print(f'ok      {name}')
    print()
    if failed:
        sys.exit(f'{failed} of {len(CHECKS)} checks failed.')
    print(f'All {len(CHECKS)} checks passed.')


if __name__ == '__main__':
    main()
