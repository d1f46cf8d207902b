"""tools/misc/render_tables.py on a table made by hand."""

import re

import pytest

from ..factories import load_tool

tool = load_tool('misc/render_tables.py')
ZOO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/x.py'
OURS = 'td-hm_res50_4xb32-140e_coco-256x192'
GTBOX = 'td-hm_res50_4xb32-140e_coco-gtbox-256x192'


def row(id, config=OURS, test=None, reported=None, **more):
    reported = reported or {'AP': 70.4, 'AR': tool.NOT_PUBLISHED}
    return tool.Row(id, [id.upper()], config, test, reported, 'P', **more)


@pytest.fixture
def table():
    return tool.Table(
        *('amse/table9', 'A table, COCO', 'configs/amse'),
        *(['Loss'], ['AP', 'AR']),
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
    title, _, command, _, *lines = tool.render(table).splitlines()
    assert title == 'A table, COCO.'
    assert command == '`python tools/reproduce.py amse/table9`'
    header, _, mse, zoo, amse, cited = map(cells, lines[:6])
    assert header == ['Loss', 'AP', 'AR', 'Source', 'Config']
    assert mse == [
        *('MSE <sup>1</sup>', '70.4', 'NR', 'P'),
        f'[config]({OURS}.py), [test]({GTBOX}.py)',
    ]
    assert zoo[0] == 'ZOO <sup>1</sup>'
    assert zoo[-1].startswith('[MMPose](https://github.com/')
    assert zoo[-1].endswith('/configs/' + ZOO[len('mmpose::') :] + ')')
    assert amse[:3] == ['AMSE', '71 (**70.8**)', '76']
    assert (cited[0], cited[-1]) == ('CITED <sup>2</sup>', 'none')
    sources, _, *notes = filter(None, lines[6:])
    assert sources.endswith(f'NR: {tool.NOT_PUBLISHED}.')
    assert notes == [
        '<sup>1</sup> Same note.',
        '<sup>2</sup> Not in MMPose.',
        'For all rows.',
    ]


def test_summary(table):
    line = tool.summary({table.id: table}).splitlines()[-1]
    assert cells(line) == [
        '[amse/table9](../configs/amse/README.md#amsetable9)',
        'A table, COCO',
        *('70.4 → 71 (**70.8**) AP', '3 of 4', '1'),
    ]


def test_unknown_place(table):
    text = '<!-- amse/table8 -->\n<!-- end -->\n'
    with pytest.raises(ValueError, match='x.md.*amse/table8'):
        tool.rendered(text, 'x.md', {table.id: table})


def test_fills_checks_and_mends(table, tmp_path, monkeypatch, capsys):
    """The marked places only; a number changed by hand is found."""
    readme = tmp_path / 'configs' / 'amse' / 'README.md'
    readme.parent.mkdir(parents=True)
    readme.write_text('A\n<!-- amse/table9 -->\nold\n<!-- end -->\nZ\n')
    page = tmp_path / tool.SUMMARY
    page.parent.mkdir()
    page.write_text('<!-- summary -->\n<!-- end -->\n')
    monkeypatch.setattr(tool, 'ROOT', str(tmp_path))
    monkeypatch.setattr(tool, 'config_file', lambda name: f'{name}.py')
    monkeypatch.setattr(tool, 'load_tables', lambda: {table.id: table})

    def render_tables(*args):
        monkeypatch.setattr('sys.argv', ['render_tables.py', *args])
        tool.main()
        return readme.read_text()

    good = render_tables()
    assert good.startswith('A\n<!-- amse/table9 -->\nA table')
    assert good.endswith('For all rows.\n<!-- end -->\nZ\n')
    assert render_tables('--check') == good
    bad = good.replace('70.4', '70.9')
    readme.write_text(bad)
    with pytest.raises(SystemExit, match='configs/amse/README.md differ'):
        render_tables('--check')
    assert re.search(r'-\| MSE .* 70.9 ', capsys.readouterr().out)
    assert readme.read_text() == bad  # checking writes nothing
    assert render_tables() == good
