"""Write the papers' tables into their pages, or check that they are there.

The numbers are typed in the metafiles only. A page marks the place of a table
by ``<!-- amse/table2 -->`` and ``<!-- end -->``; the summary of all is
``<!-- summary -->``.
"""

import argparse
import difflib
import os.path as osp
import re
import sys
from pathlib import Path
from typing import Dict

from mmpose_lossplus.experiments.files import write_text
from mmpose_lossplus.experiments.report import markdown_table
from mmpose_lossplus.experiments.tables import (
    NOT_PUBLISHED,
    ROOT,
    Row,
    Table,
    config_file,
    load_tables,
)

SUMMARY = 'docs/tables.md'
SOURCES = (
    "Source: P the paper's text, C its code, D derived from these, X as named."
)
MARK = re.compile(r'(<!-- (\S+) -->\n).*?(<!-- end -->)', re.DOTALL)
MMPOSE = 'https://github.com/open-mmlab/mmpose/blob/v1.3.2/configs/'


def configs(row: Row, folder: str) -> str:
    """The cell that leads to what trains and tests a row."""
    if row.left_out:
        return 'none'
    kind = 'MMPose' if row.config.startswith('mmpose::') else 'config'
    links = []
    for text, config in ((kind, row.config), ('test', row.test)):
        if config and config.startswith('mmpose::'):
            links.append(f'[{text}]({config.replace("mmpose::", MMPOSE)})')
        elif config:
            path = osp.relpath(config_file(config), osp.join(ROOT, folder))
            links.append(f'[{text}]({path})')
    return ', '.join(links)


def value(row: Row, metric: str) -> str:
    """Published value and, once it was trained, ours."""
    published = row.reported[metric]
    cell = 'NR' if published == NOT_PUBLISHED else str(published)
    if metric in row.results:
        cell += f' (**{row.results[metric]}**)'
    return cell


def render(table: Table) -> str:
    """A table with what a reader of it must know."""
    notes = [row.note or row.left_out for row in table.rows]
    notes = list(dict.fromkeys(filter(None, notes)))
    rows = []
    for row in table.rows:
        note = row.note or row.left_out
        mark = f' <sup>{notes.index(note) + 1}</sup>' if note else ''
        values = [value(row, metric) for metric in table.metrics]
        labels = [row.labels[0] + mark, *row.labels[1:]]
        rows.append([*labels, *values, row.source, configs(row, table.folder)])
    header = [*table.labels, *table.metrics, 'Source', 'Config']
    words = len(table.labels)
    centred = range(words, words + len(table.metrics))
    lines = [
        f'{table.title}.',
        f'`python tools/reproduce.py {table.id}`',
        '\n'.join(markdown_table(header, rows, centred)),
        SOURCES + f' NR: {NOT_PUBLISHED}.' * any('NR' in row for row in rows),
    ]
    if any(row.results for row in table.rows):
        lines.append('In brackets: what training the config gave here.')
    lines += [f'<sup>{i}</sup> {text}' for i, text in enumerate(notes, 1)]
    return '\n\n'.join([*lines, *table.notes])


def summary(tables: Dict[str, Table]) -> str:
    """One line a table: what it shows and how far it is covered."""
    rows = []
    for table in tables.values():
        first = [m for m in ('AP', 'top-1') if m in table.metrics]
        metric = (first or table.metrics[-1:])[0]
        by_id = {row.id: row for row in table.rows}
        values = [value(by_id[row], metric) for row in table.compare]
        ready = sum(not row.left_out for row in table.rows)
        # GitHub's name for the heading ``## amse/table2``.
        anchor = table.id.replace('/', '').lower()
        page = f'{osp.relpath(table.folder, osp.dirname(SUMMARY))}/README.md'
        link = f'[{table.id}]({page}#{anchor})'
        change = f'{" → ".join(values)} {metric}' if values else ''
        ready = f'{ready} of {len(table.rows)}'
        trained = str(sum(bool(row.results) for row in table.rows))
        rows.append([link, table.title, change, ready, trained])
    header = ['table', 'what', 'published', 'rows with a config', 'trained']
    return '\n'.join(markdown_table(header, rows, range(2, len(header))))


def rendered(text: str, path: str, tables: Dict[str, Table]) -> str:
    """Text of the page at a path, with its tables as they should be."""

    def fill(match: 're.Match') -> str:
        name = match[2]
        if name != 'summary' and name not in tables:
            raise ValueError(f'{path} names {name}, which no metafile has.')
        body = summary(tables) if name == 'summary' else render(tables[name])
        return f'{match[1]}{body}\n{match[3]}'

    return MARK.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    text = 'write nothing, and fail if a page differs from the metafiles'
    parser.add_argument('--check', action='store_true', help=text)
    args = parser.parse_args()
    tables = load_tables()
    folders = dict.fromkeys(table.folder for table in tables.values())
    names = [SUMMARY, *(f'{folder}/README.md' for folder in folders)]
    differ = []
    for name in names:
        old = Path(ROOT, name).read_text(encoding='utf-8')
        text = rendered(old, name, tables)
        if text == old:
            continue
        differ.append(name)
        if args.check:
            lines = (old.splitlines(), text.splitlines())
            print(*difflib.unified_diff(*lines, lineterm='', n=0), sep='\n')
        else:
            write_text(Path(ROOT, name), text)
            print(f'Wrote {name}')
    if args.check and differ:
        sys.exit(
            f'{", ".join(differ)} differ from the metafiles: run '
            'python tools/misc/render_tables.py.'
        )


if __name__ == '__main__':
    main()
