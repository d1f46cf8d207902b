"""Print the versions and try what breaks in practice, each with its cure.

Exits with 1 if anything failed.
"""

import argparse
import platform
import sys
import tempfile
from functools import partial
from importlib import import_module, metadata
from pathlib import Path

PACKAGES = ('torch', 'torchvision', 'numpy', 'opencv-python', 'setuptools')
PACKAGES += ('xtcocotools', 'mmengine', 'mmcv', 'mmdet', 'mmpose')
PACKAGES += ('mmpose_lossplus',)


def check_nms(module: str) -> None:
    """Call an op that is compiled against torch."""
    import torch

    ops = import_module(module)
    ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)


def check_config() -> None:
    """Find a config of MMPose by its name."""
    from mmengine.hub import get_config

    folder = 'mmpose::body_2d_keypoint/topdown_heatmap/coco'
    get_config(f'{folder}/td-hm_res50_8xb64-210e_coco-256x192.py')


def check_checkpoint() -> None:
    """Save and load what PyTorch 2.6 and newer refuse without us."""
    import torch
    from mmengine.logging import MessageHub
    from mmengine.runner import load_checkpoint, save_checkpoint

    import_module('mmpose_lossplus')
    hub = MessageHub.get_instance('doctor')
    hub.update_scalar('loss', 1.0)
    model = torch.nn.Linear(1, 1)
    state = dict(state_dict=model.state_dict(), message_hub=hub.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, 'checkpoint.pth'))
        save_checkpoint(state, file)
        load_checkpoint(model, file)


def check_lossplus() -> None:
    """Look for what mim needs."""
    mim = Path(import_module('mmpose_lossplus').__file__).parent / '.mim'
    if not (mim / 'tools' / 'train.py').exists():
        raise FileNotFoundError(f'{mim} has no tools/train.py')


# What is checked: how, and the cure.
CHECKS = {
    'torchvision against torch': (
        partial(check_nms, 'torchvision.ops'),
        'install the torchvision that matches your torch (0.16.2 for 2.1.2)',
    ),
    'setuptools with pkg_resources': (
        partial(import_module, 'pkg_resources'),
        'pip install "setuptools<81"',
    ),
    'xtcocotools against numpy': (
        partial(import_module, 'xtcocotools._mask'),
        'pip install "numpy<2", or compile it: pip install '
        '--no-build-isolation --no-binary xtcocotools xtcocotools',
    ),
    'mmcv ops': (
        partial(check_nms, 'mmcv.ops'),
        'compile mmcv for your torch: MMCV_WITH_OPS=1 pip install '
        '--no-build-isolation --no-cache-dir --force-reinstall --no-deps '
        'mmcv==2.1.0 (mmcv-lite is not enough)',
    ),
    'mmdet against mmcv': (
        partial(import_module, 'mmdet'),
        'pip install "mmdet>=3.2,<3.4" and mmcv 2.1 (mmdet refuses 2.2)',
    ),
    'mmpose models': (
        partial(import_module, 'mmpose.models'),
        'pip install --no-build-isolation "mmpose>=1.3,<1.4"',
    ),
    'configs by mmpose::': (
        check_config,
        'pip install "setuptools<81" and a full mmpose, not a checkout',
    ),
    'saving and loading a checkpoint': (
        check_checkpoint,
        'pip install mmengine==0.10.7',
    ),
    'mmpose_lossplus and its .mim folder': (
        check_lossplus,
        'pip install --no-build-isolation --no-deps -e . in the checkout',
    ),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f'{"Python":28}{platform.python_version()} ({sys.executable})')
    for package in PACKAGES:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = 'not installed'
        print(f'{package:28}{version}')
    print()

    failed = 0
    for name, (check, cure) in CHECKS.items():
        try:
            check()
        except Exception as error:  # whatever it is, name it and go on
            failed += 1
            reason = str(error).strip().partition('\n')[0]
            print(f'FAILED  {name}')
            print(f'        {type(error).__name__}: {reason}')
            print(f'        cure: {cure}')
        else:
            print(f'ok      {name}')
    print()
    if failed:
        sys.exit(f'{failed} of {len(CHECKS)} checks failed.')
    print(f'All {len(CHECKS)} checks passed.')


if __name__ == '__main__':
    main()
