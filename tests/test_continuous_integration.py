"""What runs on GitHub is what runs here."""

import re

import mmengine
import pytest

from .factories import ROOT, load_tool

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
