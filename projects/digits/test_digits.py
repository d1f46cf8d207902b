"""One real training on the digits with each loss of table 1."""

import importlib.util
import json
import math
from pathlib import Path

import cv2
import pandas as pd
import pytest

from mmpose_lossplus.experiments.configs import import_script

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('mmpretrain') is None,
    reason='there is no MMPretrain',
)


def load(name):
    return import_script(HERE / f'{name}.py')


def run(module, monkeypatch, *args):
    monkeypatch.setattr('sys.argv', ['tool', *map(str, args)])
    module.main()


@pytest.fixture
def digits(monkeypatch, tmp_path):
    out = tmp_path / 'digits'
    run(load('make_digits'), monkeypatch, '--out', out)
    return out


def test_pictures(digits, monkeypatch, capsys):
    """All of them, in the layout of a class a folder."""
    files = list(digits.rglob('*.png'))
    assert len(files) == 1797
    assert len([x for x in files if 'train' in x.parts]) == 600
    assert {x.parent.name for x in files} == set(map(str, range(10)))
    # The first is a zero: a ring with a hole.
    image = cv2.imread(str(digits / 'train' / '0' / '0000.png'), 0)
    assert image.shape == (8, 8)
    assert image[3, 2] == 15 * 12 > image[3, 3] == 0
    with pytest.raises(SystemExit):
        run(load('make_digits'), monkeypatch, '--num-train', 1797)
    assert 'between 1 and 1796, got 1797' in capsys.readouterr().err


@pytest.mark.slow
def test_each_loss_learns(digits, monkeypatch, tmp_path, capsys):
    """In ten epochs, warm-up included, on all the training pictures."""
    tool, out = load('train_losses'), tmp_path / 'work'
    options = [f'data_root={digits}', 'train_cfg.max_epochs=10']
    options += ['train_cfg.val_interval=10']
    args = ('--seeds', 0, '--work-dir', out, '--cfg-options', *options)
    run(tool, monkeypatch, *args)
    results = pd.read_csv(out / 'report.csv')
    losses = ['CE', 'BCE', 'OHEM', 'FL', 'AL γ 0.5', 'AL + CE warm-up']
    assert results['loss'].tolist() == losses
    assert (results['accuracy/top1'] > 80).all()
    assert (results['separation/gap'] > 50).all()
    # Each is a loss of its own.
    assert results['separation/logit gap'].nunique() == len(losses)
    # Cross entropy for the first five epochs, then Anchor Loss.
    (log,) = out.glob('AL+CEwarm-up/seed0/*/vis_data/scalars.json')
    lines = map(json.loads, log.read_text().splitlines())
    shares = {x['epoch']: x['ce_share'] for x in lines if 'epoch' in x}
    assert shares == {e: float(e <= 5) for e in range(1, 11)}
    text = (out / 'report.md').read_text(encoding='utf-8')
    assert text in capsys.readouterr().out
    for loss in losses:
        assert f'| {loss} ' in text


def test_report(monkeypatch):
    """Mean and deviation over seeds, and the paired difference to CE."""
    tool = load('train_losses')
    rows = [
        dict(loss=loss, seed=seed, **dict.fromkeys(tool.COLUMNS, value))
        for loss, values in dict(CE=(90, 92), AL=(91, 95)).items()
        for seed, value in enumerate(values)
    ]
    *_, of_ce, of_al = tool.report(pd.DataFrame(rows))
    assert '91.00 ± 1.41' in of_ce
    assert '[' not in of_ce
    half = 12.706 * math.sqrt(2) / math.sqrt(2)  # t of one degree of freedom
    assert f'+2.00 [{2 - half:+.2f}, {2 + half:+.2f}]' in of_al
