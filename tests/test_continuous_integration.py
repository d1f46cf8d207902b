"""What runs on GitHub is what runs here."""

import os
import re
import shutil

import mmengine
import pytest

from mmpose_lossplus import __version__

from .factories import ROOT, call, load_tool

WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))


def test_linters_are_of_one_version():
    (repo,) = mmengine.load(ROOT / '.pre-commit-config.yaml')['repos']
    for pins in (ROOT / 'requirements').glob('*.txt'):
        assert f'\nruff=={repo["rev"][1:]}\n' in pins.read_text('utf-8')


def test_stacks_are_tested_on_pythons_that_they_fit():
    test = mmengine.load(ROOT / '.github/workflows/test.yml')['jobs']['test']
    stacks = load_tool('misc/setup_venv.py').STACKS
    tested = test['strategy']['matrix']['include']
    assert {entry['stack'] for entry in tested} == set(stacks)
    for entry in tested:
        first, last = stacks[entry['stack']].pythons
        python = tuple(map(int, entry['python'].split('.')))
        assert first <= python <= last, entry


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_bounded(path):
    """In what they may do, how long they run and what they call."""
    workflow = mmengine.load(path, file_format='yaml')
    assert workflow['permissions'] == dict(contents='read')
    assert workflow['concurrency']
    for job in workflow['jobs'].values():
        assert job['timeout-minutes']
        for step in job['steps']:
            action = step.get('uses', 'none@v0')
            assert re.fullmatch(r'[\w/-]+@v\d+', action)


@pytest.mark.parametrize(
    ('version', 'holds'), [(__version__, True), ('0.0.9', False)]
)
def test_release_has_the_notes_of_its_version(version, holds, tmp_path):
    release = mmengine.load(ROOT / '.github/workflows/release.yml')
    steps = release['jobs']['build']['steps']
    (script,) = [
        step['run'] for step in steps if 'notes.md' in step.get('run', '')
    ]
    shutil.copy(ROOT / 'CHANGELOG.md', tmp_path)
    env = dict(
        os.environ,
        GITHUB_REF_NAME=f'v{version}',
        GITHUB_SERVER_URL='https://example.org',
        GITHUB_REPOSITORY='owner/name',
    )
    command = ('bash', '-e', '-o', 'pipefail', '-c', script)
    result = call(*command, cwd=tmp_path, env=env, check=False)
    assert (result.returncode == 0) == holds, result.stdout
    if holds:
        notes = (tmp_path / 'notes.md').read_text('utf-8')
        assert notes.strip().startswith('### Added')
        changelog = (ROOT / 'CHANGELOG.md').read_text('utf-8')
        sections = changelog.split('\n## ')
        own = next(s for s in sections if s.startswith(f'[{version}]'))
        assert len(notes.splitlines()) == len(own.splitlines())
        blob = f'https://example.org/owner/name/blob/v{version}/docs/'
        assert notes.count(f']({blob}') == own.count('](docs/')
