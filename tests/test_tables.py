"""The metafiles, the tables rendered from them, and the models' sizes."""

import json
import math
import re

import mmengine
import pytest
from mmpose.registry import MODELS

from mmpose_lossplus.experiments import tables

from .factories import (
    CLASSIFICATION,
    CONFIGS,
    ROOT,
    ROWS,
    TABLES,
    count_flops,
    load,
    needs_mmpretrain,
    read,
    run_main,
)

# Columns that are counted, not measured by a test.
SIZES = ('Params (M)', 'GFLOPs')

each_table = pytest.mark.parametrize('table', TABLES.values(), ids=TABLES)
classifiers = {path.stem for path in CLASSIFICATION}
each_row = pytest.mark.parametrize(
    ('table', 'row'),
    [
        pytest.param(
            *(table, row),
            marks=needs_mmpretrain if row.config in classifiers else (),
            id=f'{table.id}/{row.id}',
        )
        for table, row in ROWS
    ],
)

# Rows of the tables of each paper, where ours are not one for one: the values
# of beta and of gamma that the papers leave open are two each here, and a row
# on CIFAR-10 and CIFAR-100 is one for each.
ROWS_IN_PAPERS = dict(
    amse=[4, 8, 7],
    fmse=[4, 4, 3],
    anchor=[6, 4, 6, 18, 10, 2, 6, 4],
    hwl=[14, 11, 5, 5, 4],
)


def test_count():
    """Rows in the papers, and those left out: other papers' methods."""
    count = {paper: [] for paper in ROWS_IN_PAPERS}
    for table in TABLES.values():
        rows = {row.stands_for or row.id for row in table.rows}
        count[table.id.split('/')[0]].append(len(rows))
    assert count == ROWS_IN_PAPERS
    left_out = [row.left_out for _, row in ROWS if row.left_out]
    assert len(left_out) == 15 + 8  # on MPII and on LSP


def test_same_rows_as_the_reference(shared_data):
    """The numbers here are those of the papers' transcription."""
    text = (shared_data.parent / 'papers.md').read_text(encoding='utf-8')
    for table in TABLES.values():
        block = re.search(
            rf'\*\*{table.id}\*\*.*?\n\n?(\|.*?)\n\n', text, re.DOTALL
        )[1]
        lines = (line.strip('|').split('|') for line in block.splitlines())
        header, _, *rows = ([cell.strip() for cell in x] for x in lines)
        # The first of those that stand for one row has its numbers.
        ours = {}
        for row in table.rows:
            published = ours.setdefault(row.stands_for or row.id, {})
            if 'Data' in table.labels:  # in one row of the paper
                data = row.labels[table.labels.index('Data')]
                values = {f'{data} {k}': v for k, v in row.reported.items()}
                published.update(values)
            elif not published:
                published.update(row.reported)
        assert len(ours) == len(rows), table.id
        for (key, reported), cells in zip(ours.items(), rows):
            for metric, cell in zip(header, cells):
                metric = metric.replace('params', 'Params (M)')
                number = cell.strip('*').rstrip('M').replace('+-', '±')
                if metric in reported and re.match(r'[\d.]+', number):
                    place = (table.id, key, metric)
                    assert str(reported[metric]) == number, place


@each_row
def test_row_is_complete(table, row):
    assert len(row.labels) == len(table.labels)
    assert row.source
    assert bool(row.config) != bool(row.left_out)
    for config in filter(None, (row.config, row.test)):
        read(tables.config_file(config))
    # That of fmse/fig3 is not PCKh, so no test gives it.
    assert set(table.metrics) <= {*tables.RESULT_KEYS, *SIZES, 'Score'}
    for value in map(str, row.reported.values()):
        words = value.endswith('over MSE') or value == tables.NOT_PUBLISHED
        assert words or tables.number(value) >= 0


def test_result():
    """Our value of a column, from what the metrics give."""
    result = tables.result
    coco = {'coco/AP': 0.5, 'coco/AP .5': 0.75, 'coco/AR': -1}
    assert result(coco, 'AP') == 50
    assert result(coco, 'AP50') == 75
    assert result(coco, 'AP75') is None
    for prefix in ('', 'lsp/'):
        pck = {f'{prefix}Head PCK': 90.0, f'{prefix}PCK': 80.0}
        assert result(pck, 'Head') == 90
        assert result(pck, 'Mean') == result(pck, 'Total') == 80
        assert result(pck, 'Wri') is result(pck, 'Score') is None
    assert tables.number('65.70') == 65.7
    assert tables.number(73) == 73
    assert tables.number('72.98 ± 0.35') == 72.98
    assert tables.number('+2.1 over MSE') is None
    assert tables.number(tables.NOT_PUBLISHED) is None


def without_scope(part):
    """MMEngine marks what comes from ``mmpose::`` by a key."""
    return {key: part[key] for key in part if key != '_scope_'}


