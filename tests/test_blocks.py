"""Every block of code in the pages is run, or parsed, or marked why not.

Marked is a block right below a line ``<!-- not run: REASON -->``, which no
reader sees. Of the others, Python is executed, as a config or as a program;
shell is interpreted by bash, and what it would call is told to the parser of
what it calls, and run where that takes seconds.
"""

import argparse
import ast
import contextlib
import inspect
import io
import json
import os
import re
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Optional

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.registry import MODELS
from packaging.requirements import InvalidRequirement, Requirement

from mmpose_lossplus.experiments.configs import move_data
from mmpose_lossplus.experiments.losses import parse_losses

from .factories import (
    LOADERS,
    ROOT,
    call,
    fork_tool,
    load,
    pages,
    tiny,
    write_noise,
)

FENCE = re.compile(
    r'^(?:<!-- not run: ([^>\n]+) -->\n)?^ *```(\S*)\n(.*?)^ *```$',
    re.M | re.S,
)
# What is no code of ours; the rest are MyST's {directives}.
OTHER = ('bibtex', 'text')
# Pages, or some of their sections, that another test runs as they are printed.
ELSEWHERE = {
    'docs/add_a_loss.md': ('test_new_loss.py', ['']),
    'docs/own_data.md': ('test_own_data.py', ['']),
    'docs/install.md': (
        'test_packaging.py',
        [
            'Beside an MMPose of your own',
            'Extras and mim',
            'The tools, without a checkout',
            'Inherit a config of this package',
        ],
    ),
}
# What fragments of a config change.
BASE = ROOT / 'configs/compare/td-hm_res18-dwattn_1xb16-20e_demo-128x96.py'
EXTRAS = set(
    re.findall(r'^        (\w+)=\[', (ROOT / 'setup.py').read_text(), re.M)
)
# What a reader fills in, and is in the folder that blocks are run in.
FILLED_IN = {
    'CONFIG': 'config.py',
    'PATH/TO/CONFIG.py': 'config.py',
    'POSE_CONFIG': 'config.py',
    'CHECKPOINT': 'weights.pth',
    'POSE_CHECKPOINT': 'weights.pth',
    'INPUT': 'person.jpg',
    **dict(X='20', Y='25', W='80', H='140'),
}
PARSE_BY_PIP = """
import sys
from pip._internal.commands import create_command

_, command, *args = sys.argv
create_command(command).parse_args(args)
"""
RUNNER = inspect.signature(Runner.__init__).parameters
# Tools that need no more than that, and take seconds.
QUICK = (
    'check_data',
    'diagnose',
    'export_onnx',
    'reproduce',
    'run_onnx',
    'test',
    'visualize_penalty',
)
# Each program that bash does not find is one that a test may know.
RECORD = r"""
set -eu
PATH=/nowhere
command_not_found_handle() {
    if [ "$1 ${2-}" = 'python -c' ]; then
        "$PYTHON" "${@:2}"
    else
        printf '%s\0' "$#" "$@" >> "$CALLS"
    fi
}
"""


class Block(NamedTuple):
    page: str
    line: int
    section: str
    reason: Optional[str]
    language: str
    code: str

    def __str__(self):
        return f'{self.page}:{self.line}'

    @property
    def is_run_elsewhere(self):
        _, sections = ELSEWHERE.get(self.page, ('', ()))
        listed = '' in sections or self.section in sections
        return listed and not self.reason


def find_blocks():
    for path in pages():
        text = path.read_text(encoding='utf-8')
        page = path.relative_to(ROOT).as_posix()
        for match in FENCE.finditer(text):
            before = text[: match.start(3)]
            sections = re.findall('^## (.*)', before, re.MULTILINE)
            section = sections[-1] if sections else ''
            yield Block(page, before.count('\n'), section, *match.groups())


ALL = list(find_blocks())
BLOCKS = [b for b in ALL if b.language in ('shell', 'python')]
CHECKED = [b for b in BLOCKS if not (b.reason or b.is_run_elsewhere)]
SHELL = [block for block in CHECKED if block.language == 'shell']
PYTHON = [block for block in CHECKED if block.language == 'python']


def commands(block, folder):
    """Argument lists of what a block calls, as bash understands it."""
    calls = Path(folder, 'calls')
    calls.write_text('')
    env = dict(
        os.environ,
        PYTHON=sys.executable,
        CALLS=str(calls),
        # That pages set elsewhere.
        PINS=str(ROOT / 'requirements/onedl.txt'),
    )
    call('bash', '-c', RECORD + block.code, cwd=folder, env=env)
    words = iter(calls.read_text('utf-8').split('\0')[:-1])
    return [[next(words) for _ in range(int(count))] for count in words]


class Parsed(BaseException):
    """Stops a script once its arguments are parsed."""


