"""A user's own loss: the page docs/add_a_loss.md, run as it is printed.

Only the demo's pictures are not downloaded; noise lies in their place.
"""

import re
import shutil
import sys

import pytest
from mmengine.logging import MessageHub

from .factories import blocks, call, train_and_test

PAGE = 'add_a_loss.md'


@pytest.fixture(scope='module')
def folder(coco_data, tmp_path_factory):
    """The reader's, with what the page has them save."""
    folder = tmp_path_factory.mktemp('user')
    for text in blocks(PAGE, 'python'):  # which begin with their name
        path = folder / re.match('# (.*)\n', text)[1]
        path.write_text(text, encoding='utf-8')
    shutil.copytree(coco_data, folder / 'data' / 'demo')
    return folder


def test_trains(folder, coco_data, tmp_path, monkeypatch):
    """With MMPose's runner."""
    monkeypatch.syspath_prepend(folder)
    train_and_test(folder / 'people.py', coco_data, tmp_path)
    scalar = MessageHub.get_current_instance().get_scalar('train/loss_kpt')
    assert 0 < scalar.current() < 1


@pytest.mark.slow
def test_page_leaves_what_it_says(folder):
    lines = [text for text in blocks(PAGE) if 'prepare_demo_data' not in text]
    script = f'set -e\npython() {{ {sys.executable} "$@"; }}\n'
    output = call('bash', '-c', script + ''.join(lines), cwd=folder).stdout
    assert '4 passed' in output
    for name in ('losses.png', 'losses_gradient.png'):
        assert (folder / 'drawn' / name).stat().st_size
    report = folder / 'work_dirs/compare/people/report.md'
    assert 'charbonnier' in report.read_text(encoding='utf-8')
