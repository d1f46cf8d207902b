import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM = ('configs', 'tools', 'requirements', 'model-index.yml')
# What only a checkout can do: these write into it.
LEFT_OUT = ('__pycache__', 'render_tables.py', 'setup_venv.py')


class BuildPyWithMim(build_py):
    """Put what mim looks for into ``.mim`` beside the modules.

    ``pip install .`` and wheels get copies, ``pip install -e .`` gets links.
    """

    editable_mode = False

    def run(self) -> None:
        super().run()
        place = ROOT if self.editable_mode else self.build_lib
        mim = Path(place, 'mmpose_lossplus', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in MIM:
            source, target = ROOT / name, mim / name
            if self.editable_mode:
                try:
                    target.symlink_to(Path('..', '..', name), source.is_dir())
                    continue
                except OSError:
                    pass  # Windows without the right to make links
            if source.is_dir():
                ignore = shutil.ignore_patterns(*LEFT_OUT)
                shutil.copytree(source, target, ignore=ignore)
            else:
                shutil.copy(source, target)


version = {}
exec((ROOT / 'mmpose_lossplus' / 'version.py').read_text('utf-8'), version)

setup(
    name='mmpose_lossplus',
    version=version['__version__'],
    description='Heatmap losses and a light head of four papers, for MMPose',
    long_description=(ROOT / 'README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmpose_lossplus*']),
    package_data=dict(mmpose_lossplus=['py.typed']),
    python_requires='>=3.9',
    # None: pip would put OpenMMLab's packages over a fork's, whose modules are
    # the same. gate.py says in one sentence what is missing.
    install_requires=[],
    # What a newer one needs would replace the NumPy 1 of an environment, also
    # that of ml_dtypes, which onnx needs without a bound.
    extras_require=dict(
        export=[
            'onnx>=1.15,<1.21',
            'onnxruntime>=1.17,<1.27',
            'ml_dtypes<0.6',
        ],
        # OneDL's is for what OpenMMLab's other packages do not fit.
        classification=[
            "mmpretrain>=1.2,<2; python_version < '3.12'",
            "onedl-mmpretrain>=1.3,<2; python_version >= '3.12'",
        ],
        tools=['filelock', 'pandas>=2.1,<3', 'tabulate'],
        tests=[
            'hypothesis',
            'mypy',
            'pytest',
            'pytest-cov',
            'pytest-xdist',
            'ruff',
            'scikit-learn',  # for its digits
        ],
    ),
    cmdclass=dict(build_py=BuildPyWithMim),
    zip_safe=False,
)
