"""Changelog, citation and READMEs say what they are of, and each other."""

import re
from collections import Counter

import mmengine
import pytest

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


def facts(text):
    """What a README has in any language: its code, and of each paragraph,
    row or point the numbers, names in code and links, in any order."""
    code = re.findall(r'^```(\w*)\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
    code = [(name, re.sub(' *#.*', '', block)) for name, block in code]
    text = re.sub(r'^```.*?^```', '```', text, flags=re.DOTALL | re.MULTILINE)
    found = []
    for part in re.split(r'\n\n|\n(?=\||- )', text.strip()):
        links = re.findall(r'\]\(([^)]+)\)', part)
        words = re.sub(r'\]\([^)]+\)', ']', part)
        numbers = re.findall(r'[\w.]*\d[\w.]*', words, re.ASCII)
        numbers = [number.strip('.') for number in numbers]
        names = re.findall(r'`([^`]+)`', words)
        links = [link.replace('_zh-CN', '') for link in links]
        found.append([Counter(x) for x in (numbers, names, links)])
    return code, found


def test_readmes_agree():
    (code, ours), (others_code, others) = map(
        facts, (read('README.md'), read('README_zh-CN.md'))
    )
    assert code == others_code
    assert ours == others


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('2.14.1', '2.14.2'),
        ('0.8 PCK', '8 PCK'),
        ('make test ', 'make tests '),
        ("type='HeatmapWeightingMSELoss'", "type='FocusedMSELoss'"),
        ('`FocusedMSELoss`', '`AnchorLoss`'),
        ('docs/head.md', 'docs/demo.md'),
        ('## ', '# 2'),
    ],
)
def test_a_readme_that_differs_is_found(old, new):
    text = read('README.md')
    changed = text.replace(old, new, 1)
    assert changed != text
    assert facts(changed) != facts(text)


def test_readme_is_short():
    assert len(read('README.md').splitlines()) <= 150
