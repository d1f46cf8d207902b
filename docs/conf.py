"""The site, which ``make docs`` builds of the repository's own pages.

The source folder is the repository, so that a link is the same on the site and
where the code is hosted; this file lies with the pages.
"""

import re
import shutil
from pathlib import Path

from mmpose_lossplus import __version__

project = 'mmpose_lossplus'
release = version = __version__
copyright = 'the mmpose_lossplus contributors'  # noqa: A001

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
extensions += ['sphinx.ext.autosummary']
root_doc = 'docs/index'
include_patterns = [
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'README.md',
    'README_zh-CN.md',
    'docs/**.md',
    '*/**/README.md',
    'tools/README.md',
]
# Nothing is looked for in these.
exclude_patterns = ['.*', 'build', 'data', 'mmpose_lossplus', 'work_dirs']

# Anchors as GitHub makes them, of all headings that are linked.
myst_heading_anchors = 4

autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_typehints = 'none'  # the docstrings have them
napoleon_numpy_docstring = False

html_theme = 'furo'
html_static_path = ['site.css', 'site.js']
html_css_files = ['site.css']
html_js_files = [('site.js', {'defer': 'defer'})]
html_title = f'mmpose_lossplus {release}'
html_copy_source = False
html_show_sphinx = False


def link_pages(app, docname, source):
    """Lead links to folders to their READMEs, as the code host shows them."""
    here = Path(app.env.doc2path(docname)).parent

    def page(match):
        readme = Path(match[1], 'README.md')
        return f']({readme})' if (here / readme).is_file() else match[0]

    source[0] = re.sub(r'\]\(([^)#:]+)\)', page, source[0])


def finish(app, error):
    """Put there what is no page of Sphinx: the explorer, and the way in."""
    if error is None and app.builder.format == 'html':
        explorer = 'docs/explorer'
        for source in Path(app.srcdir, explorer).iterdir():
            if source.suffix != '.md':
                shutil.copy(source, Path(app.outdir, explorer))
        page = Path(app.outdir, explorer, 'index.html')
        text = page.read_text('utf-8').replace('README.md', 'README.html')
        page.write_text(text, 'utf-8')
        Path(app.outdir, 'index.html').write_text(
            '<!doctype html><meta charset="utf-8"><title>Losses</title>'
            '<meta http-equiv="refresh" content="0; url=docs/index.html">'
            '<a href="docs/index.html">mmpose_lossplus</a>\n',
            'utf-8',
        )


def setup(app):
    app.connect('source-read', link_pages)
    app.connect('build-finished', finish)
