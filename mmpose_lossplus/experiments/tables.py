"""The papers' tables, read from the metafiles beside the configs."""

import os.path as osp
from dataclasses import dataclass, field
from glob import glob
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
}


@dataclass(frozen=True)
class Row:
    """One row: a config, what is published of it, what was measured.

    Args:
        id (str): Name of the row, unique in its table.
        labels (List[str]): What identifies it, one for each label column.
        config (str, optional): The config that trains it, as the stem of one
            of ours or as ``mmpose::`` path. None if the row is left out.
        test (str, optional): The config that tests it, where the row is
            another test of what ``config`` trains.
        reported (Dict[str, Union[float, str]]): Published value of each
            column, a number or words.
        source (str): Where the published values come from.
        note (str): What a reader of the row must know. Defaults to ``''``.
        left_out (str): Why the row has no config. Defaults to ``''``.
        stands_for (str): The paper's row, where it does not give the values
            that several of ours choose. Defaults to ``''``.
        results (Dict[str, float]): Our values. Defaults to none.
    """

    id: str
    labels: List[str]
    config: Optional[str]
    test: Optional[str]
    reported: Dict[str, Union[float, str]]
    source: str
    note: str = ''
    left_out: str = ''
    stands_for: str = ''
    results: Dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table (or figure) of a paper.

    Args:
        id (str): ``<paper>/<table>``, such as ``amse/table2``.
        title (str): What it is about, with data, split and metric.
        folder (str): Folder of the paper's configs, relative to the project.
        labels (List[str]): Headers of the label columns.
        metrics (List[str]): Headers of the value columns.
        rows (List[Row]): In the order of the paper.
        compare (List[str]): Ids of the rows that show the paper's point, the
            baseline first. Defaults to none.
        notes (List[str]): What holds for several rows. Defaults to none.
    """

    id: str
    title: str
    folder: str
    labels: List[str]
    metrics: List[str]
    rows: List[Row]
    compare: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)


def _reported(values, metrics: List[str]) -> Dict[str, Union[float, str]]:
    if isinstance(values, list):
        values = dict(zip(metrics, values))
    return {metric: values.get(metric, NOT_PUBLISHED) for metric in metrics}


def config_file(name: str) -> str:
    """Path of the config that a row names.

    Args:
        name (str): Stem of one of this project's configs or ``mmpose::`` path.

    Returns:
        str: Its absolute path.
    """
    if name.startswith('mmpose::'):
        folder = osp.join(osp.dirname(mmpose.__file__), '.mim', 'configs')
        return osp.join(folder, name[len('mmpose::') :])
    found = glob(osp.join(ROOT, 'configs', '*', f'{name}.py'))
    if len(found) != 1:
        raise ValueError(
            f'A table must name exactly one config, but there are '
            f'{len(found)} named {name}.py in {ROOT}/configs.'
        )
    return found[0]


def number(value: Union[float, str]) -> Optional[float]:
    """A published value as a number, None if it is words."""
    try:
        return float(value)
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
    index = mmengine.load(osp.join(ROOT, 'model-index.yml'))
    return [osp.join(ROOT, path) for path in index['Import']]


def load_tables() -> Dict[str, Table]:
    """All tables of all papers.

    Returns:
        Dict[str, Table]: The tables by their ids, in the papers' order.
    """
    tables = {}
    for path in metafiles():
        meta = mmengine.load(path)
        results = {
            model['Name']: model['Results'][0]['Metrics']
            for model in meta.get('Models', [])
            if model.get('Results')
        }
        for table in meta.get('Tables', []):
            rows = [
                Row(
                    id=str(row['ID']),
                    labels=[str(label) for label in row['Labels']],
                    config=row.get('Config'),
                    test=row.get('Test'),
                    reported=_reported(row['Reported'], table['Metrics']),
                    source=row.get('Source', table.get('Source')),
                    note=row.get('Note', ''),
                    left_out=row.get('Left out', ''),
                    stands_for=row.get('Stands for', ''),
                    results=results.get(row.get('Test', row.get('Config')))
                    or {},
                )
                for row in table['Rows']
            ]
            tables[table['ID']] = Table(
                id=table['ID'],
                title=table['Title'],
                folder=osp.relpath(osp.dirname(path), ROOT),
                labels=table['Labels'],
                metrics=table['Metrics'],
                rows=rows,
                compare=table.get('Compare', []),
                notes=table.get('Notes', []),
            )
    return tables
