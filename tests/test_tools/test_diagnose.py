"""The table of a dump, and what it says of files that are none."""

import json
import pickle

import pytest
from mmengine.config import Config

from mmpose_lossplus import diagnostic_metrics

from ..factories import DETECTOR, coco_samples, load_tool

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
    samples = coco_samples(coco_data, codec, target=False)
    dump = tmp_path / 'dump.pkl'
    dump.write_bytes(pickle.dumps(samples))
    return dump, config


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The numbers that the tool writes."""
    tool = load_tool('analysis_tools/diagnose.py')

    def call(*args, out=tmp_path / 'numbers.json'):
        argv = ['diagnose.py', *args, '--out', out]
        monkeypatch.setattr('sys.argv', list(map(str, argv)))
        tool.main()
        return json.loads(out.read_text('utf-8'))

    return call


def test_table(files, run, capsys):
    numbers = run(*files)
    printed, told = capsys.readouterr()
    assert '\r' not in told  # but a line
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


def test_several_losses(files, run):
    """Each is there as if it were the config's, and all else once."""
    own = run(*files, '--cfg-options', 'model.head.loss.beta=0.1')
    rmse = 'model.head.loss.type=RegularizedMSELoss'
    rmse = run(*files, '--cfg-options', rmse)
    amse = "b=dict(type='AsymmetricMSELoss',beta=0.1)"
    both = run(*files, '--losses', amse, 'rmse')
    assert both['heatmap/b'] != both['heatmap/rmse']
    assert both == {
        name.replace('/objective', f'/{key}'): value
        for key, numbers in (('b', own), ('rmse', rmse))
        for name, value in numbers.items()
    }


def test_one_person_and_its_mirror_image(files, run, capsys):
    """One has no rank, and JSON no NaN; maps may be means."""
    dump, config = files
    config.write_text(CODEC.format(data=COCO, flip=True))
    samples = pickle.loads(dump.read_bytes())
    dump.write_bytes(pickle.dumps(samples[:1]))
    assert run(*files)['consistency/MSE'] is None
    printed = capsys.readouterr().out
    assert 'nan' in printed
    assert 'mirror image' in printed


def test_bad_input(files, run, tmp_path):
    dump, config = files
    samples = pickle.loads(dump.read_bytes())
    (tmp_path / 'torn.pkl').write_bytes(dump.read_bytes()[:1000])
    for sample in samples:
        del sample['pred_fields']
    bad = dict(dict=dict(a=1), empty=[], bare=samples)
    for name, content in bad.items():
        (tmp_path / f'{name}.pkl').write_bytes(pickle.dumps(content))
    mpii = tmp_path / 'mpii.py'
    mpii.write_text(CODEC.format(data=MPII, flip=False))
    for message, *args in (
        ('none.pkl', tmp_path / 'none.pkl', config),
        ('none.py', dump, tmp_path / 'none.py'),
        (str(config), config, config),
        ('torn.pkl', tmp_path / 'torn.pkl', config),
        ('dict.pkl', tmp_path / 'dict.pkl', config),
        ('empty.pkl', tmp_path / 'empty.pkl', config),
        ('output_heatmaps=True', tmp_path / 'bare.pkl', config),
        ('17 keypoints .* 16', dump, mpii),
        ('RTMDet', dump, DETECTOR),
        ('L9', dump, config, '--losses', 'L9'),
    ):
        with pytest.raises(SystemExit, match=message):
            run(*args)
    assert not (tmp_path / 'numbers.json').exists()
    with pytest.raises(SystemExit, match='none/numbers'):
        run(*files, out=tmp_path / 'none' / 'numbers')
