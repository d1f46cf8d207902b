"""Changelog and citation say what version and papers say."""

import re

import mmengine

from mmpose_lossplus import __version__

from .factories import ROOT


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
