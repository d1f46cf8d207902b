"""Every kind of install gives mim its folder; imports are plain ones."""

import os
import shutil
import sys

import pytest

from .factories import CONFIGS, ROOT, call

PIP = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
LOCAL = ['--no-deps', '--no-build-isolation']
WANTED = [
    'configs/_base_/lossplus.py',
    'configs/amse/td-hm_res50_amse-4xb32-140e_coco-256x192.py',
    'configs/amse/metafile.yml',
    'model-index.yml',
    'tools/reproduce.py',
    'tools/train.py',
    'tools/test.py',
    'tools/dataset_converters/demo_data/person_keypoints.json',
]


def test_imports_need_no_tricks():
    """Modules are imported by their names, which are not private."""
    for folder in ('mmpose_lossplus', 'tools'):
        for path in (ROOT / folder).glob('**/*.py'):
            assert 'sys.path' not in path.read_text(encoding='utf-8'), path
            assert path.stem == '__init__' or path.stem[0] != '_', path


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project, so that nothing is built in place."""
    ignored = ('.git', '.venv*', '.mim', 'build', 'data', 'work_dirs')
    ignore = shutil.ignore_patterns(*ignored, '*.egg-info')
    return shutil.copytree(ROOT, tmp_path / 'checkout', ignore=ignore)


@pytest.fixture(params=['pip install .', 'pip install -e .', 'sdist'])
def installed(request, checkout, tmp_path):
    """Folder to put on the path after each kind of install."""
    if request.param == 'pip install -e .':
        # Into a prefix of its own, to leave this environment alone.
        options = ['--ignore-installed', '--prefix', tmp_path / 'prefix']
        call(*PIP, 'install', *LOCAL, *options, '-e', checkout)
        return checkout
    source, target = checkout, tmp_path / 'target'
    if request.param == 'sdist':  # and a wheel of it
        command = [sys.executable, 'setup.py', '-q', 'sdist', '-d', tmp_path]
        call(*command, cwd=checkout)
        (archive,) = tmp_path.glob('*.tar.gz')
        call(*PIP, 'wheel', *LOCAL, '-w', tmp_path, archive)
        (source,) = tmp_path.glob('*.whl')
    call(*PIP, 'install', *LOCAL, '--target', target, source)
    return target


@pytest.mark.slow
def test_mim_folder_works(installed, tmp_path):
    mim = installed / 'mmpose_lossplus' / '.mim'
    for file in WANTED:
        assert (mim / file).is_file(), file
    # Its train script runs, from anywhere, with this install imported.
    command = [sys.executable, mim / 'tools' / 'train.py', '--help']
    env = {**os.environ, 'PYTHONPATH': str(installed)}
    output = call(*command, cwd=tmp_path, env=env).stdout
    assert 'train config file path' in output


@pytest.fixture(scope='module')
def openmim(tmp_path_factory):
    """openmim in a folder of its own: it pins what this one must not have."""
    target = tmp_path_factory.mktemp('mim')
    packages = ['openmim==0.3.9', 'click', 'colorama', 'model-index']
    packages += ['opendatalab', 'pandas<2.3', 'tabulate', 'ordered-set']
    packages += ['markdown', 'pytz', 'tzdata', 'pycryptodome', 'openxlab']
    packages += ['requests', 'certifi', 'charset-normalizer', 'idna']
    packages += ['urllib3']
    call(*PIP, 'install', '--no-deps', '--target', target, *packages)
    return target


@pytest.fixture
def mim(openmim, checkout, tmp_path):
    """Run mim beside an installed project."""
    target = tmp_path / 'target'
    call(*PIP, 'install', *LOCAL, '--target', target, checkout)
    env = {**os.environ, 'PYTHONPATH': f'{openmim}:{target}'}

    def run_mim(*args):
        command = (sys.executable, '-m', 'mim', *args)
        return call(*command, cwd=tmp_path, env=env).stdout

    return run_mim


@pytest.mark.slow
@pytest.mark.parametrize('package', ['mmpose_lossplus', 'mmpose'])
def test_mim_train(package, mim, checkout, coco_data, tmp_path):
    """mim finds our configs by name, and MMPose's script our components."""
    config = 'td-hm_res50_amse-4xb32-140e_coco-256x192.py'
    if package == 'mmpose':
        config = checkout / 'configs' / 'amse' / config
    mim(
        *('train', package, config, '--gpus', '0', '--no-validate'),
        *('--work-dir', tmp_path / 'work', '--cfg-options'),
        f'train_dataloader.dataset.data_root={coco_data}',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1',
        'model.backbone.init_cfg=None',
    )
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()


@pytest.mark.slow
def test_mim_search(mim):
    """mim lists the configs of the metafiles and reads what they are."""
    listed = mim('search', 'mmpose_lossplus', '--valid-config')
    for path in CONFIGS:
        of_a_paper = path.parent.name not in ('compare', 'demo')
        assert (path.stem in listed) == of_a_paper
    name = 'td-hm_hourglass8_anchor-1xb6-200e_lsp-ms6-256x256'
    shown = mim('search', 'mmpose_lossplus', '--config', name)
    for fact in ('anchorloss', 'lsp', 'stackedhourglass'):  # as mim prints
        assert fact in shown
