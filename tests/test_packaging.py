"""What an install has, what it leaves alone, and the lines of its docs."""

import os
import re
import shlex
import shutil
import sys
import tarfile
import venv
from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .factories import (
    CLASSIFICATION,
    CONFIGS,
    ROOT,
    blocks,
    call,
    needs_mmpretrain,
)

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


# Distributions of the modules mmengine, mmcv and mmdet.
STACKS = dict(
    onedl=['onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection'],
    openmmlab=['mmengine', 'mmcv', 'mmdet'],
)
PYPROJECT = (ROOT / 'pyproject.toml').read_text(encoding='utf-8')
DOCS = 'install.md'


def test_imports_need_no_tricks():
    """Modules are imported by their names, which are not private."""
    for folder in ('mmpose_lossplus', 'tools'):
        for path in (ROOT / folder).glob('**/*.py'):
            assert 'sys.path' not in path.read_text(encoding='utf-8'), path
            assert path.stem == '__init__' or path.stem[0] != '_', path


def test_import_needs_the_hosts_alone():
    """Not even what only an extra brings."""
    extras = 'filelock', 'pandas', 'tabulate', 'onnx', 'onnxruntime'
    extras += ('mmpretrain',)
    hide = f'import sys; sys.modules.update(dict.fromkeys({extras}))'
    command = f'{hide}; import mmpose.models, mmpose_lossplus'
    call(sys.executable, '-c', command, cwd=ROOT)


@needs_mmpretrain
def test_import_does_not_wait_for_mmpretrain():
    code = (
        'import mmpose_lossplus, sys; assert "mmpretrain" not in sys.modules'
    )
    call(sys.executable, '-c', code, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tool', 'missing', 'extra'),
    [
        ('compare_losses', 'pandas', 'tools'),
        ('reproduce', 'tabulate', 'tools'),
        ('deployment/export_onnx', 'onnx', 'export'),
    ],
)
def test_a_missing_extra_is_named(tool, missing, extra):
    code = f'import sys, runpy; sys.modules["{missing}"] = None; '
    code += f'runpy.run_path("tools/{tool}.py", run_name="__main__")'
    command = [sys.executable, '-W', 'ignore', '-c', code]
    result = call(*command, cwd=ROOT, check=False)
    assert result.returncode == 1
    assert f'"mmpose_lossplus[{extra}]"' in result.stdout
    assert 'Traceback' not in result.stdout


def copy_checkout(folder):
    """A copy of the project, so that nothing is built in place."""
    ignored = ('.git', '.venv*', '.mim', 'build', 'data', 'work_dirs')
    ignore = shutil.ignore_patterns(*ignored, '*.egg-info', 'dist')
    return shutil.copytree(ROOT, folder / 'checkout', ignore=ignore)


@pytest.fixture
def checkout(tmp_path):
    return copy_checkout(tmp_path)


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
    assert (mim.parent / 'py.typed').is_file()
    # Its train script runs, from anywhere, with this install imported.
    command = [sys.executable, mim / 'tools' / 'train.py', '--help']
    env = {**os.environ, 'PYTHONPATH': str(installed)}
    output = call(*command, cwd=tmp_path, env=env).stdout
    assert 'train config file path' in output


