"""ONNX files in int8 and fp16."""

import json

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config

from mmpose_lossplus.experiments.weights import load_weights

from ..factories import ROOT, draw_spots, read, write_spot_data

export = pytest.importorskip('mmpose_lossplus.experiments.export')
package = pytest.importorskip('mmpose_lossplus.experiments.quantization')

LITE = 'td-hm_efficientnet-lite0-dwattn_1xb16-30e_demo-192x144.py'
LITE = ROOT / 'configs' / 'demo' / LITE


@pytest.fixture(scope='module')
def spots(tmp_path_factory):
    """Config, its path and weights of a model that knows its answers."""
    folder = tmp_path_factory.mktemp('spots')
    path, weights = write_spot_data(folder)
    return Config.fromfile(path), path, torch.load(weights)


def build(spots, *options):
    """The network and its model, with ``options`` of the tool."""
    cfg, _, weights = spots
    net = export.random_model(cfg, 'normalize' in options)
    load_weights(net.model, weights)
    if 'flip' in options:
        net.add_flip_test([0, 1, 2], net.model.test_cfg)
    if 'decode' in options:
        net.add_decoder()
    metadata = export.describe(cfg, net, 'spots.pth')
    return net, export.to_onnx(net, metadata=metadata)


def metadata_of(model):
    return {x.key: json.loads(x.value) for x in model.metadata_props}


def quantized(net, model, people, precision):
    if precision == 'fp16':
        return package.to_fp16(model)
    crops = package.crops_of(net, people)
    small, floats = package.to_int8(model, crops, limit=0.01)
    assert floats == {}
    return small


@pytest.mark.parametrize('precision', ['int8', 'fp16'])
@pytest.mark.parametrize(
    'options', [[], ['normalize', 'flip', 'decode']], ids=len
)
def test_the_same_file_in_fewer_bits(spots, precision, options):
    net, model = build(spots, *options)
    people = package.calibration_people(spots[0], str(spots[1]))
    small = quantized(net, model, people, precision)
    for name in ('input', 'output'):
        assert getattr(small.graph, name) == getattr(model.graph, name)
    expected = dict(metadata_of(model), precision=precision)
    assert metadata_of(small) == expected
    assert metadata_of(model)['precision'] == 'fp32'
    wanted = dict(int8=onnx.TensorProto.INT8, fp16=onnx.TensorProto.FLOAT16)
    weights = [x.data_type for x in small.graph.initializer if len(x.dims) > 1]
    assert wanted[precision] in weights
    # Heatmaps differ by less than steps of 1 / 255, or of 1 / 1024.
    crops = package.crops_of(net, people)
    error = package.error_of(small, model, crops)
    assert error < (2e-3 if precision == 'int8' else 1e-6)
    assert package.evaluate(spots[0], net, small)['PCK'] == 1
    if options:  # the decoder is as exact as before, places as fine
        session = export.load_session(export.with_heatmaps(small))
        assert export.decoding_difference(net, session) < 0.01


def test_only_the_network(spots):
    _, model = build(spots, 'normalize', 'flip', 'decode')
    parts = package.parts_of(model)
    assert set(parts) == {'backbone', 'final_layer'}
    kinds = {x.name: x.op_type for x in model.graph.node}
    assert [kinds[x] for x in parts['final_layer']] == ['Conv']


def test_the_worst_parts_stay_in_floats(spots, monkeypatch):
    net, model = build(spots)
    people = package.calibration_people(spots[0], str(spots[1]))
    crops = package.crops_of(net, people)
    errors = iter([0.1, 0.3] * 3)
    monkeypatch.setattr(package, 'error_of', lambda *_: next(errors))

    def kinds(limit):
        small, floats = package.to_int8(model, crops, limit)
        weights = [x for x in small.graph.initializer if len(x.dims) == 4]
        assert len(weights) == 1
        return floats, weights[0].data_type

    assert kinds(0.41) == ({}, onnx.TensorProto.INT8)
    # The second part is the convolution.
    floats, kind = kinds(0.39)
    assert (floats, kind) == ({'final_layer': 0.3}, onnx.TensorProto.FLOAT)
    with pytest.raises(ValueError, match='final_layer, backbone alone'):
        package.to_int8(model, crops, 0.01)


