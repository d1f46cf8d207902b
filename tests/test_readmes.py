"""The READMEs of both languages say the same, and are short."""

import re
from collections import Counter

import pytest

from .factories import ROOT

ENGLISH, CHINESE = (
    (ROOT / name).read_text(encoding='utf-8')
    for name in ('README.md', 'README_zh-CN.md')
)


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


def test_they_agree():
    (code, english), (chinese_code, chinese) = map(facts, (ENGLISH, CHINESE))
    assert code == chinese_code
    assert english == chinese


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (r'\d+\.\d+', '0'),
        ('make test ', 'make tests '),
        (r"type='\w+'", "type='Other'"),
        (r'`\w+Loss`', '`Other`'),
        (r'docs/\w+\.md', 'docs/other.md'),
        (r'\n\n##', '\n##'),
    ],
)
def test_a_difference_is_found(old, new):
    changed = re.sub(old, new, ENGLISH, count=1)
    assert changed != ENGLISH
    assert facts(changed) != facts(CHINESE)


def test_they_are_short():
    assert len(ENGLISH.splitlines()) <= 150
    assert len(CHINESE.splitlines()) <= 150