def parse(script, args):
    """Let a script parse its arguments: what it makes of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [str(script), *args])
        for name in ('parse_args', 'parse_intermixed_args'):
            method = getattr(argparse.ArgumentParser, name)

            def stop(parser, *args, method=method):
                raise Parsed(method(parser, *args))

            patch.setattr(argparse.ArgumentParser, name, stop)
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                runpy.run_path(str(script), run_name='__main__')
        except Parsed as parsed:
            return parsed.args[0]
        except SystemExit:
            pytest.fail(errors.getvalue())
    pytest.fail(f'{script} has no parser')


def find_tool(name, package='mmpose_lossplus'):
    """A script by its path in the checkout, or as mim finds it."""
    if (ROOT / name).suffix == '.py' and (ROOT / name).is_file():
        return ROOT / name
    folder = ROOT / 'tools'
    if package != 'mmpose_lossplus':
        folder = Path(find_spec(package).origin).parent / '.mim/tools'
    (path,) = folder.rglob(f'{Path(name).stem}.py')
    return path


def check_tool(script, args):
    """Parse what a tool is told, and look at what no parser knows."""
    for arg in args:
        if arg.startswith(('configs/', 'projects/', 'tools/')):
            assert Path(ROOT, arg).exists(), arg
    told = vars(parse(script, args))
    parse_losses(told.get('losses') or [])
    options = told.get('cfg_options')
    # Some are of a config that an earlier command writes.
    if options and Path(told['config']).is_file():
        cfg = Config.fromfile(told['config'])
        for option in options:
            check_key(cfg, option.partition('=')[0])


def check_key(cfg, key):
    """What an option changes is there, but for its last part."""
    *parents, _ = key.split('.')
    for parent in parents:
        if parent in RUNNER and parent not in cfg:
            return
        cfg = cfg[int(parent)] if isinstance(cfg, list) else cfg[parent]


def check_make(args):
    """Targets and variables are the Makefile's."""
    variables = [x.partition('=')[0] for x in args if '=' in x]
    text = (ROOT / 'Makefile').read_text('utf-8')
    for name in variables:
        assert re.search(rf'^{name} [?:]=', text, re.MULTILINE), name
    call('make', '--dry-run', '--no-print-directory', *args, cwd=ROOT)


def check_pip(command, args):
    """Options are pip's, extras are ours."""
    # In a process of its own: pip undoes what setuptools does to distutils.
    call(sys.executable, '-c', PARSE_BY_PIP, command, *args)
    for name in args:
        with contextlib.suppress(InvalidRequirement):  # a file
            wanted = Requirement(name)
            if wanted.name == 'mmpose_lossplus':
                assert wanted.extras <= EXTRAS, name


def check_mim(command, package, name, *args):
    """A tool by its name, or MMPose's script with a config by its name."""
    if command == 'run':
        return check_tool(find_tool(name, package), args)
    assert command == 'train', command
    args = list(args)
    if '--gpus' in args:  # of mim itself
        at = args.index('--gpus')
        del args[at : at + 2]
    if package == 'mmpose_lossplus':
        (name,) = map(str, (ROOT / 'configs').rglob(name))
    check_tool(ROOT / 'tools/train.py', [name, *args])


def check_command(program, *args):
    args = [FILLED_IN.get(arg, arg) for arg in args]
    if program == 'make':
        check_make(args)
    elif program == 'mim':
        check_mim(*args)
    elif program == 'pip':
        check_pip(args[0], args[1:])
    elif (program, *args[:2]) == ('python', '-m', 'pytest'):
        assert Path(ROOT, args[2]).exists(), args
    elif program == 'python':
        check_tool(find_tool(args[0]), args[1:])
    else:
        pytest.fail(f'Mark the block: no test knows the program {program}.')


def is_quick(program, name='', *args):
    """Whether a command can be run in :func:`folder`."""
    tool = Path(name).stem
    return (
        program == 'python'
        and tool in QUICK
        # A detector, or what earlier commands have written.
        and not any(arg.startswith(('DET_', 'work_dirs/')) for arg in args)
        and '--int8' not in args  # more pictures
        and (tool != 'reproduce' or not {'list', '--dry-run'}.isdisjoint(args))
    )


@pytest.fixture
def folder(coco_data, tmp_path, monkeypatch):
    """A reader's: the checkout, and data, a model and a picture of theirs."""
    monkeypatch.chdir(tmp_path)
    for name in ('configs', 'docs', 'projects', 'tools'):
        Path(name).symlink_to(ROOT / name)
    root = Path('data/coco')
    shutil.copytree(coco_data, root)
    shutil.copy(
        root / 'person_detection_results/COCO_val2017_detections_AP_H_56'
        '_person.json',
        root / 'person_detection_results/my_boxes.json',
    )
    cfg = load(BASE)
    cfg.merge_from_dict(move_data(cfg, tiny(root, 1, LOADERS)))
    cfg.model.backbone.init_cfg = None
    cfg.dump('config.py')
    weights = dict(state_dict=MODELS.build(cfg.model).state_dict())
    for name in ('weights.pth', 'theirs.pth'):
        torch.save(weights, name)
    write_noise(Path('person.jpg'), 160, 200)
    box = dict(bbox=[20, 25, 80, 140], score=0.9, category_id=1)
    Path('boxes.json').write_text(
        json.dumps([dict(box, image_id=1, file_name='person.jpg')])
    )
    return tmp_path