@pytest.mark.slow
def test_sdist_is_the_project(checkout, tmp_path):
    """With what its users, its packagers and its citers look for."""
    call(
        sys.executable, 'setup.py', '-q', 'sdist', '-d', tmp_path, cwd=checkout
    )
    (path,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(path) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    for file in (
        'CHANGELOG.md',
        'CITATION.cff',
        'CONTRIBUTING.md',
        'LICENSE',
        'Makefile',
        'README_zh-CN.md',
        'docs/install.md',
        'mmpose_lossplus/py.typed',
        'tests/factories.py',
    ):
        assert file in names


@pytest.mark.slow
def test_builds_without_wheel(checkout, tmp_path):
    """Without build isolation, the setuptools of pyproject.toml is enough."""
    (needed,) = re.findall('requires = .*>=(.*)"]', PYPROJECT)
    venv.create(tmp_path / 'venv')
    pip = [*PIP, '--python', tmp_path / 'venv']
    call(*pip, 'install', f'setuptools=={needed}')
    call(*pip, 'install', '--no-build-isolation', checkout)
    (mim,) = tmp_path.glob('venv/lib/*/site-packages/mmpose_lossplus/.mim')
    assert (mim / 'tools' / 'infer.py').exists()
    # They write into the checkout that they lie in.
    assert not list(mim.rglob('setup_venv.py'))
    assert not list(mim.rglob('render_tables.py'))


def needed_by(names, path):
    """Distributions on a path that some need, themselves included."""
    installed = {}
    for found in distributions(path=path):  # the first counts
        name = canonicalize_name(found.metadata['Name'])
        installed.setdefault(name, found)
    needed, todo = {}, [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name not in installed or name in needed and not wanted.extras:
            continue
        needed[name] = installed[name]
        for text in installed[name].requires or ():
            more = Requirement(text)
            extras = ['', *wanted.extras]
            if not more.marker or any(
                more.marker.evaluate(dict(extra=extra)) for extra in extras
            ):
                todo.append(more)
    return needed


class Environment:
    """Has what this one has of the hosts, as far as pip can tell.

    pip knows a distribution by its metadata, which is a few kilobytes; modules
    of hosts are those of the environment that runs the tests.
    """

    def __init__(self, folder):
        self.folder, self.checkout = folder / 'venv', copy_checkout(folder)
        self.copied = []
        venv.create(self.folder)
        (self.site,) = self.folder.glob('lib/python*/site-packages')
        for stack, hosts in STACKS.items():
            names = [*hosts, 'mmpose', 'torchvision', 'pip', 'setuptools']
            found = needed_by(names, sys.path)
            if set(names) <= set(found):
                self.stack = stack
                for one in found.values():
                    copy = self.site / one._path.name
                    self.copied.append(shutil.copytree(one._path, copy))

    def run(self, lines, cwd):
        """Run lines of the docs: the text that they print."""
        python = f'PYTHONPATH={self.site} {sys.executable}'
        pip = f'{sys.executable} -m pip --disable-pip-version-check'
        commands = f"""
            set -e
            python() {{ {python} "$@"; }}
            pip() {{ {pip} --python {self.folder} "$@"; }}
            mim() {{ {python} -m mim "$@"; }}
        """
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        lines = lines.replace('onedl.txt', f'{self.stack}.txt')
        return call('bash', '-c', commands + lines, cwd=cwd, env=env).stdout

    def freeze(self):
        text = self.run('pip list --format=freeze', self.folder)
        return dict(re.findall('^(.+)==(.+)$', text, re.MULTILINE))

    def install(self, pins):
        """Run all lines that install; note what pip freezes around each."""
        (wheel,) = blocks(DOCS, 'shell', 'Beside an MMPose of your own')
        *all_pins, extras = blocks(DOCS, 'shell', 'Extras and mim')
        build, install = wheel.splitlines()
        self.run(build, self.checkout)
        steps, before = [], self.freeze()
        for line in (install, *extras.splitlines()):
            self.run(all_pins[pins] + line, self.checkout)
            after = self.freeze()
            steps.append((line, before, after))
            before = after
        # MMEngine looks for hosts where their metadata is; and the docs say
        # that the checkout may go.
        for folder in (*self.copied, self.checkout):
            shutil.rmtree(folder)
        return steps


@pytest.fixture(scope='module')
def wheel_user(tmp_path_factory):
    """Has installed all by the docs, with the constraint file of a stack."""
    environment = Environment(tmp_path_factory.mktemp('wheel_user'))
    environment.steps = environment.install(pins=0)
    return environment


@pytest.mark.slow
@pytest.mark.parametrize('pins', ['of a stack', 'of what is there'])
def test_docs_install_only_what_they_say(pins, wheel_user, tmp_path):
    environment, steps = wheel_user, wheel_user.steps
    if pins == 'of what is there':
        environment = Environment(tmp_path)
        steps = environment.install(pins=1)
    added = set()
    for line, before, after in steps:
        assert before.items() <= after.items(), line
        new = set(map(canonicalize_name, set(after) - set(before)))
        if 'dist/' in line:
            assert new == {'mmpose-lossplus'}
        else:
            asked = line.replace('"', '').split()[4:]  # after -c FILE
            assert new <= set(needed_by(asked, [str(environment.site)]))
        added |= new
    assert {'mmpose-lossplus', 'onnxruntime', 'pandas', 'openmim'} <= added
    assert not added & set(sum(STACKS.values(), []))  # no other host


def files(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


@pytest.mark.slow
def test_tools_of_a_wheel(wheel_user, tmp_path):
    """The lines of the docs write into the working directory alone."""
    before = files(wheel_user.site)
    (lines,) = blocks(DOCS, 'shell', 'The tools, without a checkout')
    text = wheel_user.run(lines, tmp_path)
    assert files(wheel_user.site) == before
    for name in (
        'work_dirs/demo_amse/held_out.png',
        'work_dirs/demo_amse/epoch_1.pth',
    ):
        assert str(tmp_path / name) in text
        assert (tmp_path / name).exists()
    assert (tmp_path / 'work_dirs/infer/predictions.json').exists()
    assert (tmp_path / 'model.onnx').exists()
    assert list(tmp_path.glob('work_dirs/compare/*/report.md'))
    assert f'{wheel_user.site}/mmpose_lossplus/.mim/configs/amse' in text


@pytest.mark.slow
def test_config_of_a_wheel_is_inherited(wheel_user, tmp_path):
    """By MMEngine alone, before anything imports this package."""
    (text,) = blocks(DOCS, 'python', 'Inherit a config of this package')
    (tmp_path / 'mine.py').write_text(text)
    code = 'from mmengine.config import Config; '
    code += 'print(Config.fromfile("mine.py").model.head.loss)'
    shown = wheel_user.run(f"python -c '{code}'", tmp_path)
    assert "'type': 'AsymmetricMSELoss'" in shown
    assert "'beta': 0.1" in shown


@pytest.mark.slow
@pytest.mark.parametrize('package', ['mmpose_lossplus', 'mmpose'])
def test_mim_train(package, wheel_user, coco_data, tmp_path):
    """mim finds our configs by name, and MMPose's script our components."""
    config = 'td-hm_res50_amse-4xb32-140e_coco-256x192.py'
    if package == 'mmpose':
        mim = wheel_user.site / 'mmpose_lossplus' / '.mim'
        config = mim / 'configs' / 'amse' / config
    command = [
        *('mim', 'train', package, str(config), '--gpus', '0'),
        *('--no-validate', '--work-dir', 'work', '--cfg-options'),
        f'train_dataloader.dataset.data_root={coco_data}',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1',
        'model.backbone.init_cfg=None',
    ]
    wheel_user.run(shlex.join(command), tmp_path)
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()


@pytest.mark.slow
def test_mim_search(wheel_user, tmp_path):
    """mim lists the configs of the metafiles and reads what they are."""
    search = 'mim search mmpose_lossplus'
    listed = wheel_user.run(f'{search} --valid-config', tmp_path)
    for path in (*CONFIGS, *CLASSIFICATION):
        of_a_paper = path.parent.name not in ('compare', 'demo')
        assert (path.stem in listed) == of_a_paper
    name = 'td-hm_hourglass8_anchor-1xb6-200e_lsp-ms6-256x256'
    shown = wheel_user.run(f'{search} --config {name}', tmp_path)
    for fact in ('anchorloss', 'lsp', 'stackedhourglass'):  # as mim prints
        assert fact in shown
