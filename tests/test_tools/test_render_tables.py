"""tools/misc/render_tables.py on a table made by hand."""

import re

import pytest

from ..factories import load_tool

tool = load_tool('misc/render_tables.py')
ZOO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/x.py'
OURS = 'td-hm_res50_4xb32-140e_coco-256x192'
GTBOX = 'td-hm_res50_4xb32-140e_coco-gtbox-256x192'


def row(id, **kwargs):
    fields = dict(
        labels=[id.upper()],
        config=OURS,
        test=None,
        reported={'AP': 70.4, 'AR': tool.NOT_PUBLISHED},
        source='P',
    )
    return tool.Row(id=id, **{**fields, **kwargs})


@pytest.fixture
def table():
    return tool.Table(
        id='amse/table9',
        title='A table, COCO',
        folder='configs/amse',
        labels=['Loss'],
        metrics=['AP', 'AR'],
        rows=[
            row('mse', test=GTBOX, note='Same note.'),
            row('zoo', config=ZOO, note='Same note.'),
            row('amse', results={'AP': 70.8}, reported={'AP': 71, 'AR': 76}),
            row('cited', config=None, left_out='Not in MMPose.'),
        ],
        compare=['mse', 'amse'],
        notes=['For all rows.'],
    )


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_render(table):
    lines = tool.render(table).splitlines()
    assert lines[0] == 'A table, COCO.'
    assert lines[2] == '`python tools/reproduce.py amse/table9`'
    header, rule, mse, zoo, amse, cited = map(cells, lines[4:10])
    assert header == ['Loss', 'AP', 'AR', 'Source', 'Config']
    assert [cell[0] + cell[-1] for cell in rule] == [
        *(':-', '::', '::', ':-', ':-')
    ]
    assert mse == [
        *('MSE <sup>1</sup>', '70.4', 'NR', 'P'),
        f'[config]({OURS}.py), [test]({GTBOX}.py)',
    ]
    assert zoo[0] == 'ZOO <sup>1</sup>'
    assert 'open-mmlab/mmpose/blob/v1.3.2/' in zoo[-1]
    assert zoo[-1].endswith('/configs/' + ZOO[len('mmpose::') :] + ')')
    assert amse[:3] == ['AMSE', '71 (**70.8**)', '76']
    assert cited[0] == 'CITED <sup>2</sup>'
    assert cited[-1] == 'none'
    notes = [line for line in lines[10:] if line]
    assert notes[0].startswith(tool.SOURCES)
    assert notes[0].endswith(f'NR: {tool.NOT_PUBLISHED}.')
    assert notes[2:] == [
        '<sup>1</sup> Same note.',
        '<sup>2</sup> Not in MMPose.',
        'For all rows.',
    ]


def test_summary(table):
    line = tool.summary({table.id: table}).splitlines()[-1]
    assert cells(line) == [
        '[amse/table9](configs/amse/README.md#amsetable9)',
        'A table, COCO',
        '70.4 → 71 (**70.8**) AP',
        '3 of 4',
        '1',
    ]


def test_fills_the_marked_places_only(table, tmp_path):
    readme = tmp_path / 'README.md'
    readme.write_text(
        'Before\n<!-- amse/table9 -->\nold\n<!-- end -->\nAfter\n'
    )
    tables = {table.id: table}
    text = tool.rendered(readme.read_text(), readme, tables)
    assert text.startswith('Before\n<!-- amse/table9 -->\nA table')
    assert text.endswith('For all rows.\n<!-- end -->\nAfter\n')
    assert 'old' not in text
    readme.write_text(text)
    assert tool.rendered(readme.read_text(), readme, tables) == text


def test_unknown_place(table, tmp_path):
    readme = tmp_path / 'README.md'
    readme.write_text('<!-- amse/table8 -->\n<!-- end -->\n')
    with pytest.raises(ValueError, match='amse/table8'):
        tool.rendered(readme.read_text(), readme, {table.id: table})


def test_check_finds_a_number_changed_by_hand(
    table, tmp_path, monkeypatch, capsys
):
    """And a run without --check mends it."""
    (tmp_path / 'configs' / 'amse').mkdir(parents=True)
    readme = tmp_path / 'configs' / 'amse' / 'README.md'
    readme.write_text('<!-- amse/table9 -->\n<!-- end -->\n')
    for name in tool.READMES:
        (tmp_path / name).write_text('<!-- summary -->\n<!-- end -->\n')
    monkeypatch.setattr(tool, 'ROOT', str(tmp_path))
    monkeypatch.setattr(tool, 'config_file', lambda name: f'{name}.py')
    monkeypatch.setattr(tool, 'load_tables', lambda: {table.id: table})

    monkeypatch.setattr('sys.argv', ['render_tables.py'])
    tool.main()
    good = readme.read_text()
    monkeypatch.setattr('sys.argv', ['render_tables.py', '--check'])
    tool.main()

    readme.write_text(good.replace('70.4', '70.9'))
    with pytest.raises(SystemExit, match='configs/amse/README.md differ'):
        tool.main()
    assert re.search(r'-\| MSE .* 70.9 ', capsys.readouterr().out)
    assert '70.9' in readme.read_text()  # checking writes nothing

    monkeypatch.setattr('sys.argv', ['render_tables.py'])
    tool.main()
    assert readme.read_text() == good
