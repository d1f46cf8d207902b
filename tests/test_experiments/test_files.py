"""Files that are there as a whole or not at all, and locks."""

import os

import pytest
from filelock import FileLock

from mmpose_lossplus.experiments import files


def test_cut_off_while_writing(tmp_path):
    path = tmp_path / 'x.json'
    files.write_json(path, dict(name='é'))

    def half(partial):
        partial.write_text('{')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.replace(path, half)
    assert files.read_json(path) == dict(name='é')


def test_lock(tmp_path):
    """One at a time, who says who it is; free for the next after that."""
    path = tmp_path / 'lock'

    def take():
        with files.lock(path):
            return True

    for _ in range(2):
        with (
            files.lock(path),
            pytest.raises(
                SystemExit, match=f'{tmp_path}.*process {os.getpid()} '
            ),
        ):
            take()
    assert take()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def acquire(self, timeout):
        raise NotImplementedError

    monkeypatch.setattr(FileLock, 'acquire', acquire)
    with files.lock(tmp_path / 'lock'), files.lock(tmp_path / 'lock'):
        pass
