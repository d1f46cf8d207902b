"""The table of a dump, and what it says of files that are none."""

import json
import pickle

import pytest
from mmengine.config import Config

from mmpose_lossplus import diagnostic_metrics

from ..factories import ROOT, coco_samples, load_tool

CODEC = """
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/{data}'
custom_imports = dict(imports=['mmpose_lossplus'])
model = dict(
    head=dict(
        decoder=dict(input_size=(48, 64), heatmap_size=(12, 16), sigma=1),
        loss=dict(type='AsymmetricMSELoss'),
    ),
    test_cfg=dict(flip_test={flip}),
)
"""
COCO = 'coco/td-hm_res50_8xb64-210e_coco-256x192.py'
MPII = 'mpii/td-hm_res50_8xb64-210e_mpii-256x256.py'


@pytest.fixture
def files(coco_data, tmp_path):
    """A dump and its config."""
    config = tmp_path / 'config.py'
    config.write_text(CODEC.format(data=COCO, flip=False))
    codec = Config.fromfile(config).model.head.decoder
    dump = tmp_path / 'dump.pkl'
    dump.write_bytes(
        pickle.dumps(coco_samples(coco_data, codec, target=False))
    )
    return dump, config


@pytest.fixture
def run(monkeypatch):
    tool = load_tool('analysis_tools/diagnose.py')

    def call(*args):
        monkeypatch.setattr('sys.argv', ['diagnose.py', *map(str, args)])
        tool.main()

    return call


def test_table(files, run, tmp_path, capsys):
    out = tmp_path / 'numbers.json'
    run(*files, '--out', out)
    printed = capsys.readouterr().out
    numbers = json.loads(out.read_text('utf-8'))
    metrics = diagnostic_metrics(Config.fromfile(files[1]))
    assert len(metrics) == len({name.split('/')[0] for name in numbers})
    for name, value in numbers.items():
        assert name in printed
        assert value is None or f'{value:.4g}' in printed
    # Predictions are a pixel off in x and in y, of a box of 88 pixels.
    assert numbers['error/mean'] == pytest.approx(2**0.5 / 88, rel=1e-4)
    assert numbers['side_swaps/swapped'] < 5
    assert 'in percent' in printed
    assert 'mirror image' not in printed


def test_several_losses(files, run, tmp_path):
    """Each is there as if it were the config's, and all else once."""
    dump, config = files
    numbers = {}
    for name, args in dict(
        own=['--cfg-options', 'model.head.loss.beta=0.1'],
        other=['--cfg-options', 'model.head.loss.type=RegularizedMSELoss'],
        both=['--losses', "b=dict(type='AsymmetricMSELoss',beta=0.1)", 'rmse'],
    ).items():
        out = tmp_path / f'{name}.json'
        run(*files, '--out', out, *args)
        numbers[name] = json.loads(out.read_text('utf-8'))
    expected = {}
    for name, key in (('own', 'b'), ('other', 'rmse')):
        for metric, value in numbers[name].items():
            expected[metric.replace('/objective', f'/{key}')] = value
    assert expected['heatmap/b'] != expected['heatmap/rmse']
    assert numbers['both'] == expected


def test_one_person_and_its_mirror_image(files, run, tmp_path, capsys):
    """One has no rank, and JSON no NaN; maps may be means."""
    dump, config = files
    config.write_text(CODEC.format(data=COCO, flip=True))
    samples = pickle.loads(dump.read_bytes())
    dump.write_bytes(pickle.dumps(samples[:1]))
    out = tmp_path / 'numbers.json'
    run(dump, config, '--out', out)
    assert json.loads(out.read_text('utf-8'))['consistency/MSE'] is None
    printed = capsys.readouterr().out
    assert 'nan' in printed
    assert 'mirror image' in printed


def test_bad_input(files, run, tmp_path):
    dump, config = files
    samples = pickle.loads(dump.read_bytes())
    detector = 'configs/detectors/rtmdet-nano_1xb4-30e_demo-person.py'
    mpii = tmp_path / 'mpii.py'
    mpii.write_text(CODEC.format(data=MPII, flip=False))
    bad = {
        'torn': dump.read_bytes()[:1000],
        'dict': pickle.dumps(dict(a=1)),
        'empty': pickle.dumps([]),
        'bare': pickle.dumps(
            [
                {k: v for k, v in sample.items() if k != 'pred_fields'}
                for sample in samples
            ]
        ),
    }
    for name, content in bad.items():
        (tmp_path / f'{name}.pkl').write_bytes(content)
    out = tmp_path / 'numbers.json'
    for message, *args in (
        ('none.pkl', tmp_path / 'none.pkl', config),
        ('none.py', dump, tmp_path / 'none.py'),
        ('none/numbers', dump, config, '--out', tmp_path / 'none/numbers'),
        (str(config), config, config),
        ('torn.pkl', tmp_path / 'torn.pkl', config),
        ('dict.pkl', tmp_path / 'dict.pkl', config),
        ('empty.pkl', tmp_path / 'empty.pkl', config),
        ('output_heatmaps=True', tmp_path / 'bare.pkl', config),
        ('17 keypoints .* 16', dump, mpii),
        ('RTMDet', dump, ROOT / detector),
        ('L9', dump, config, '--losses', 'L9'),
    ):
        with pytest.raises(SystemExit, match=message) as error:
            run(*args, *(() if '--out' in args else ('--out', out)))
        assert '\n' not in str(error.value)
        assert not out.exists()
