"""Tables and plots of comparisons with a few scores each."""

import io
import re
from copy import copy

import pandas as pd
import pytest
from rich.console import Console

from mmpose_lossplus.experiments import comparison_report as report

from ..factories import ROOT


def compared(target=None, **losses):
    """A comparison of losses, with the scores of each seed by epoch."""
    rows = [
        dict(loss=loss, seed=seed, epoch=epoch, AP=score)
        for loss, seeds in losses.items()
        for seed, scores in enumerate(seeds)
        for epoch, score in enumerate(scores, 1)
    ]
    epochs = pd.DataFrame(rows)
    trainings = epochs.groupby(['loss', 'seed'], sort=False).first()
    trainings = trainings.assign(logs='a.json')[['logs']]
    trainings.insert(0, 'seconds per iteration', 0.1)
    return report.Comparison(epochs, trainings, 'AP', 'mse', target)


@pytest.fixture(scope='module')
def lspet():
    """What 12 losses came to, of three seeds."""
    folder = ROOT / 'docs/which_loss/lspet'
    last = pd.read_csv(folder / 'report.csv', index_col=['loss', 'seed'])
    trainings = last[['seconds per iteration', 'logs']]
    epochs = pd.read_csv(folder / 'epochs.csv')
    return report.Comparison(epochs, trainings, 'lsp/PCK', 'mse')


def test_summary_by_hand():
    table = compared(
        mse=[[0.2, 0.5], [0.5, 0.5]], fast=[[0.46, 0.7], [0.1, 0.6]]
    )
    mse, fast = table.summary().to_dict('records')
    assert list(mse.values()) == [
        *('mse', '0, 1', '0.5000', '0.0000', '', '', '', '2, 1', '100')
    ]
    assert mse['epochs to 0.4500'] == '2, 1'
    half = 12.7062 * 0.05
    assert list(fast.values())[2:-1] == [
        *('0.6500', '0.0707', '+0.1500'),
        f'{0.15 - half:.4f} to {0.15 + half:.4f}',
        *('0.205', '1, 2'),
    ]
    table = compared(60, mse=[[50.0], [70.0]], slow=[[10.0], [21.234]])
    slow = table.summary().loc[1]
    assert slow['epochs to 60.00'] == 'never, never'
    assert slow['AP'] == '15.62'  # in percent, with less digits


def test_without_a_baseline(tmp_path):
    table = compared(other=[[0.5], [0.6]])
    assert 'nan' not in str(table.summary().values)
    for path in report.write_report(table, tmp_path, 'A title', []):
        assert path.exists()


def test_written_report(tmp_path, lspet):
    files = report.write_report(lspet, tmp_path, 'A title', ['a detail'])
    text = files[0].read_text(encoding='utf-8')
    assert text.startswith('# A title\n\n- a detail\n')
    assert re.search(r'\| mse +\| 25.60 +\| 24.37 +\| 24.10 +\|\n', text)
    assert re.search(r'\| mse +\| 0, 1, 2 \| 24.69 ', text)
    assert re.search(r'heatmap/MSE +\| 0.00575 ±3.1e-05 +\|', text)
    assert text.endswith(f'\n\n{lspet.verdict}\n')
    last = pd.read_csv(files[1], index_col=['loss', 'seed'])
    names = ['epochs', 'lsp/PCK', 'logs']
    pd.testing.assert_frame_equal(last[names], lspet.last[names])
    pd.testing.assert_frame_equal(pd.read_csv(files[2]), lspet.epochs)
    for path in files[3:]:
        assert path.read_bytes().startswith(b'\x89PNG')
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for path in files[3:]:
        assert f']({path.name})' in text


def test_maps_with_several_peaks(lspet):
    """A dot for each seed, a larger one for their mean."""
    report.draw_double_counting(lspet)
    axes = report.plt.gca()
    losses = [label.get_text() for label in axes.get_yticklabels()]
    assert losses == [*lspet.table.index]
    seeds, mean = axes.collections[0], axes.collections[1]
    expected = lspet.last.loc[losses[0], report.PEAKS]
    assert seeds.get_offsets()[:, 0].tolist() == expected.tolist()
    assert mean.get_offsets()[0][0] == pytest.approx(expected.mean())
    report.plt.close()


def test_without_diagnostics_there_is_no_such_plot(lspet, tmp_path):
    table = copy(lspet)
    table.last = lspet.last.drop(columns=report.PEAKS)
    files = report.write_report(table, tmp_path, 'A title', [])
    assert 'double_counting.png' not in {path.name for path in files}


@pytest.mark.parametrize('width', [60, 80, 200])
def test_numbers_stay_on_their_line(width, lspet):
    """Of any number of losses, in a terminal of any width."""
    console = Console(width=width, file=io.StringIO())
    report.print_report(lspet, console)
    output = console.file.getvalue()
    assert max(map(len, output.splitlines())) <= width
    cells = lspet.diagnostics().iloc[:, 1:].to_numpy().ravel()
    assert all(cell in output for cell in cells)
    assert ' '.join(output.split()).endswith(lspet.verdict)


def drawn_curves(table):
    """The axes, and the ticks that are seen."""
    with report.plt.rc_context(report.STYLE):
        report.draw_curves(table)
        axes = report.plt.gca()
        axes.figure.canvas.draw()
    report.plt.close()
    low, high = axes.get_xlim()
    return axes, [x for x in axes.get_xticks() if low < x < high]


def test_few_of_many_losses_are_coloured(lspet):
    look = report.colours(lspet)
    assert look['mse'] == 'black'
    grey = [loss for loss in look if look[loss] == report.GREY]
    assert len(grey) == len(look) - 5
    assert not {'mse', 'fmse', 'amse_linear', 'ohkm'} & {*grey}
    axes, ticks = drawn_curves(lspet)
    assert ticks == [1, 2, 3]
    legend = axes.get_legend()
    names = ' '.join(text.get_text() for text in legend.get_texts())
    assert all(loss in names for loss in look)
    # It covers nothing, and is no part outside.
    legend = legend.get_window_extent()
    assert legend.x0 >= axes.get_window_extent().x1
    assert legend.x1 <= axes.figure.bbox.x1


def test_one_epoch_is_visible():
    axes, ticks = drawn_curves(compared(mse=[[0.5]], amse=[[0.5], [0.6]]))
    assert [x.get_marker() for x in axes.get_lines()[:2]] == ['o', 'o']
    assert ticks == [1]
