"""Every tool explains itself, a bare percent sign in a text or not."""

import runpy
import sys

import pytest

from ..factories import ROOT

TOOLS = sorted((ROOT / 'tools').rglob('*.py'))


@pytest.mark.parametrize('path', TOOLS, ids=lambda p: p.stem)
def test_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(path), '--help'])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name='__main__')
    assert not stop.value.code
    assert capsys.readouterr().out.startswith(f'usage: {path.name}')
