"""The papers' tables, read from the metafiles beside the configs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Union

import mmengine
import mmpose

from .configs import ROOT

NOT_PUBLISHED = 'not published in available text'

# Column of a table -> key of the metric and factor to percent.
RESULT_KEYS = {
    'AP': ('coco/AP', 100),
    'AP50': ('coco/AP .5', 100),
    'AP75': ('coco/AP .75', 100),
    'APM': ('coco/AP (M)', 100),
    'APL': ('coco/AP (L)', 100),
    'AR': ('coco/AR', 100),
    'Head': ('Head PCK', 1),
    'Sho': ('Shoulder PCK', 1),
    'Elb': ('Elbow PCK', 1),
    'Wri': ('Wrist PCK', 1),
    'Hip': ('Hip PCK', 1),
    'Knee': ('Knee PCK', 1),
    'Ank': ('Ankle PCK', 1),
    'Mean': ('PCK', 1),
    'Total': ('PCK', 1),
    'top-1': ('accuracy/top1', 1),
    'top-5': ('accuracy/top5', 1),
}


@dataclass(frozen=True)
class Row:
    """One row: a config, what is published of it, what was measured."""

    id: str  # unique in its table
    labels: List[str]  # what identifies it, one for each label column
    # The stem of one of our configs or a ``mmpose::`` path: what trains it,
    # None if the row is left out, and what tests it, if that is another.
    config: Optional[str]
    test: Optional[str]
    reported: Dict[str, Union[float, str]]  # by column, a number or words
    source: Optional[str]  # of the published values
    note: str = ''
    left_out: str = ''  # why there is no config
    # The paper's row, if it leaves open what several of ours choose, or has
    # several trainings.
    stands_for: str = ''
    results: Dict[str, float] = field(default_factory=dict)  # ours


@dataclass(frozen=True)
class Table:
    """A table (or figure) of a paper, with its rows in their order."""

    id: str  # such as ``amse/table2``
    title: str  # what it is about, with data, split and metric
    folder: str  # of the paper's configs, relative to the project
    labels: List[str]  # headers of the label columns
    metrics: List[str]  # headers of the value columns
    rows: List[Row]
    # Ids of the rows that show the paper's point, the baseline first.
    compare: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)  # of several rows
    seeds: int = 1  # number of runs that the paper reports on


def config_file(name: str) -> str:
    """Absolute path of the config that a row names.

    Raises:
        ValueError: If there is not exactly one of that name.
    """
    if name.startswith('mmpose::'):
        configs = Path(mmpose.__file__).parent / '.mim' / 'configs'
        return str(configs / name[len('mmpose::') :])
    found = list((ROOT / 'configs').glob(f'*/{name}.py'))
    if len(found) != 1:
        raise ValueError(
            f'A table must name exactly one config, but there are '
            f'{len(found)} named {name}.py in {ROOT}/configs.'
        )
    return str(found[0])


def number(value: Union[float, str]) -> Optional[float]:
    """A published value, or mean, as a number, None if it is words."""
    try:
        return float(str(value).partition(' ± ')[0])
    except ValueError:
        return None


def result(metrics: Dict[str, float], column: str) -> Optional[float]:
    """Our value of a column, in the unit of the table.

    Args:
        metrics (Dict[str, float]): What a test gave, with or without the
            prefix of its metric.
        column (str): Header of the column.

    Returns:
        float: The value, None if the test gives none for this column.
    """
    key, factor = RESULT_KEYS.get(column, (None, 1))
    for name, value in metrics.items():
        if key and (name == key or name.endswith(f'/{key}')):
            return value * factor
    return None


def metafiles() -> List[str]:
    """Paths of all metafiles, in the order of ``model-index.yml``."""
    index = mmengine.load(ROOT / 'model-index.yml')
    return [str(ROOT / path) for path in index['Import']]


def load_tables() -> Dict[str, Table]:
    """All tables of all papers by their ids, in the papers' order."""
    tables = {}
    for path in metafiles():
        meta = mmengine.load(path)
        measured = {
            model['Name']: model['Results'][0]['Metrics']
            for model in meta.get('Models', [])
            if model.get('Results')
        }
        for table in meta.get('Tables', []):
            tables[table['ID']] = Table(
                id=table['ID'],
                title=table['Title'],
                folder=str(Path(path).parent.relative_to(ROOT)),
                labels=table['Labels'],
                metrics=table['Metrics'],
                rows=[_row(row, table, measured) for row in table['Rows']],
                compare=table.get('Compare', []),
                notes=table.get('Notes', []),
                seeds=table.get('Seeds', 1),
            )
    return tables


def _row(row: dict, table: dict, measured: Dict[str, dict]) -> Row:
    values, metrics = row['Reported'], table['Metrics']
    if isinstance(values, list):
        values = dict(zip(metrics, values))
    return Row(
        id=str(row['ID']),
        labels=[str(label) for label in row['Labels']],
        config=row.get('Config'),
        test=row.get('Test'),
        reported={key: values.get(key, NOT_PUBLISHED) for key in metrics},
        source=row.get('Source', table.get('Source')),
        note=row.get('Note', ''),
        left_out=row.get('Left out', ''),
        stands_for=row.get('Stands for', ''),
        results=measured.get(row.get('Test') or row.get('Config', ''), {}),
    )
