"""The commands of docs/first_config.md, on other pictures than the demo's."""

import sys

import pytest

from .factories import blocks, call

PAGE = 'first_config.md'


@pytest.mark.slow
def test_first_config_trains(coco_data, tmp_path):
    (config,) = blocks(PAGE, 'python')
    (tmp_path / 'first.py').write_text(config, encoding='utf-8')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'demo').symlink_to(coco_data)
    prepare, train, _ = blocks(PAGE)
    tools, _ = prepare.splitlines()  # the other one is a download
    script = f'set -e\npython() {{ {sys.executable} "$@"; }}\n'
    script = f'{script}{tools}\n{train}'
    output = call('bash', '-c', script, cwd=tmp_path).stdout
    for tool in ('train.py', 'test.py'):
        assert f'{tool} has finished.' in output
    assert (tmp_path / 'work_dirs/first/epoch_1.pth').stat().st_size
