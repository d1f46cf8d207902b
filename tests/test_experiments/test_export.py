"""ONNX models with random weights."""

import json

import pytest
from mmengine.config import Config

from mmpose_lossplus import DepthwiseDeconvAttentionHead

from ..factories import CONFIGS, ROOT, read

export = pytest.importorskip('mmpose_lossplus.experiments.export')

DEMO = ROOT / 'configs' / 'demo'
LIGHT = DEMO / 'td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
ANCHOR = DEMO / 'td-hm_mobilenetv3-dwattn_anchor-1xb16-60e_demo-128x96.py'
# Types are classes, pictures have one channel.
CLASSES = """
from mmpose.codecs import MSRAHeatmap
from mmpose.datasets import CocoDataset
from mmpose.models import (KeypointMSELoss, PoseDataPreprocessor, ResNet,
                           TopdownPoseEstimator)
from mmpose_lossplus import (ChannelSpatialAttention,
                             DepthwiseDeconvAttentionHead, SigmoidConv2d)

model = dict(
    type=TopdownPoseEstimator,
    data_preprocessor=dict(type=PoseDataPreprocessor, mean=[120], std=[60]),
    backbone=dict(type=ResNet, depth=18, in_channels=1),
    head=dict(
        type=DepthwiseDeconvAttentionHead, in_channels=512, out_channels=17,
        deconv_out_channels=(8,), deconv_kernel_sizes=(4,),
        deconv_attentions=(dict(type=ChannelSpatialAttention),),
        final_layer=dict(type=SigmoidConv2d, kernel_size=1, bias=False),
        loss=dict(type=KeypointMSELoss),
        decoder=dict(type=MSRAHeatmap, input_size=(48, 64),
                     heatmap_size=(12, 16), sigma=2)))
test_dataloader = dict(dataset=dict(type=CocoDataset))
"""
# All that differs in what is exported, but for the sizes.
KINDS = ['cpm', 'cpn50', 'hourglass2_anchor', 'ms6', 'hrnet-w32', 'dwcbam']
KINDS += ['_litehrnet-18', 'shufflenetv2', 'small-hrnet-w16']


@pytest.mark.parametrize('path', [LIGHT, ANCHOR])
@pytest.mark.parametrize('split', [True, False])
def test_light_head(path, split):
    """The same heatmaps, of batches of any size."""
    net = export.random_model(read(path))
    model = export.to_onnx(net, split)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count('ConvTranspose') == (0 if split else 2)
    session = export.load_session(model)
    assert session.get_inputs()[0].shape == ['batch', 3, 128, 96]
    assert session.get_outputs()[0].shape == ['batch', 17, 32, 24]
    assert export.relative_difference(net, session) < 1e-5
    if path == ANCHOR:  # probabilities, not logits
        image = net.random_input(5).numpy()
        (found,) = session.run(None, dict(image=image))
        assert 0 < found.min() < found.max() < 1


def decode(metadata):
    return {key: json.loads(value) for key, value in metadata.items()}


def test_metadata():
    cfg = read(LIGHT)
    meta = decode(export.describe(cfg, export.random_model(cfg), 'x.pth'))
    assert meta['input_size'] == [96, 128]
    assert meta['channels'] == 'RGB'
    assert meta['mean'] == pytest.approx([123.675, 116.28, 103.53])
    assert meta['std'] == pytest.approx([58.395, 57.12, 57.375])
    assert len(meta['keypoint_names']) == 17
    assert meta['keypoint_names'][1:3] == ['left_eye', 'right_eye']
    assert meta['flip_indices'][1:3] == [2, 1]
    assert meta['decoder']['type'] == 'MSRAHeatmap'
    assert meta['decoder']['heatmap_size'] == [24, 32]


def test_types_that_are_classes_and_pictures_of_one_channel(tmp_path):
    (tmp_path / 'classes.py').write_text(CLASSES)
    cfg = Config.fromfile(tmp_path / 'classes.py')
    net = export.random_model(cfg)
    assert type(net.model.head) is DepthwiseDeconvAttentionHead
    for split in (True, False):
        session = export.load_session(export.to_onnx(net, split))
        assert session.get_inputs()[0].shape == ['batch', 1, 64, 48]
        assert export.relative_difference(net, session) < 1e-5
    meta = decode(export.describe(cfg, net, 'random'))
    assert meta['channels'] == 'grayscale'
    assert (meta['mean'], meta['std']) == ([120], [60])
    assert meta['decoder']['type'] == 'MSRAHeatmap'
    assert meta['keypoint_names'][0] == 'nose'


@pytest.mark.slow
@pytest.mark.parametrize('name', KINDS)
def test_kinds(name):
    cfg = read(next(p for p in CONFIGS if name in p.stem))
    model = cfg.model.get('module', cfg.model)
    # Less of what is there many times.
    backbone = model.backbone
    if backbone.type in ('CPM', 'StackedHourglass'):
        kind = 'num_stages' if backbone.type == 'CPM' else 'num_stacks'
        backbone[kind] = model.head.num_stages = 2
        model.head.decoder.input_size = (128, 128)
    elif backbone.type == 'LiteHRNet':
        backbone.extra.stages_spec.num_modules = (1, 1, 1)
    elif backbone.type == 'HRNet':
        for stage in ('stage3', 'stage4'):
            backbone.extra[stage].num_modules = 1
    net = export.random_model(cfg)
    session = export.load_session(export.to_onnx(net))
    assert export.relative_difference(net, session) < 1e-4
