"""ONNX models with random weights."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmpose_lossplus import DepthwiseDeconvAttentionHead

from ..factories import CONFIGS, ROOT, read

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mmpose_lossplus.experiments import export  # noqa: E402

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
        type=DepthwiseDeconvAttentionHead,
        in_channels=512,
        out_channels=17,
        deconv_out_channels=(8,),
        deconv_kernel_sizes=(4,),
        deconv_attentions=(dict(type=ChannelSpatialAttention),),
        final_layer=dict(type=SigmoidConv2d, kernel_size=1, bias=False),
        loss=dict(type=KeypointMSELoss),
        decoder=dict(type=MSRAHeatmap, input_size=(48, 64),
                     heatmap_size=(12, 16), sigma=2),
    ),
)
test_dataloader = dict(dataset=dict(type=CocoDataset))
"""
# All that differs in what is exported, but for the sizes.
KINDS = [
    'amse/td-hm_cpn50_4xb32-140e_coco-256x192',
    'anchor_loss/td-hm_cpm_8xb64-210e_lsp-368x368',
    'anchor_loss/td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256',
    'anchor_loss/td-hm_hourglass8_anchor-1xb6-200e_lsp-ms6-256x256',
    'fmse/td-hm_hrnet-w32_fmse-4xb6-200e_mpii-256x256',
    'heatmap_weighting/td-hm_litehrnet-18_8xb32-210e_coco-testdev-384x288',
    'heatmap_weighting/td-hm_mobilenetv3-dwcbam_hmw-1xb64-210e_coco-256x192',
    'heatmap_weighting/td-hm_shufflenetv2_8xb64-210e_coco-testdev-256x192',
    'heatmap_weighting/td-hm_small-hrnet-w16_8xb64-210e_coco-256x192',
]


def shapes(values):
    return {
        v.name: [
            d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim
        ]
        for v in values
    }


@pytest.mark.parametrize('path', [LIGHT, ANCHOR])
@pytest.mark.parametrize('split', [True, False])
def test_light_head(path, split):
    """The same heatmaps, of batches of any size."""
    net = export.random_model(read(path))
    model = export.to_onnx(net, split)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count('ConvTranspose') == (0 if split else 2)
    assert shapes(model.graph.input) == {'image': ['batch', 3, 128, 96]}
    assert shapes(model.graph.output) == {'heatmaps': ['batch', 17, 32, 24]}
    session = export.load_session(model)
    assert export.relative_difference(net, session) < 1e-5
    if path == ANCHOR:  # probabilities, not logits
        image = net.random_input(5).numpy()
        (found,) = session.run(None, dict(image=image))
        assert 0 < found.min() < found.max() < 1


def test_normalize():
    """Pixels in, the same heatmaps out."""
    net = export.random_model(read(LIGHT), normalize=True)
    pixels = net.random_input(2)
    assert 250 < pixels.max() < 255
    mean, std = ([[[x]] for x in values] for values in (MEAN, STD))
    inside = net.model((pixels - torch.tensor(mean)) / torch.tensor(std), None)
    session = export.load_session(export.to_onnx(net))
    (found,) = session.run(None, dict(image=pixels.numpy()))
    expected = inside.detach().numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def decode(metadata):
    return {key: json.loads(value) for key, value in metadata.items()}


def test_metadata():
    cfg = read(LIGHT)
    meta = decode(export.describe(cfg, export.random_model(cfg), 'x.pth'))
    assert meta['input_size'] == [96, 128]
    assert meta['channels'] == 'RGB'
    assert meta['mean'] == pytest.approx(MEAN)
    assert meta['std'] == pytest.approx(STD)
    assert meta['normalizes'] is False
    assert len(meta['keypoint_names']) == 17
    assert meta['keypoint_names'][1:3] == ['left_eye', 'right_eye']
    assert meta['flip_indices'][1:3] == [2, 1]
    assert meta['decoder']['type'] == 'MSRAHeatmap'
    assert meta['decoder']['heatmap_size'] == [24, 32]
    assert meta['weights'] == 'x.pth'


def test_types_that_are_classes_and_pictures_of_one_channel(tmp_path):
    (tmp_path / 'classes.py').write_text(CLASSES)
    cfg = Config.fromfile(tmp_path / 'classes.py')
    net = export.random_model(cfg)
    assert type(net.model.head) is DepthwiseDeconvAttentionHead
    for split in (True, False):
        model = export.to_onnx(net, split)
        assert shapes(model.graph.input) == {'image': ['batch', 1, 64, 48]}
        session = export.load_session(model)
        assert export.relative_difference(net, session) < 1e-5
    meta = decode(export.describe(cfg, net, 'random'))
    assert meta['channels'] == 'grayscale'
    assert (meta['mean'], meta['std']) == ([120], [60])
    assert meta['decoder']['type'] == 'MSRAHeatmap'
    assert meta['keypoint_names'][0] == 'nose'


def test_a_nan_is_a_difference():
    net = export.random_model(read(LIGHT))
    session = export.load_session(export.to_onnx(net))
    torch.nn.init.constant_(net.model.head.final_layer.bias, float('nan'))
    assert not export.relative_difference(net, session) <= 1e9


@pytest.mark.slow
@pytest.mark.parametrize('name', KINDS)
def test_kinds(name):
    (path,) = [p for p in CONFIGS if str(p).endswith(f'{name}.py')]
    net = export.random_model(read(path))
    session = export.load_session(export.to_onnx(net))
    assert export.relative_difference(net, session) < 1e-4