@each_row
def test_row_tests_what_it_trains(table, row):
    """A test config differs in data, boxes or scales, not in the model.

    Nor does it validate in a way of its own.
    """
    if not row.test:
        return
    texts = (
        json.dumps(load(tables.config_file(name)).to_dict())
        for name in (row.config, row.test)
    )
    train, test = (json.loads(t, object_hook=without_scope) for t in texts)
    same = {key for key in train if train[key] == test.get(key)}
    assert {'model', 'train_dataloader', 'optim_wrapper'} <= same
    assert not {'test_dataloader', 'test_evaluator'} <= same
    for part in ('dataloader', 'evaluator'):
        known = train[f'val_{part}'], test[f'test_{part}']
        assert test[f'val_{part}'] in known


def test_every_config_is_in_a_table():
    used = {c for _, row in ROWS for c in (row.config, row.test) if c}
    others = ('compare', 'demo')
    paths = [*CONFIGS, *CLASSIFICATION]
    ours = {path.stem for path in paths if path.parent.name not in others}
    assert ours - used == set()


@needs_mmpretrain
def test_models_are_the_configs():
    """What ``mim search`` lists is what the folders hold."""
    for path in tables.metafiles():
        meta = mmengine.load(path)
        (collection,) = meta['Collections']
        assert (ROOT / collection['README']).is_file()
        folder = ROOT / path.rsplit('/', 1)[0]
        stems = {model['Name'] for model in meta['Models']}
        assert stems == {file.stem for file in folder.glob('*.py')}
        for model in meta['Models']:
            assert model['In Collection'] == collection['Name']
            file = ROOT / model['Config']
            assert file.stem == model['Name']
            cfg = load(file)
            loss = cfg.model.head.loss
            data = cfg.train_dataloader.dataset.type
            assert model['Metadata'] == {
                'Architecture': [cfg.model.backbone.type],
                'Loss': (loss if 'type' in loss else loss[-1]).type,
                'Training Data': data.replace('Dataset', '').upper(),
            }


def test_readmes_are_rendered():
    run_main('misc/render_tables.py', '--check')


@each_table
def test_readme_has_the_table_in_the_paper_s_order(table):
    ids = [row.id for row in table.rows]
    assert len(ids) == len(set(ids))
    assert set(table.compare) <= set(ids)
    text = (ROOT / table.folder / 'README.md').read_text(encoding='utf-8')
    places = re.findall(r'^<!-- (\S+/\S+) -->$', text, re.MULTILINE)
    assert places == [t for t in TABLES if TABLES[t].folder == table.folder]


def count_size(name):
    """Millions of parameters and GFLOPs as MMEngine counts them."""
    cfg = load(tables.config_file(name))
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    width, height = cfg.codec.input_size
    gflops = count_flops(model, height, width).total() / 1e9
    return sum(p.numel() for p in model.parameters()) / 1e6, gflops, model


# The last row of each config whose size a table has.
SIZED = {row.config: row for table, row in ROWS if 'GFLOPs' in table.metrics}


def agrees(counted, published):
    """Within 2 percent, or equal to the digits that are printed."""
    digits, published = len(published.partition('.')[2]), float(published)
    close = math.isclose(counted, published, rel_tol=0.02)
    return close or round(counted, digits) == published


@pytest.mark.parametrize('config', SIZED)
def test_size(config):
    """As published, or what it is instead stands in the table."""
    row = SIZED[config]
    for key, value in zip(SIZES, count_size(config)):
        published = str(row.reported[key])
        place = (key, value, published)
        assert agrees(value, published) or f'{value:.2f}' in row.note, place


def test_same_size_same_note():
    """A row of the same model elsewhere carries the same explanation."""
    for table, row in ROWS:
        if 'GFLOPs' in table.metrics:
            other = SIZED[row.config]
            for key in SIZES:
                assert row.reported[key] == other.reported[key]
            assert row.note == other.note


@pytest.mark.parametrize(
    'model',
    [
        'res50_4xb32-140e_coco-256x192',
        'res101_4xb32-140e_coco-256x192',
        'small-hrnet-w16_8xb64-210e_coco-256x192',
        'small-hrnet-w16_8xb64-210e_coco-384x288',
    ],
)
def test_counted_as_the_hrnet_papers_do(model):
    """The notes' reason holds: other units, and deconvs at their output."""
    config = f'td-hm_{model}'
    row = SIZED[config]
    _, gflops, model = count_size(config)
    # MMEngine counts a transposed convolution at its input, a quarter.
    cells = 8 * 6
    for module in model.modules():
        if type(module).__name__ == 'ConvTranspose2d':
            gflops += 3 * cells * module.weight.numel() / 1e9
            cells *= 4
    counted = gflops * 1e9 / 1024**3
    assert agrees(counted, str(row.reported['GFLOPs']))
    assert f'{counted:.2f}' in row.note
