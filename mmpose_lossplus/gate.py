"""Refuse hosts that this package was not written for."""

import importlib
import importlib.util
import re
from typing import Tuple

from .version import __version__

# Modules, whoever made them: the first version, the first that is too new, and
# where to get it. mmcv's bound is MMPose's; MMPose's models import mmdet.
HOSTS = {
    'mmengine': (
        '0.10.0',
        '1.0.0',
        'pip install mmengine (onedl-mmengine for Python 3.12 and newer)',
    ),
    'mmcv': (
        '2.1.0',
        '3.0.0',
        'pip install mmcv==2.1.0 (onedl-mmcv for Python 3.12 and newer)',
    ),
    'mmdet': (
        '3.2.0',
        '4.0.0',
        'pip install mmdet (onedl-mmdetection beside onedl-mmcv)',
    ),
    'mmpose': (
        '1.3.0',
        '1.4.0',
        'pip install --no-build-isolation "mmpose>=1.3,<1.4"',
    ),
}


def check_versions() -> None:
    """Refuse hosts that this package was not written for.

    Raises:
        ImportError: If a host is missing, cannot be imported, is too old or
            too new, or if mmcv has no compiled ops, which MMPose's models
            import.
    """
    for name, (minimum, maximum, cure) in HOSTS.items():
        found = ''
        try:
            found = importlib.import_module(name).__version__
        except ModuleNotFoundError as error:
            reason = f'there is no module {error.name}'
        except Exception as error:  # mmdet asserts that it likes mmcv
            text = ' '.join(str(error).split())
            reason = f'importing it ends in {type(error).__name__}: {text}'
        else:
            reason = f'found {found}'
        if not (found and _parse(minimum) <= _parse(found) < _parse(maximum)):
            raise ImportError(
                f'mmpose_lossplus {__version__} needs {name}>={minimum},'
                f'<{maximum}, but {reason}: {cure}.'
            )
    if importlib.util.find_spec('mmcv._ext') is None:
        raise ImportError(
            'mmpose_lossplus needs mmcv with its compiled ops, because '
            'MMPose imports them, but this mmcv was installed without: '
            'MMCV_WITH_OPS=1 pip install --no-build-isolation '
            '--force-reinstall --no-deps mmcv (not mmcv-lite).'
        )


def _parse(version: str) -> Tuple[int, ...]:
    """The numbers of a version, which is all that the bounds need."""
    return tuple(map(int, re.findall(r'\d+', version)[:3]))
