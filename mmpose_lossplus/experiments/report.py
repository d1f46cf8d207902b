"""Compare what tools/reproduce.py measured with what a table publishes."""

import csv
import io
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Sheet
from rich.text import Text

from .files import write_text
from .tables import (
    NOT_PUBLISHED,
    Row,
    Table,
    number,
    result,
)

# Options whose keys end so change what is trained or tested on.
DATA = ('data_root', 'ann_file', 'bbox_file', 'headbox_file', 'indices')
DATA += ('data_prefix', 'data_prefix.img')
SHORT = 'NR'

Record = Dict[str, Any]


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
    records = read_records(table, work_dir)
    problems = problems or {}
    remarks = warnings(records)
    lines = list(compare(table, records, problems))
    runs = [describe(row, group) for row, group in groups(table, records)]
    details = [
        f'{row.id}: {text}'
        for row in table.rows
        for text in (problems.get(row.id), row.left_out, row.note)
        if text
    ]
    details += [f'Versions: {text}' for text in versions(records)]

    console = Console(highlight=False)
    for remark in remarks:
        console.print(Text(remark, style='bold red'), soft_wrap=True)
    header = ['row', '', *table.metrics]
    console.print(sheet(f'{table.id}: {table.title}', header, lines))
    if runs:
        rows = [list(run.values()) for run in runs]
        console.print(sheet('Runs', list(runs[0]), rows))
    console.print(f'{SHORT}: {NOT_PUBLISHED}')
    for detail in details:
        console.print(Text(detail), soft_wrap=True)

    out = out or work_dir / table.id
    out.mkdir(parents=True, exist_ok=True)
    markdown = as_markdown(table, remarks, lines, runs, details)
    for name, text in (
        ('report.md', markdown),
        ('report.csv', as_csv(table, records)),
    ):
        write_text(out / name, text)
        console.print(f'Wrote {out / name}', soft_wrap=True)


def read_records(table: Table, work_dir: Path) -> Dict[str, List[Record]]:
    """What tools/reproduce.py wrote of each row, by the row's id and seed."""
    return {
        row.id: sorted(
            (
                json.loads(path.read_text())
                for path in (work_dir / table.id / row.id).glob(
                    'seed*/row.json'
                )
            ),
            key=lambda record: record['seed'],
        )
        for row in table.rows
    }


def groups(
    table: Table, records: Dict[str, List[Record]]
) -> Iterator[Tuple[Row, List[Record]]]:
    """Results of a row that differ in nothing but the seed."""
    for row in table.rows:
        same = {}
        for record in records[row.id]:
            key = (record['config_hash'], record['test_config_hash'])
            same.setdefault(key, []).append(record)
        for group in same.values():
            yield row, group


def compare(
    table: Table, records: Dict[str, List[Record]], problems: Dict[str, str]
) -> Iterator[List[str]]:
    """Lines of the report: what is published, ours, the difference.

    Args:
        table (Table): The table.
        records (Dict[str, List[Record]]): See :func:`read_records`.
        problems (Dict[str, str]): Why rows have no result, by their ids.

    Yields:
        List[str]: The row's id (in its first line), what the line is, and a
        cell for each metric.
    """
    blank = [''] * len(table.metrics)
    ours = {row.id: [] for row in table.rows}
    for row, group in groups(table, records):
        ours[row.id].append(group)
    for row in table.rows:
        published = [row.reported[metric] for metric in table.metrics]
        cells = [
            SHORT if value == NOT_PUBLISHED else str(value)
            for value in published
        ]
        yield [row.id, 'published', *cells]
        for group in ours[row.id]:
            title = seeds(group)
            values = [results(group, metric) for metric in table.metrics]
            if not any(values) and any(r['result_files'] for r in group):
                title += ': result file written, score from the server'
            yield ['', title, *map(spread, values)]
            if any(values):
                cells = map(difference, values, published)
                yield ['', 'difference', *cells]
        if row.left_out:
            yield ['', 'left out', *blank]
        elif row.id in problems:
            yield ['', 'FAILED', *blank]
        elif not ours[row.id]:
            yield ['', 'not run', *blank]


def results(group: List[Record], metric: str) -> List[float]:
    """Values of a column for each seed, in the unit of the table."""
    values = (result(record['metrics'], metric) for record in group)
    return [value for value in values if value is not None]


def spread(values: List[float]) -> str:
    """Mean and, of several, sample standard deviation."""
    if not values:
        return ''
    spread = f' ±{stdev(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{spread}'


def difference(values: List[float], published: Union[float, str]) -> str:
    """Our mean minus what is published, if that is a number."""
    if not values or number(published) is None:
        return ''
    return f'{mean(values) - number(published):+.2f}'


