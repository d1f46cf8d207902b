"""Detectors of people as ONNX models, with random weights."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config

from ..factories import DETECTOR, ROOT, different_norms, read

export = pytest.importorskip('mmpose_lossplus.experiments.export')
package = pytest.importorskip('mmpose_lossplus.experiments.export_detector')

DETECTORS = ROOT / 'configs' / 'detectors'
(MEDIUM,) = DETECTORS.glob('rtmdet_m_*.py')
(FASTER,) = DETECTORS.glob('faster-rcnn_*.py')
(LIGHT,) = (ROOT / 'configs/demo').glob('td-hm_mobilenetv3-dwattn_1xb16*.py')


def test_any_size():
    torch.manual_seed(0)
    cfg = read(DETECTOR)
    net = different_norms(package.random_detector(cfg))
    meta = package.describe_detector(cfg, net, 'random')
    session = export.load_session(package.detector_to_onnx(net, 14, meta))
    assert package.detector_difference(net, session) < 1e-4
    for height, width in ((96, 64), (32, 160)):
        image = 255 * torch.rand(1, 3, height, width)
        (found,) = session.run(None, dict(image=image.numpy()))
        # A box for each cell of strides 8, 16 and 32.
        cells = sum((height // s) * (width // s) for s in (8, 16, 32))
        assert found.shape == (cells, 5)
        assert 0 < found[:, 4].min() < found[:, 4].max() < 1
        np.testing.assert_allclose(found, net(image), rtol=1e-3, atol=1e-2)


def test_metadata():
    cfg = read(DETECTOR)
    net = package.random_detector(cfg)
    meta = package.describe_detector(cfg, net, 'x.pth')
    meta = {key: json.loads(value) for key, value in meta.items()}
    assert (meta['detects'], meta['channels']) == ('person', 'RGB')
    assert meta['fits_into'] == [320, 192]
    assert (meta['pad_size'], meta['pad_divisor']) == (None, 32)
    assert meta['pad_value'] == [127] * 3
    assert meta['nms_overlap'] == 0.65


def test_a_detector_of_coco():
    """Its pictures are padded with grey to a square, its classes are 80."""
    cfg = read(MEDIUM)
    cfg.model.backbone.init_cfg = None
    net = package.random_detector(cfg)
    assert net.label == 0
    meta = package.describe_detector(cfg, net, 'x.pth')
    assert json.loads(meta['pad_size']) == [640, 640]
    assert json.loads(meta['pad_value']) == [114, 114, 114]


def test_what_is_no_detector_of_people():
    cfg = read(DETECTOR)
    assert package.is_detector(cfg)
    assert not package.is_detector(read(LIGHT))
    assert not package.is_detector(Config())
    with pytest.raises(ValueError, match='"person" but cat, dog'):
        package.random_detector(cfg, ('cat', 'dog'))
    net = package.random_detector(cfg)
    cfg.test_dataloader.dataset.pipeline[1].keep_ratio = False
    with pytest.raises(ValueError, match='keep_ratio'):
        package.describe_detector(cfg, net, 'x.pth')
    cfg = read(FASTER)
    cfg.model.backbone.init_cfg = None
    with pytest.raises(ValueError, match='RTMDet, got a FasterRCNN'):
        package.random_detector(cfg)
