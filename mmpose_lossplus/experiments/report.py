"""Compare what tools/reproduce.py measured with what a table publishes."""

from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table as Sheet
from rich.text import Text

from .extras import pd
from .files import read_json, replace, write_text
from .tables import NOT_PUBLISHED, Table, number, result

# Options whose keys end so change what is trained or tested on.
DATA = (
    'data_root',
    'data_prefix',
    'data_prefix.img',
    'ann_file',
    'bbox_file',
    'headbox_file',
    'indices',
)
SHORT = 'NR'
# Results that differ in nothing else but the seed have a mean.
SAME = ['row', 'config_hash', 'test_config_hash']
# What else is said of them.
RUNS = ['seed', 'checkpoint', 'gpus', 'commit']


def write(
    table: Table,
    work_dir: Path,
    out: Optional[Path] = None,
    problems: Optional[Dict[str, str]] = None,
) -> None:
    """Print the report, write it to ``report.md`` and ``report.csv``.

    Args:
        table (Table): The table.
        work_dir (Path): That of tools/reproduce.py.
        out (Path, optional): Folder of the two files. None takes that of the
            table. Defaults to None.
        problems (Dict[str, str], optional): Why rows have no result, by their
            ids. Defaults to None.
    """
    results = read_results(table, work_dir)
    text = '\n'.join(report_text(table, results, problems or {}))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(Markdown(text) if console.is_terminal else text)
    out = out or work_dir / table.id
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / 'report.md', text)
    for key in ('cfg_options', 'result_files'):
        results[key] = results[key].str.join(' ')
    cells = results.drop(columns='versions')
    replace(out / 'report.csv', lambda path: cells.to_csv(path, index=False))
    for name in ('report.md', 'report.csv'):
        console.print(f'Wrote {out / name}')


def read_results(table: Table, work_dir: Path) -> pd.DataFrame:
    """What tools/reproduce.py wrote, one line for each row and seed.

    ``published AP`` and ``AP`` are in the unit of the table; columns such as
    ``coco/AP`` are what MMPose gave.
    """
    lines = []
    for row in table.rows:
        files = (work_dir / table.id / row.id).glob('seed*/row.json')
        records = sorted(map(read_json, files), key=lambda r: r['seed'])
        for record in records:
            metrics, versions = record.pop('metrics'), record.pop('versions')
            line = {**dict(zip(table.labels, row.labels)), **record}
            line['versions'] = ', '.join(
                f'{k} {versions[k]}' for k in versions
            )
            line.update(versions)
            for metric in table.metrics:
                line[f'published {metric}'] = row.reported[metric]
                line[metric] = result(metrics, metric)
            lines.append({**line, **metrics})
    columns = ['table', *SAME, 'seed', 'cfg_options', 'result_files']
    empty = pd.DataFrame(columns=[*columns, 'versions'], dtype=object)
    return pd.DataFrame(lines) if lines else empty


def report_text(
    table: Table, results: pd.DataFrame, problems: Dict[str, str]
) -> Iterator[str]:
    """Lines of the report in Markdown."""
    yield from (f'# {table.id}: {table.title}', '')
    for remark in differences_in_data(results):
        yield from (f'**{remark}**', '')
    header = ['row', *table.labels, '', *table.metrics]
    yield from markdown_table(header, report_rows(table, results, problems))
    yield from (
        '',
        f'{SHORT}: {NOT_PUBLISHED}. ±: sample standard deviation over the '
        'seeds. Difference: mean of the seeds - published.',
        '',
    )
    for row in table.rows:
        for detail in (problems.get(row.id), row.left_out, row.note):
            if detail:
                yield f'- {row.id}: {detail}'
    yield from (f'- {note}' for note in table.notes)
    yield from (f'- Versions: {text}' for text in results.versions.unique())
    if len(results):
        runs = results.groupby(SAME, sort=False)[RUNS].agg(join).reset_index()
        yield from ('', '## Runs', '', *markdown_table(runs, runs.values))
    yield from ('', '## Sources of the published values', '')
    yield from (f'- {row.id}: {row.source}' for row in table.rows)
    yield ''


def report_rows(
    table: Table, results: pd.DataFrame, problems: Dict[str, str]
) -> Iterator[List[str]]:
    """Rows of the table: what is published, ours, the difference."""
    empty = [''] * len(table.labels)
    for row in table.rows:
        published = [row.reported[metric] for metric in table.metrics]
        cells = [SHORT if x == NOT_PUBLISHED else str(x) for x in published]
        yield [row.id, *row.labels, 'published', *cells]
        own = results[results.row == row.id]
        for _, group in own.groupby(SAME, sort=False):
            values = group[table.metrics].astype(float)
            means, deviations = values.mean(), values.std()
            title = f'seed{"s" * (len(group) > 1)} {join(group.seed)}'
            if means.isna().all() and group.result_files.any():
                title += ': result file written, score from the server'
            ours = [
                ('' if pd.isna(mean) else f'{mean:.2f}')
                + ('' if pd.isna(deviation) else f' ±{deviation:.2f}')
                for mean, deviation in zip(means, deviations)
            ]
            yield ['', *empty, title, *ours]
            if means.notna().any():
                numbers = [number(value) for value in published]
                yield ['', *empty, 'difference'] + [
                    '' if x is None or pd.isna(mean) else f'{mean - x:+.2f}'
                    for mean, x in zip(means, numbers)
                ]
        state = 'FAILED' if row.id in problems else 'not run'
        if row.left_out:
            state = 'left out'
        if row.left_out or row.id in problems or own.empty:
            yield ['', *empty, state, *('' for _ in published)]


def join(values: Iterable) -> str:
    """Each value once, in their order."""
    return ', '.join(dict.fromkeys(map(str, values)))


def differences_in_data(results: pd.DataFrame) -> Iterator[str]:
    """What keeps the results from being the table's, one line each."""
    options = results.cfg_options.explode().dropna().unique()
    data = [o for o in options if o.split('=')[0].endswith(DATA)]
    other = [o for o in options if o not in data]
    if data:
        yield (
            'NOT comparable with the published values, unless this is the '
            f'same data in another place: {" ".join(data)}'
        )
    if other:
        yield f'Not the recipe of the configs: {" ".join(other)}'


def sheet(title: str, header: List[str], rows: List[List[str]]) -> Sheet:
    """A table for the terminal."""
    shown = Sheet(title=Text(title), box=SIMPLE_HEAD, padding=0)
    for index, column in enumerate(header):
        shown.add_column(Text(column), no_wrap=index == 1, overflow='fold')
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def markdown_table(
    header: Iterable[str],
    rows: Iterable[Sequence[str]],
    centred: Sequence[int] = (),
) -> List[str]:
    """Lines of a table in Markdown, whose columns may be centred."""
    header = list(header)
    cells = pd.DataFrame(list(rows), columns=range(len(header)))
    text = cells.replace({r'\|': r'\\|', '\n': ' '}, regex=True).to_markdown(
        index=False,
        headers=header,
        disable_numparse=True,
        colalign=['center' if i in centred else 'left' for i in cells],
    )
    return text.splitlines()
