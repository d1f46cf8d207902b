"""Seconds of the parts of the tools that draw people."""

import json
import signal
import sys
import threading

import cv2
import numpy as np
import pytest

from ..factories import draw_spots, run_main, write_film, write_spot_model

end_to_end = pytest.importorskip('mmpose_lossplus.experiments.end_to_end')

BOXES = [[20, 25, 80, 140], [125, 40, 90, 140]]
PEOPLE = [
    [(45, 50), (70, 90), (50, 140)],
    [(190, 70), (150, 100), (185, 150)],
]


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by hand."""
    now = [0.0]
    monkeypatch.setattr(end_to_end, 'perf_counter', lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_inner_parts_are_not_the_outer_ones_too(clock):
    watch = end_to_end.Stopwatch()
    inner = watch.timed('inner', clock)

    def program():
        clock(1)
        inner(20)
        inner(300)
        clock(4000)
        return 'done'

    outer = watch.timed('outer', program)
    assert outer() == 'done'
    assert watch.seconds == dict(outer=4001, inner=320)
    outer()
    assert watch.seconds == dict(outer=8002, inner=640)


def test_a_part_that_fails_counts(clock):
    watch = end_to_end.Stopwatch()

    def fail():
        clock(2)
        raise KeyError

    def program():
        with pytest.raises(KeyError):
            watch.timed('inner', fail)()
        clock(1)

    watch.timed('outer', program)()
    assert watch.seconds == dict(outer=1, inner=2)


def test_what_another_thread_does_is_not_within(clock):
    watch = end_to_end.Stopwatch()

    def program():
        args = dict(target=watch.timed('beside', clock), args=[5])
        thread = threading.Thread(**args)
        thread.start()
        thread.join()

    watch.timed('main', program)()
    assert watch.seconds == dict(main=5, beside=5)


@pytest.mark.parametrize('tool', ['infer', 'file'])
def test_tools(tmp_path, tool):
    """All parts are there, and the tool does its work."""
    frames = [draw_spots(240, 200, *PEOPLE)] * 3
    clip = write_film(tmp_path / 'clip.avi', frames)
    model, out = write_spot_model(tmp_path), tmp_path / 'out'
    handler, argv = signal.getsignal(signal.SIGTERM), sys.argv
    measured = end_to_end.EndToEnd(clip, BOXES, out, threads=1)
    parts = set(end_to_end.PARTS)
    if tool == 'infer':
        seconds = measured.run_infer(*model, 'cpu')
    else:
        file = tmp_path / 'model.onnx'
        options = (*model, '--out', file, '--decode')
        run_main('deployment/export_onnx.py', *options)
        seconds = measured.run_file(file)
        parts -= {'decode'}  # is the network's
    signal.signal(signal.SIGTERM, handler)
    assert set(seconds) == {*parts, 'whole'}
    assert min(seconds.values()) > 0
    beside = seconds['read'] + seconds['write']
    alone = sum(seconds[k] for k in parts) - beside
    assert alone < seconds['whole']
    people = json.loads((out / 'predictions.json').read_bytes())
    places = np.reshape([p['keypoints'] for p in people], (3, 2, 3, 3))
    assert np.abs(places[..., :2] - PEOPLE).max() < 5.8
    assert (sys.argv, cv2.VideoCapture.__name__) == (argv, 'VideoCapture')


def test_what_is_no_video(tmp_path):
    (tmp_path / 'clip.mp4').write_bytes(b'no video')
    with pytest.raises(ValueError, match='clip.mp4 is no video'):
        end_to_end.EndToEnd(tmp_path / 'clip.mp4', BOXES, tmp_path, 1)
