"""The site: its pages, their links, and where each exported name is."""

import ast
import html
import importlib.util
import re
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

import mmpose_lossplus
from mmpose_lossplus import losses

from .factories import ROOT, call, pages

DOCS = ROOT / 'docs'
API = r'^\.\. auto(?:class|data|function):: (\w+)$'


def test_each_exported_name_is_on_one_page():
    names = []
    for path in DOCS.glob('api/*.md'):
        text = path.read_text(encoding='utf-8')
        names += re.findall(API, text, re.MULTILINE)
    assert sorted(names) == mmpose_lossplus.__all__
    overview = (DOCS / 'api' / 'index.md').read_text(encoding='utf-8')
    listed = re.findall(r'^   (\w+)$', overview, re.MULTILINE)
    assert sorted(listed) == mmpose_lossplus.__all__


def test_each_loss_has_a_page():
    index = (DOCS / 'losses' / 'index.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| \[(.*)\]\((\w+\.md)\)', index, re.MULTILINE)
    names = []
    for listed, page in rows:
        text = (DOCS / 'losses' / page).read_text(encoding='utf-8')
        for name in re.findall(r'`(\w+)`', listed):
            assert name in text, page
            names.append(name)
    pages = {page.name for page in (DOCS / 'losses').iterdir()}
    assert pages == {'index.md', *(page for _, page in rows)}
    exported = {*losses.__all__} & {*mmpose_lossplus.__all__}
    assert sorted([*names, 'HeatmapLoss']) == sorted(exported)


def test_each_tool_is_listed_once():
    listed = re.findall(
        r'^\| \[(.*)\]\(\1\.py\)',
        (ROOT / 'tools/README.md').read_text('utf-8'),
        re.MULTILINE,
    )
    tools = [
        path.relative_to(ROOT / 'tools') for path in ROOT.glob('tools/**/*.py')
    ]
    assert sorted(listed) == sorted(
        t.with_suffix('').as_posix() for t in tools
    )


def templates(folder):
    """The texts of a package's code, with … for what is put into them."""
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text('utf-8'))):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(x, 'value', '') for x in node.values)
                yield ''.join(x if isinstance(x, str) else '…' for x in parts)
            elif isinstance(getattr(node, 'value', None), str):
                yield node.value.replace('{}', '…')


@pytest.mark.parametrize('host', ['this package', 'MMEngine', 'MMPose'])
def test_messages_are_those_of_the_code(host):
    """Between each … stands what one text of the code has, in its order."""
    page = (DOCS / 'troubleshooting.md').read_text('utf-8')
    rows = re.findall(r'^- `(.*?)`.* \(\*(.*?)\*\)\\$', page, re.MULTILINE)
    messages = [message for message, of in rows if of == host]
    assert messages
    folders = [ROOT / 'mmpose_lossplus', ROOT / 'tools']
    if host != 'this package':
        folders = [Path(import_module(host.lower()).__file__).parent]
    texts = {text for folder in folders for text in templates(folder)}
    for message in messages:
        parts = filter(None, map(str.strip, message.split('…')))
        pattern = re.compile('.*'.join(map(re.escape, parts)), re.DOTALL)
        assert any(map(pattern.search, texts)), message


def test_links_between_files_lead_somewhere():
    for path in pages():
        text = path.read_text(encoding='utf-8')
        for link in re.findall(r'\]\(([^)\s#:]+)[)#]', text):
            assert (path.parent / link).exists(), (path, link)


def links(page):
    """Files and anchors that a page of the site links within it."""
    for link in re.findall(r'(?:href|src)="([^"]*)"', page.read_text('utf-8')):
        name, _, anchor = html.unescape(link).partition('#')
        if not re.match(r'\w+:|//', link):
            name = unquote(name.partition('?')[0])
            yield page.parent / name if name else page, unquote(anchor)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec('sphinx') is None,
    reason='make docs was not called, which installs Sphinx',
)
def test_site_has_no_dead_link(tmp_path):
    """Sphinx sees those of pages; names, files and anchors are seen here."""
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going']
    call(*command, '-c', DOCS, ROOT, tmp_path, cwd=ROOT)
    anchors = {}
    for page in tmp_path.glob('**/*.html'):
        text = page.read_text('utf-8')
        anchors[page.resolve()] = re.findall('(?:id|name)="([^"]+)"', text)
    for page in list(anchors):
        for target, anchor in links(page):
            assert target.exists(), (page, target)
            if anchor and target.suffix == '.html':
                assert anchor in anchors[target.resolve()], (page, target)
    exported = {f'mmpose_lossplus.{n}' for n in mmpose_lossplus.__all__}
    assert exported <= set(sum(anchors.values(), []))
