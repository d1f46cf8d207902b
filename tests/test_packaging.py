"""Every kind of install gives mim its folder."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from .factories import ROOT

PIP = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
WANTED = [
    'configs/_base_/lossplus.py',
    'configs/amse/td-hm_res50_amse-4xb32-140e_coco-256x192.py',
    'configs/amse/metafile.yml',
    'model-index.yml',
    'tools/_tables.py',
    'tools/reproduce.py',
    'tools/train.py',
    'tools/test.py',
    'tools/_mmpose.py',
    'tools/dataset_converters/demo_data/person_keypoints.json',
]

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project, so that nothing is built in place."""
    copy = tmp_path / 'checkout'
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(
            '.git',
            '.venv*',
            '.mim',
            'build',
            'data',
            'work_dirs',
            '*.egg-info',
        ),
    )
    return copy


def run(*command, **kwargs):
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **kwargs,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


@pytest.fixture(params=['pip install .', 'pip install -e .', 'wheel'])
def installed(request, checkout, tmp_path):
    """Folder to put on the path after each kind of install."""
    options = ['--no-deps', '--no-build-isolation']
    if request.param == 'pip install -e .':
        # Into a prefix of its own, to leave this environment alone.
        prefix = tmp_path / 'prefix'
        options += ['--ignore-installed', '--prefix', prefix]
        run(*PIP, 'install', *options, '-e', checkout)
        return checkout
    target = tmp_path / 'target'
    source = checkout
    if request.param == 'wheel':
        run(*PIP, 'wheel', *options, '-w', tmp_path, checkout)
        (source,) = tmp_path.glob('*.whl')
    run(*PIP, 'install', *options, '--target', target, source)
    return target


def test_mim_folder_works(installed, tmp_path):
    mim = installed / 'mmpose_lossplus' / '.mim'
    for file in WANTED:
        assert (mim / file).is_file(), file
    # Its train script runs, from anywhere, with this install imported.
    output = run(
        sys.executable,
        mim / 'tools' / 'train.py',
        '--help',
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed)},
    )
    assert 'train config file path' in output


def test_source_distribution_is_complete(checkout, tmp_path):
    run(
        sys.executable, 'setup.py', '-q', 'sdist', '-d', tmp_path, cwd=checkout
    )
    (archive,) = tmp_path.glob('*.tar.gz')
    shutil.unpack_archive(archive, tmp_path / 'unpacked')
    (source,) = (tmp_path / 'unpacked').iterdir()
    run(
        *PIP,
        'wheel',
        '--no-deps',
        '--no-build-isolation',
        '-w',
        tmp_path,
        source,
    )
    (wheel,) = tmp_path.glob('*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    for file in WANTED:
        assert f'mmpose_lossplus/.mim/{file}' in names


@pytest.fixture(scope='module')
def mim(tmp_path_factory):
    """openmim in a folder of its own: it pins what this one must not have."""
    target = tmp_path_factory.mktemp('mim')
    packages = ['openmim==0.3.9', 'click', 'colorama', 'model-index']
    packages += ['opendatalab', 'pandas<2.3', 'tabulate', 'ordered-set']
    packages += ['markdown', 'pytz', 'tzdata', 'pycryptodome', 'openxlab']
    packages += ['requests', 'certifi', 'charset-normalizer', 'idna']
    packages += ['urllib3']
    run(*PIP, 'install', '--no-deps', '--target', target, *packages)
    return target


@pytest.mark.parametrize('package', ['mmpose_lossplus', 'mmpose'])
def test_mim_train(package, mim, checkout, coco_data, tmp_path):
    """mim finds our configs by name, and MMPose's script our components."""
    options = ['--no-deps', '--no-build-isolation', '--target']
    run(*PIP, 'install', *options, tmp_path / 'target', checkout)
    config = 'td-hm_res50_amse-4xb32-140e_coco-256x192.py'
    if package == 'mmpose':
        config = checkout / 'configs' / 'amse' / config
    loader = 'train_dataloader'
    run(
        sys.executable,
        *('-m', 'mim', 'train', package, config, '--gpus', '0'),
        *('--work-dir', tmp_path / 'work', '--no-validate', '--cfg-options'),
        f'{loader}.dataset.data_root={coco_data}',
        f'{loader}.batch_size=2',
        f'{loader}.num_workers=0',
        f'{loader}.persistent_workers=False',
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1',
        'model.backbone.init_cfg=None',
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': f'{mim}:{tmp_path / "target"}'},
    )
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()


def test_mim_search(mim, checkout, tmp_path):
    """mim lists the configs of the metafiles and reads what they are."""
    options = ['--no-deps', '--no-build-isolation', '--target']
    run(*PIP, 'install', *options, tmp_path / 'target', checkout)
    env = {**os.environ, 'PYTHONPATH': f'{mim}:{tmp_path / "target"}'}
    search = [sys.executable, '-m', 'mim', 'search', 'mmpose_lossplus']
    listed = run(*search, '--valid-config', cwd=tmp_path, env=env)
    for path in (ROOT / 'configs').glob('*/td-hm*.py'):
        of_a_paper = path.parent.name not in ('compare', 'demo')
        assert (path.stem in listed) == of_a_paper
    name = 'td-hm_hourglass8_anchor-1xb6-200e_lsp-ms6-256x256'
    shown = run(*search, '--config', name, cwd=tmp_path, env=env)
    for fact in ('anchorloss', 'lsp', 'stackedhourglass'):  # as mim prints
        assert fact in shown