def seeds(group: List[Record]) -> str:
    """Such as ``seeds 0, 1``."""
    numbers = ', '.join(str(record['seed']) for record in group)
    return f'seed{"s" * (len(group) > 1)} {numbers}'


def describe(row: Row, group: List[Record]) -> Dict[str, str]:
    """How the results of a row came about."""

    def distinct(values) -> str:
        return '; '.join(dict.fromkeys(values))

    return {
        'row': row.id,
        'seeds': seeds(group).split(' ', 1)[1],
        'config hash': group[0]['config_hash'],
        'hash of the test': group[0]['test_config_hash'],
        'checkpoints': distinct(r['checkpoint'] for r in group),
        'GPUs': distinct(str(r['gpus']) for r in group),
        'commit': distinct(
            f'{r["commit"][:12]}{"+dirty" * r["commit"].endswith("+dirty")}'
            for r in group
        ),
    }


def versions(records: Dict[str, List[Record]]) -> List[str]:
    """Versions of what the results come from, one text for each set."""
    return list(
        dict.fromkeys(
            ', '.join(f'{k} {v}' for k, v in record['versions'].items())
            for group in records.values()
            for record in group
        )
    )


def warnings(records: Dict[str, List[Record]]) -> List[str]:
    """What keeps the results from being the table's, one line each."""
    options = dict.fromkeys(
        option
        for group in records.values()
        for record in group
        for option in record['cfg_options']
    )
    data = [o for o in options if o.split('=')[0].endswith(DATA)]
    other = [o for o in options if o not in data]
    notes = []
    if data:
        notes += [
            'NOT comparable with the published values, unless this is the '
            f'same data in another place: {" ".join(data)}'
        ]
    if other:
        notes += [f'Not the recipe of the configs: {" ".join(other)}']
    return notes


def sheet(title: str, header: List[str], rows: List[List[str]]) -> Sheet:
    """A table for the terminal."""
    result = Sheet(title=Text(title), box=SIMPLE_HEAD, padding=0)
    for index, column in enumerate(header):
        result.add_column(Text(column), no_wrap=index == 1, overflow='fold')
    for row in rows:
        result.add_row(*map(Text, row))
    return result


def as_markdown(
    table: Table,
    remarks: List[str],
    lines: List[List[str]],
    runs: List[Dict[str, str]],
    details: List[str],
) -> str:
    """The report, with the labels of the rows and what explains them."""
    labels = {row.id: row.labels for row in table.rows}
    blank = [''] * len(table.labels)
    text = [f'# {table.id}: {table.title}', '']
    for remark in remarks:
        text += [f'**{remark}**', '']
    text += markdown_table(
        ['row', *table.labels, '', *table.metrics],
        [[name, *labels.get(name, blank), *rest] for name, *rest in lines],
    )
    text += [
        '',
        f'{SHORT}: {NOT_PUBLISHED}. Spread: sample standard deviation over '
        'the seeds. Difference: mean of the seeds - published.',
        '',
        *(f'- {item}' for item in (*details, *table.notes)),
    ]
    if runs:
        text += ['', '## Runs', '']
        rows = [list(run.values()) for run in runs]
        text += markdown_table(list(runs[0]), rows)
    text += ['', '## Sources of the published values', '']
    text += [f'- {row.id}: {row.source}' for row in table.rows]
    return '\n'.join(text) + '\n'


def markdown_table(header: List[str], rows: List[List[str]]) -> List[str]:
    """Lines of a table in Markdown."""
    cells = [
        [cell.replace('|', '\\|').replace('\n', ' ') for cell in row]
        for row in (header, ['---'] * len(header), *rows)
    ]
    return [f'| {" | ".join(row)} |' for row in cells]


def as_csv(table: Table, records: Dict[str, List[Record]]) -> str:
    """One line for each row and seed, with all that was measured.

    ``published AP`` and ``AP`` are in the unit of the table; columns such as
    ``coco/AP`` are what MMPose gave.
    """
    lines = []
    for row in table.rows:
        for record in records[row.id]:
            line = dict(
                zip(table.labels, row.labels), table=table.id, row=row.id
            )
            for key, value in record.items():
                if isinstance(value, list):
                    line[key] = ' '.join(value)
                elif not isinstance(value, dict):
                    line[key] = value
            for name, time in record['seconds'].items():
                line[f'seconds of {name}'] = time
            line.update(record['versions'])
            for metric in table.metrics:
                line[f'published {metric}'] = row.reported[metric]
                for value in results([record], metric):
                    line[metric] = value
            line.update(record['metrics'])
            lines.append(line)
    columns = dict.fromkeys(key for line in lines for key in line)
    columns = columns or ['table', 'row', 'seed']
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
