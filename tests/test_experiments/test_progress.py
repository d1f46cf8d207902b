"""One line that moves on a terminal; elsewhere lines, and few."""

import io
import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from mmpose_lossplus.experiments import progress

from ..factories import call_tool, write_lsp

WEEK = 7 * 24 * 60 * 60


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when they are added to."""
    clock = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, 'time', fake)
    return clock


def test_file_gets_few_lines(clock, capsys):
    """A week of one item a second; the first line comes after a minute."""
    done = 0
    for item in progress.track(range(WEEK), 'Pictures'):
        assert item == done
        done, clock.now = done + 1, clock.now + 1
        if done == 61:
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f'Pictures: 60 of {WEEK}, ')
    *lines, last = capsys.readouterr().err.splitlines()
    assert 20 < len(lines) < 100
    assert last == f'Pictures: {WEEK} of {WEEK} in 7 days, 0:00:00'


def test_what_is_left_follows_from_what_is_done(clock, capsys):
    for _ in progress.track(iter('abc'), 'Letters', 3):
        clock.now += 100
    assert capsys.readouterr().err.splitlines() == [
        'Letters: 1 of 3, 0:03:20 left',
        'Letters: 2 of 3, 0:01:40 left',
        'Letters: 3 of 3, 0:00:00 left',
        'Letters: 3 of 3 in 0:05:00',
    ]


def test_status_of_a_file(clock):
    """The newest text, with its brackets."""
    out = io.StringIO()
    with progress.status(Console(file=out, width=20)) as show:
        for clock.now in range(130):
            show(f'Epoch(train) [{clock.now}][50/100] loss: 0.1')
    assert [line[:17] for line in out.getvalue().splitlines()] == [
        'Epoch(train) [60]',
        'Epoch(train) [120',
    ]


def on_terminal(code):
    """What a program writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, 'TERM': 'xterm'},
    )
    os.close(theirs)
    written = b''
    with open(ours, 'rb', buffering=0) as terminal:
        try:
            while part := terminal.read(1000):
                written += part
        except OSError:  # Linux says so that nobody writes any more
            pass
    assert process.wait() == 0, written
    return written.decode()


@pytest.mark.parametrize(
    'code',
    [
        'for x in track(range(20), "Pictures"): time.sleep(0.05)',
        'with status(Console()) as show:\n'
        '  for x in range(20): show(f"Epoch {x}"); time.sleep(0.05)',
    ],
    ids=['track', 'status'],
)
def test_terminal_has_one_line(code):
    written = on_terminal(
        'import time\n'
        'from rich.console import Console\n'
        'from mmpose_lossplus.experiments.progress import status, track\n'
        + code
    )
    assert written.count('\r\x1b[2K') > 5  # the line is written anew
    assert written.count('\n') <= 1


def test_tool_in_a_pipe_where_colours_are_forced(tmp_path):
    write_lsp(tmp_path)
    printed = call_tool(
        'dataset_converters/lsp_to_coco.py',
        *('--lspet', tmp_path / 'lspet_dataset', '--out', tmp_path / 'out'),
        env=dict(FORCE_COLOR='1'),
    ).stdout
    first, second = printed.splitlines()
    assert first.startswith('LSPET: 6 of 6')
    assert 'lsp_train.json' in second
