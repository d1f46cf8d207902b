import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

ROOT = Path(__file__).parent
MIM_FOLDERS = ('configs', 'tools')
MIM_INDEX = 'model-index.yml'


def link_mim() -> None:
    """Point the checkout's ``.mim`` at its own configs and tools."""
    mim = ROOT / 'mmpose_lossplus' / '.mim'
    shutil.rmtree(mim, ignore_errors=True)
    mim.mkdir()
    for name in (*MIM_FOLDERS, MIM_INDEX):
        try:
            os.symlink(
                Path('..', '..', name),
                mim / name,
                target_is_directory=name in MIM_FOLDERS,
            )
        except OSError:  # Windows without the right to make links
            copy = shutil.copytree if name in MIM_FOLDERS else shutil.copy
            copy(ROOT / name, mim / name)


class BuildPyWithMim(build_py):
    """Put what mim looks for beside the modules.

    ``pip install .`` and wheels get copies, ``pip install -e .`` gets links.
    """

    editable_mode = False

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            link_mim()
            return
        mim = Path(self.build_lib, 'mmpose_lossplus', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        for folder in MIM_FOLDERS:
            shutil.copytree(
                ROOT / folder,
                mim / folder,
                ignore=shutil.ignore_patterns('__pycache__'),
            )
        shutil.copy(ROOT / MIM_INDEX, mim)


class DevelopWithMim(develop):
    """The same for ``python setup.py develop``."""

    def run(self) -> None:
        super().run()
        link_mim()


version = {}
exec((ROOT / 'mmpose_lossplus' / 'version.py').read_text(), version)

setup(
    name='mmpose_lossplus',
    version=version['__version__'],
    description='Heatmap losses and a light head of four papers, for MMPose',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmpose_lossplus*']),
    python_requires='>=3.8',
    install_requires=[
        'mmengine>=0.10.0,<1.0.0',
        'mmcv>=2.1.0,<2.2.0',
        'mmpose>=1.3.0,<1.4.0',
        # MMEngine finds `mmpose::` configs with pkg_resources.
        'setuptools<82',
    ],
    extras_require=dict(
        detect=['mmdet>=3.2.0,<3.4.0'],
        export=['onnx', 'onnxruntime'],
        tools=['filelock', 'pandas>=2.1', 'tabulate'],
    ),
    cmdclass=dict(build_py=BuildPyWithMim, develop=DevelopWithMim),
    zip_safe=False,
)
