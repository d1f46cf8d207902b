"""Write the papers' tables into the READMEs, or check that they are there.

The numbers are typed in the metafiles only. A README marks the place of a
table by ``<!-- amse/table2 -->`` and ``<!-- end -->``; the main README's
summary is ``<!-- summary -->``.
"""

import argparse
import difflib
import os.path as osp
import re
import sys
from typing import Dict, List

from mmpose_lossplus.experiments.tables import (
    NOT_PUBLISHED,
    ROOT,
    Row,
    Table,
    config_file,
    load_tables,
)

READMES = ('README.md', 'README_zh-CN.md')
SOURCES = (
    "Source: P the paper's text, C its code, D derived from these, X as named."
)
MARK = re.compile(r'(<!-- (\S+) -->\n).*?(<!-- end -->)', re.DOTALL)
MMPOSE = 'https://github.com/open-mmlab/mmpose/blob/v1.3.2/configs/'


def link(text: str, config: str, folder: str) -> str:
    """Markdown link from a README's folder to a config."""
    if config.startswith('mmpose::'):
        url = MMPOSE + config[len('mmpose::') :]
    else:
        url = osp.relpath(config_file(config), osp.join(ROOT, folder))
    return f'[{text}]({url})'


def configs(row: Row, folder: str) -> str:
    """The cell that leads to what trains and tests a row."""
    if row.left_out:
        return 'none'
    text = 'MMPose' if row.config.startswith('mmpose::') else 'config'
    cell = link(text, row.config, folder)
    return f'{cell}, {link("test", row.test, folder)}' if row.test else cell


def value(row: Row, metric: str) -> str:
    """Published value and, once it was trained, ours."""
    published = row.reported[metric]
    cell = 'NR' if published == NOT_PUBLISHED else str(published)
    if metric in row.results:
        cell += f' (**{row.results[metric]}**)'
    return cell


def grid(header: List[str], rows: List[List[str]], centred: range) -> str:
    """A Markdown table, with the columns that are centred."""
    rule = [':-:' if i in centred else ':--' for i in range(len(header))]
    return '\n'.join(
        '| ' + ' | '.join(cells) + ' |' for cells in [header, rule, *rows]
    )


def render(table: Table) -> str:
    """A table with what a reader of it must know."""
    notes: List[str] = []

    def mark(text: str) -> str:
        if not text:
            return ''
        if text not in notes:
            notes.append(text)
        return f' <sup>{notes.index(text) + 1}</sup>'

    rows = [
        [
            row.labels[0] + mark(row.note or row.left_out),
            *row.labels[1:],
            *(value(row, metric) for metric in table.metrics),
            row.source,
            configs(row, table.folder),
        ]
        for row in table.rows
    ]
    header = [*table.labels, *table.metrics, 'Source', 'Config']
    words = len(table.labels)
    lines = [
        f'{table.title}.',
        f'`python tools/reproduce.py {table.id}`',
        grid(header, rows, range(words, words + len(table.metrics))),
    ]
    legend = SOURCES
    if any('NR' in row for row in rows):
        legend += f' NR: {NOT_PUBLISHED}.'
    lines.append(legend)
    if any(row.results for row in table.rows):
        lines.append('In brackets: what training the config gave here.')
    lines += [f'<sup>{i}</sup> {text}' for i, text in enumerate(notes, 1)]
    lines += table.notes
    return '\n\n'.join(lines)


def summary(tables: Dict[str, Table]) -> str:
    """One line a table: what it shows and how far it is covered."""
    rows = []
    for table in tables.values():
        metric = 'AP' if 'AP' in table.metrics else table.metrics[-1]
        by_id = {row.id: row for row in table.rows}
        values = [value(by_id[row], metric) for row in table.compare]
        ready = sum(not row.left_out for row in table.rows)
        trained = sum(bool(row.results) for row in table.rows)
        rows.append(
            [
                f'[{table.id}]({table.folder}/README.md#{anchor(table)})',
                table.title,
                f'{" → ".join(values)} {metric}' if values else '',
                f'{ready} of {len(table.rows)}',
                str(trained),
            ]
        )
    header = ['table', 'what', 'published', 'rows with a config', 'trained']
    return grid(header, rows, range(2, len(header)))


def anchor(table: Table) -> str:
    """GitHub's name for the heading ``## amse/table2``."""
    return table.id.replace('/', '')


def rendered(text: str, path: str, tables: Dict[str, Table]) -> str:
    """Text of the README at a path, with its tables as they should be."""

    def fill(match: 're.Match') -> str:
        name = match[2]
        if name != 'summary' and name not in tables:
            raise ValueError(
                f'{path} has a place for {name}, but no metafile has that '
                'table.'
            )
        body = summary(tables) if name == 'summary' else render(tables[name])
        return f'{match[1]}{body}\n{match[3]}'

    return MARK.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing, and fail if a README differs from the metafiles',
    )
    args = parser.parse_args()
    tables = load_tables()
    folders = dict.fromkeys(table.folder for table in tables.values())
    paths = [*READMES, *(osp.join(folder, 'README.md') for folder in folders)]
    differ = []
    for path in paths:
        full = osp.join(ROOT, path)
        with open(full, encoding='utf-8') as file:
            old = file.read()
        text = rendered(old, full, tables)
        if text == old:
            continue
        differ.append(path)
        if args.check:
            diff = difflib.unified_diff(
                old.splitlines(), text.splitlines(), lineterm='', n=0
            )
            print('\n'.join(diff))
        else:
            with open(full, 'w', encoding='utf-8') as file:
                file.write(text)
            print(f'Wrote {path}')
    if args.check and differ:
        sys.exit(
            f'{", ".join(differ)} differ from the metafiles: run '
            'python tools/misc/render_tables.py.'
        )


if __name__ == '__main__':
    main()
