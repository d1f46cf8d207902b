"""Heatmaps decoded in PyTorch, ONNX Runtime and OpenVINO as by MMPose."""

import functools
import inspect
import io

import numpy as np
import pytest
import torch
from mmpose.codecs import (
    MegviiHeatmap,
    MSRAHeatmap,
    SimCCLabel,
    UDPHeatmap,
)
from mmpose.codecs.utils import get_heatmap_maximum

from mmpose_lossplus.experiments.decoding import HeatmapDecoder, newton_step

SIZES = dict(input_size=(192, 256), heatmap_size=(48, 64))
CODECS = dict(
    msra=MSRAHeatmap(sigma=2, **SIZES),
    dark=MSRAHeatmap(sigma=2, unbiased=True, **SIZES),
    dark_wide=MSRAHeatmap(
        sigma=3, unbiased=True, blur_kernel_size=17, **SIZES
    ),
    udp=UDPHeatmap(**SIZES),
    udp_narrow=UDPHeatmap(blur_kernel_size=7, **SIZES),
)
KINDS = 'gaussians', 'one', 'random', 'low', 'symmetric'


def gaussians(rng, people, peaks):
    """Like a model's, (people, 17, 64, 48): some peaks and low noise.

    Every third has its peaks at a border or in a corner.
    """
    x, y = np.arange(48), np.arange(64)[:, None]
    maps = 0.02 * rng.standard_normal((people, 17, 64, 48))
    for k, heatmap in enumerate(maps.reshape(-1, 64, 48)):
        for height in (1, 0.7, 0.5)[:peaks]:
            u, v = rng.uniform((0, 0), (47, 63))
            if k % 3 == 0:
                u = rng.choice([0, 1, 2, 45, 46, 47, u])
                v = rng.choice([0, 1, 2, 61, 62, 63, v])
            distance = (x - u) ** 2 + (y - v) ** 2
            heatmap += rng.uniform(0.3, height) * np.exp(-distance / 8)
    return maps


@functools.lru_cache(None)
def heatmaps(kind):
    """Batches of several sizes."""
    rng = np.random.default_rng(0)
    if kind == 'gaussians':
        maps = gaussians(rng, people=4, peaks=3)
    elif kind == 'one':
        maps = gaussians(rng, people=1, peaks=1)
    elif kind == 'random':
        maps = rng.random((2, 17, 64, 48))
    elif kind == 'low':  # random weights' may be negative
        maps = 1e-3 * rng.standard_normal((3, 17, 64, 48))
    else:  # as high on both sides of a whole number of cells
        places = [np.full((1, 17, 2), x, np.float32) for x in (0, 96, 180)]
        maps = [CODECS['msra'].encode(x)['heatmaps'] for x in places]
    return np.array(maps, np.float32)


def in_pytorch(codec):
    return HeatmapDecoder(codec)


def in_onnx(codec):
    """The bytes of a model of the decoder alone."""
    file, names = io.BytesIO(), ['heatmaps', 'keypoints', 'scores']
    options = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False
    torch.onnx.export(
        HeatmapDecoder(codec),
        (torch.rand(1, 17, 64, 48),),
        file,
        opset_version=14,
        input_names=names[:1],
        output_names=names[1:],
        dynamic_axes=dict.fromkeys(names, {0: 'batch'}),
        **options,
    )
    return file.getvalue()


def in_onnxruntime(codec):
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(in_onnx(codec))
    return lambda maps: session.run(None, dict(heatmaps=maps.numpy()))


def in_openvino(codec):
    openvino = pytest.importorskip('openvino')
    core = openvino.Core()
    options = dict(INFERENCE_PRECISION_HINT='f32')
    model = core.compile_model(core.read_model(in_onnx(codec)), 'CPU', options)
    return lambda maps: list(model(maps.numpy()).values())


@pytest.mark.parametrize('runtime', [in_pytorch, in_onnxruntime, in_openvino])
@pytest.mark.parametrize('name', CODECS)
@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_as_mmpose_decodes(name, runtime):
    codec = CODECS[name]
    decode = runtime(codec)
    for kind in KINDS:
        maps = heatmaps(kind)
        decoded = [codec.decode(person) for person in maps]
        expected, scores = map(np.concatenate, zip(*decoded))
        found = decode(torch.from_numpy(maps))
        np.testing.assert_allclose(found[1], scores, rtol=1e-6)
        # Of noise, MMPose's refinement may go far out of the picture, where
        # it divides by nearly nothing.
        cells = get_heatmap_maximum(maps)[0] * codec.scale_factor
        near = (np.abs(expected - cells) <= 2 * codec.scale_factor).all(2)
        assert near.mean() > (0.2 if kind in ('random', 'low') else 0.95)
        difference = np.abs(np.asarray(found[0]) - expected)
        assert difference[near].max() < 0.01, kind


@pytest.mark.parametrize('name', CODECS)
def test_no_keypoint(name):
    """MMPose's UDP reads from other keypoints there, or divides 0 by 0."""
    maps = np.stack([heatmaps('one')[0]] * 2)
    maps[0, 3], maps[0, 4] = 0, -1
    keypoints, scores = HeatmapDecoder(CODECS[name])(torch.from_numpy(maps))
    step = 4 if 'udp' not in name else torch.tensor([192 / 47, 256 / 63])
    assert torch.allclose(keypoints[0, 3:5], torch.tensor(-1.0) * step)
    assert scores[0, 3:5].tolist() == [0, -1]
    others = torch.arange(17) != 4
    others[3] = False
    assert torch.equal(keypoints[0, others], keypoints[1, others])
    if name == 'msra':
        expected, _ = CODECS[name].decode(maps[0])
        np.testing.assert_allclose(keypoints[0], expected[0], atol=0.01)


def test_newton_step():
    """(x - 1)^2 + x y + (y + 2)^2 is level where 2 x + y = 2 and x + 2 y = -4.

    From (0, 0) that is (8/3, -10/3); a plane is level nowhere.
    """
    derivatives = (-2.0, 4.0, 2.0, 1.0, 2.0)
    step = newton_step(*map(torch.tensor, derivatives))
    torch.testing.assert_close(step, torch.tensor([8 / 3, -10 / 3]))
    plane = newton_step(*map(torch.tensor, (1.0, 1.0, 0.0, 0.0, 0.0)))
    assert plane.tolist() == [0, 0]


class Encodes(MSRAHeatmap):
    """Differs only in what a model is trained with."""

    def encode(self, keypoints, keypoints_visible=None):
        raise NotImplementedError


class Decodes(MSRAHeatmap):
    """Differs in what is decoded."""

    def decode(self, encoded):
        raise NotImplementedError


def test_other_codecs():
    HeatmapDecoder(Encodes(sigma=2, **SIZES))
    for codec, name in (
        (Decodes(sigma=2, **SIZES), 'Decodes'),
        (MegviiHeatmap(kernel_size=11, **SIZES), 'MegviiHeatmap'),
        (UDPHeatmap(heatmap_type='combined', **SIZES), "Heatmap of .*'combi"),
        (SimCCLabel(input_size=(192, 256)), 'SimCCLabel'),
        (None, 'NoneType'),
    ):
        with pytest.raises(ValueError, match=name):
            HeatmapDecoder(codec)