@pytest.mark.parametrize('flip', [[], ['flip']], ids=len)
def test_evaluation_is_that_of_mmpose(spots, flip):
    """Red for blue costs two of three keypoints, in the file alone."""
    net, model = build(spots, *flip)
    assert package.evaluate(spots[0], net, model) == dict(PCK=1)
    mixed = onnx.ModelProto()
    mixed.CopyFrom(model)
    (weight,) = (x for x in mixed.graph.initializer if len(x.dims) == 4)
    values = onnx.numpy_helper.to_array(weight)[[2, 1, 0]]
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    found = package.evaluate(spots[0], net, mixed)['PCK']
    assert 0.3 < found < 0.6
    # The network itself is what it was.
    image = net.random_input(1)
    np.testing.assert_allclose(
        net.predict(image)[0],
        export.load_session(model).run(None, dict(image=image.numpy()))[0],
        atol=1e-5,
    )


def test_a_folder_of_pictures(spots, tmp_path):
    """Each is a person, and its box grows as the config says."""
    places = np.array([[20, 30], [48, 64], [70, 100]])
    for i in range(package.FEWEST):
        picture = draw_spots(96, 128, places)
        assert cv2.imwrite(str(tmp_path / f'{i}.png'), picture)
    (tmp_path / 'notes.txt').write_text('no picture')
    people = package.calibration_people(spots[0], str(tmp_path))
    assert len(people) == package.FEWEST
    net, model = build(spots, 'decode')
    crops = dict(image=package.crops_of(net, people))
    keypoints, _ = export.load_session(model).run(None, crops)
    middle = np.array([48, 64])
    expected = middle + (places - middle) / 1.25
    assert np.abs(keypoints - expected).max() < 2


def test_people_are_taken_evenly(spots, monkeypatch):
    monkeypatch.setattr(package, 'CROPS', 4)
    people = package.calibration_people(spots[0], str(spots[1]))
    indices = [int(x['data_samples'].img_path[-6:-4]) for x in people]
    assert indices == [0, 5, 10, 15]


def test_what_cannot_calibrate(spots, tmp_path):
    cfg, path, _ = spots
    with pytest.raises(ValueError, match='has 0 people .* at least 16'):
        package.calibration_people(cfg, str(tmp_path))
    for i in range(package.FEWEST):
        (tmp_path / f'{i}.png').write_text('no picture')
    with pytest.raises(ValueError, match='cannot read .*0.png'):
        package.calibration_people(cfg, str(tmp_path))
    config = tmp_path / 'few.py'
    base = f'_base_ = {str(path)!r}\n'
    change = 'train_dataloader = dict(dataset=dict({}))'
    config.write_text(base + change.format('indices=3'))
    with pytest.raises(ValueError, match='few.py has 3 people'):
        package.calibration_people(cfg, str(config))
    config.write_text(base + change.format("ann_file='none.json'"))
    with pytest.raises(ValueError, match='none.json does not exist'):
        package.calibration_people(cfg, str(config))


def test_an_old_runtime(spots, monkeypatch):
    monkeypatch.setattr(package.onnxruntime, '__version__', '1.18.1')
    with pytest.raises(ValueError, match=r'1\.19 .* got 1\.18\.1'):
        package.calibration_people(spots[0], str(spots[1]))


@pytest.mark.slow
def test_a_light_head():
    """Convolutions have integers, deconvolutions have none to be had."""
    cfg = read(LITE)
    net = export.random_model(cfg)
    net.add_decoder()
    crops = net.random_input(4).numpy()
    for split in (True, False):
        model = export.to_onnx(net, split)
        kinds = [x.op_type for x in model.graph.node]
        small = package.Quantizer(model, crops)
        small = small.quantize(small.parts)
        kept = [x.op_type for x in small.graph.node]
        assert kept.count('Conv') == kinds.count('Conv')
        floats = {x.name for x in small.graph.initializer if x.data_type == 1}
        deconvs = [x for x in small.graph.node if x.op_type in package.FLOATS]
        assert len(deconvs) == (0 if split else 2)
        assert floats.issuperset(x.input[1] for x in deconvs)
        assert 'Pad' not in kept  # each is part of a convolution
        assert small.ByteSize() < 0.5 * model.ByteSize()
        session = export.load_session(export.with_heatmaps(small))
        assert export.decoding_difference(net, session) < 0.01
