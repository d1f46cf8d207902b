"""ONNX models with random weights."""

import json
from pathlib import Path

import mmpose
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from mmpose_lossplus import DepthwiseDeconvAttentionHead
from mmpose_lossplus.experiments.weights import load_weights

from ..factories import CONFIGS, ROOT, draw_spots, read, write_spot_model

export = pytest.importorskip('mmpose_lossplus.experiments.export')

DEMO = ROOT / 'configs' / 'demo'
LIGHT = DEMO / 'td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
HOST = Path(mmpose.__file__).parent / '.mim/configs/body_2d_keypoint'
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


def test_metadata_of_the_crop_and_the_drawing(tmp_path):
    config, _ = write_spot_model(tmp_path, udp=True)
    cfg = Config.fromfile(config)
    pipeline = cfg.test_dataloader.dataset.pipeline
    pipeline[1].padding = 1.5
    # Of several crops, the first is MMPose's own.
    wider = dict(pipeline[1], padding=2)
    steps = [[pipeline[1], wider], [pipeline[2]], [pipeline[3]]]
    tta = dict(type='TestTimeAug', transforms=steps)
    cfg.test_dataloader.dataset.pipeline = [pipeline[0], tta]
    net = export.random_model(cfg)
    meta = decode(export.describe(cfg, net, 'random'))
    assert (meta['box_padding'], meta['use_udp']) == (1.5, True)
    assert meta['box_aspect_ratio'] == 0.75
    assert (meta['decoded'], meta['flip_test']) == (False, False)
    assert meta['keypoint_names'] == ['red', 'green', 'blue']
    assert meta['keypoint_colors'] == [[0, 0, 0], [80, 0, 0], [160, 0, 0]]
    assert meta['skeleton_links'] == [[0, 2]]
    assert meta['skeleton_link_colors'] == [[0, 200, 0]]
    net.add_flip_test([0, 1, 2], {})
    net.add_decoder()
    cfg.pop('test_dataloader')
    meta = decode(export.describe(cfg, net, 'random'))
    assert (meta['box_padding'], meta['use_udp']) == (1.25, False)
    assert (meta['decoded'], meta['flip_test']) == (True, True)
    assert meta['skeleton_links'] == meta['keypoint_colors'] == []


def mmpose_predicts(net, image, flip_indices):
    """Keypoints in pixels of the crop (B, K, 2), scores and heatmaps."""
    size = tuple(net.model.head.decoder.input_size)
    meta = dict(input_size=size, flip_indices=flip_indices)
    scale = np.array(size, float)
    meta.update(input_scale=scale, input_center=scale / 2)
    samples = [PoseDataSample(metainfo=meta) for _ in image]
    for person in samples:
        person.gt_instances = InstanceData(
            bboxes=np.array([[0, 0, *size]]), bbox_scores=np.ones(1)
        )
    with torch.no_grad():
        samples = net.model.predict(image, samples)
    people = [x.pred_instances for x in samples]
    return (
        np.concatenate([x.keypoints for x in people]),
        np.concatenate([x.keypoint_scores for x in people]),
        torch.stack([x.pred_fields.heatmaps for x in samples]),
    )


PLACES = [[(30, 40), (40, 70), (70, 90)], [(1, 2), (94, 60), (50, 126)]]


@pytest.mark.parametrize('kind', ['light', 'spots', 'spots of UDP'])
@pytest.mark.parametrize(
    ('flip', 'shift'), [(True, True), (True, False), (False, True)]
)
def test_as_mmpose_predicts(kind, flip, shift, tmp_path):
    """Its own predict, with the crop and its mirror image as two passes.

    Random weights make maps that are as high in several places, so that their
    keypoints can only be compared with those of the same maps.
    """
    if kind == 'light':
        cfg = read(LIGHT)
        net = export.random_model(cfg)
        image = net.random_input(3)
    else:
        files = write_spot_model(tmp_path, udp=kind != 'spots')
        cfg = Config.fromfile(files[0])
        net = export.random_model(cfg)
        load_weights(net.model, torch.load(files[1]))
        crops = np.stack([draw_spots(96, 128, person) for person in PLACES])
        image = torch.from_numpy(crops[..., ::-1] / np.float32(255))
        image = image.permute(0, 3, 1, 2)
    options = dict(flip_test=flip, shift_heatmap=shift, output_heatmaps=True)
    net.model.test_cfg.update(options)
    indices = export.metainfo(cfg)['flip_indices']
    keypoints, scores, heatmaps = mmpose_predicts(net, image, indices)
    if flip:
        net.add_flip_test(indices, net.model.test_cfg)
    net.add_decoder()
    model = export.to_onnx(net, split_deconv=kind == 'light')
    assert 'ScatterND' not in [node.op_type for node in model.graph.node]
    number = len(indices)
    outputs = {
        x.name: [
            d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim
        ]
        for x in model.graph.output
    }
    assert outputs == dict(
        keypoints=['batch', number, 2], scores=['batch', number]
    )
    session = export.load_session(export.with_heatmaps(model))
    image = dict(image=image.numpy())
    found = session.run(['keypoints', 'scores', 'heatmaps'], image)
    size = heatmaps.abs().max().item()
    np.testing.assert_allclose(found[2], heatmaps, atol=1e-5 * size)
    np.testing.assert_allclose(found[1], scores, atol=1e-5 * size)
    if kind != 'light':
        assert np.abs(found[0] - keypoints).max() < 0.01
    assert export.relative_difference(net, session) < 1e-5
    assert export.decoding_difference(net, session) < 0.01
    # The heatmaps are no output of the file itself.
    kept = export.load_session(model).run(None, image)
    for a, b in zip(kept, found[:2]):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_what_has_no_flip_test_or_decoder():
    cfg = read(LIGHT)
    net = export.random_model(cfg)
    indices = export.metainfo(cfg)['flip_indices']
    with pytest.raises(ValueError, match='17 keypoints .* got 0'):
        net.add_flip_test([], {})
    with pytest.raises(ValueError, match="'udp_combined'"):
        net.add_flip_test(indices, dict(flip_mode='udp_combined'))
    simcc = next(p for p in HOST.glob('*simcc/coco/simcc_res50_*256x192.py'))
    net = export.random_model(read(simcc))
    with pytest.raises(ValueError, match='SimCCHead'):
        net.add_flip_test(indices, {})
    with pytest.raises(ValueError, match='SimCCLabel'):
        net.add_decoder()


def test_several_heads():
    cfg = read(LIGHT)
    pose = cfg.model.head
    cfg.model.head = dict(
        type='VisPredictHead',
        pose_cfg=pose,
        loss=dict(type='BCELoss', use_sigmoid=True),
    )
    with pytest.raises(ValueError, match='got a VisPredictHead'):
        export.random_model(cfg)
    net = export.random_model(read(LIGHT))
    forward = net.model.head.forward
    net.model.head.forward = lambda feats: (forward(feats),) * 2
    with pytest.raises(ValueError, match='heatmaps alone'):
        net.add_decoder()


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
