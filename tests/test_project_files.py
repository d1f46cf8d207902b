"""Changelog and citation say what version and papers say; types are right."""

import importlib.util
import re
import sys

import mmengine
import pytest

from mmpose_lossplus import __version__

from .factories import ROOT, call


def read(name):
    return (ROOT / name).read_text(encoding='utf-8')


def test_changelog_is_of_this_version():
    """The newest first; a version has its day, what is to come has none."""
    heads = re.findall(r'^## (.*)', read('CHANGELOG.md'), re.MULTILINE)
    dated = [re.fullmatch(r'\[(\S+)\] - (\d{4}-\d\d-\d\d)', h) for h in heads]
    if heads[0] == '[Unreleased]':
        del dated[0]
    assert dated[0][1] == __version__
    days = [head[2] for head in dated]
    assert days == sorted(days, reverse=True)


def test_citation_is_of_this_version_and_its_papers():
    citation = mmengine.load(ROOT / 'CITATION.cff', file_format='yaml')
    assert citation['version'] == __version__
    cited = {
        ' '.join(work['title'].split()) for work in citation['references']
    }
    papers = set()
    for path in ROOT.glob('configs/*/metafile.yml'):
        for collection in mmengine.load(path).get('Collections', ()):
            papers.add(collection['Paper']['Title'])
    assert cited == papers
    bibtex = re.findall(r'^  title *= \{(.*)\},', read('docs/tables.md'), re.M)
    assert set(bibtex) < cited


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec('mypy') is None,
    reason='there is no mypy, which make venv installs',
)
def test_types_are_right(tmp_path):
    """And a wrong one is found, though no host is looked at."""
    command = [sys.executable, '-m', 'mypy', '--cache-dir', tmp_path]
    call(*command, cwd=ROOT)
    wrong = tmp_path / 'wrong.py'
    wrong.write_text(
        'from mmpose_lossplus.losses.functional import choose\n\n'
        'choose("beta", 1, {})\n'
    )
    result = call(
        *command, ROOT / 'mmpose_lossplus', wrong, check=False, cwd=ROOT
    )
    assert 'incompatible type "int"' in result.stdout