def is_config(code):
    """Whether it is assignments alone."""
    return all(isinstance(x, ast.Assign) for x in ast.parse(code).body)


def check_config(code, folder):
    """Build all of a config, or of a fragment of one, alone in a folder."""
    if not re.search('^_base_ = ', code, re.MULTILINE):
        code = f'_base_ = {str(BASE)!r}\n{code}'
    base = re.search(r'^_base_ = (\([^)]*\)|.*)', code, re.M)[0]
    folder.mkdir()
    for name, text in (('base.py', base), ('config.py', code)):
        (folder / name).write_text(text, encoding='utf-8')
    base, cfg = (
        Config.fromfile(folder / name) for name in ('base.py', 'config.py')
    )
    names = [x for x in ast.walk(ast.parse(code)) if isinstance(x, ast.Name)]
    read = {x.id for x in names if isinstance(x.ctx, ast.Load)}
    known = {*base, *RUNNER, *read, '_base_', 'custom_imports'}
    assert {x.id for x in names} <= known, 'nothing reads what is set'
    cfg.work_dir = str(folder)
    cfg.experiment_name = folder.name
    runner = Runner.from_cfg(cfg)
    for name in ('val_evaluator', 'test_evaluator'):
        if cfg[name] != base[name]:
            runner.build_evaluator(cfg[name])


def test_each_block_can_be_checked():
    """It has one of two languages, and each marker is of one."""
    for block in ALL:
        known = block.language in ('shell', 'python', *OTHER)
        directive = block.language.startswith('{')
        assert known or directive, f'{block} is {block.language!r}'
    text = ''.join(path.read_text('utf-8') for path in pages())
    marked = [block for block in ALL if block.reason]
    markers = re.findall('^ *<!-- not run', text, re.MULTILINE)
    assert len(markers) == len(marked)
    assert set(marked) <= set(BLOCKS)


def test_blocks_are_counted(tmp_path, record_property):
    """How many are run, here or elsewhere, parsed, and marked."""
    run = PYTHON + [block for block in BLOCKS if block.is_run_elsewhere]
    for block in SHELL:
        if all(is_quick(*argv) for argv in commands(block, tmp_path)):
            run.append(block)
    marked = sum(bool(block.reason) for block in BLOCKS)
    counts = dict(run=len(run), marked=marked)
    counts['parsed'] = len(BLOCKS) - sum(counts.values())
    for name, count in counts.items():
        record_property(f'blocks {name}', count)
    print(f'Of {len(BLOCKS)} blocks of code: {counts}')
    assert counts['run'] > counts['marked']


def test_other_tests_run_what_they_should():
    for page, (test, sections) in ELSEWHERE.items():
        text = (ROOT / 'tests' / test).read_text('utf-8')
        assert repr(Path(page).name) in text
        found = {block.section for block in ALL if block.page == page}
        for section in filter(None, sections):
            assert section in text
            assert section in found


@pytest.mark.parametrize('block', SHELL, ids=str)
def test_shell_is_understood(block, folder):
    for argv in commands(block, folder):
        check_command(*argv)


@pytest.mark.parametrize(
    'block', [b for b in PYTHON if is_config(b.code)], ids=str
)
def test_config_is_built(block, folder):
    check_config(block.code, folder / 'alone')


@pytest.mark.slow
@pytest.mark.parametrize(
    'page',
    # README_zh-CN.md has the code of README.md.
    sorted({block.page for block in CHECKED} - {'README_zh-CN.md'}),
)
def test_what_is_quick_runs(page, folder, monkeypatch):
    """All of a page, in its order."""
    # A class that a page registers is on another page, too.
    monkeypatch.setattr(MODELS, '_module_dict', dict(MODELS.module_dict))
    for block in CHECKED:
        if block.page != page:
            continue
        if block.language == 'shell':
            for argv in commands(block, folder):
                if is_quick(*argv):
                    args = [FILLED_IN.get(arg, arg) for arg in argv[1:]]
                    tool = find_tool(args[0]).relative_to(ROOT / 'tools')
                    with monkeypatch.context() as patch:
                        patch.chdir(ROOT)  # where tests is a module
                        fork_tool(tool, *args[1:], cwd=folder)
        elif not is_config(block.code):
            code = compile(block.code, str(block), 'exec')
            exec(code, dict(__name__='__main__'))
