"""Targets of the hourglass code: 1.75 pixels in a window of 7x7."""

import numpy as np
import pytest
from mmpose.codecs import MSRAHeatmap
from mmpose.registry import KEYPOINT_CODECS

from mmpose_lossplus import HourglassHeatmap

SIZES = dict(input_size=(256, 256), heatmap_size=(64, 64))


def draw(*points, **kwargs):
    """Heatmaps of keypoints given in pixels of the heatmap, and weights."""
    codec = HourglassHeatmap(**SIZES, **kwargs)
    encoded = codec.encode(4 * np.array([points], dtype=np.float32))
    return encoded['heatmaps'], encoded['keypoint_weights']


def naive(x, y, sigma=1.75, radius=3):
    heatmap = np.zeros((64, 64))
    for i in range(max(0, y - radius), min(64, y + radius + 1)):
        for j in range(max(0, x - radius), min(64, x + radius + 1)):
            square = (j - x) ** 2 + (i - y) ** 2
            heatmap[i, j] = np.exp(-square / (2 * sigma**2))
    return heatmap


@pytest.mark.parametrize('point', [(20, 30), (0, 0), (63, 1)])
@pytest.mark.parametrize(
    'kwargs', [{}, dict(sigma=1.0), dict(sigma=2.5, radius=5)]
)
def test_against_a_naive_one(point, kwargs):
    (heatmap,), _ = draw(point, **kwargs)
    np.testing.assert_allclose(heatmap, naive(*point, **kwargs), rtol=1e-5)


def test_pixels_by_hand():
    """13 exceed 0.5, by d^2 <= 4; 49 are not 0; MSRA's of sigma 1 has 5."""
    ((heatmap,), _) = draw((20, 30))
    assert heatmap.dtype == np.float32
    assert heatmap[30, 20] == 1
    assert (heatmap > 0.5).sum() == 13
    assert (heatmap != 0).sum() == 49
    assert (heatmap[27:34, 17:24] > 0).all()
    (msra,) = MSRAHeatmap(**SIZES, sigma=1).encode(
        np.array([[(80, 120)]], dtype=np.float32)
    )['heatmaps']
    assert (msra > 0.5).sum() == 5
    assert ((msra != 0) == (heatmap != 0)).all()


def test_keypoints_that_are_not_there():
    """Far outside, and without label: nothing drawn, weight 0."""
    heatmaps, weights = draw((200, 5), (5, 5))
    assert weights.tolist() == [[0, 1]]
    assert not heatmaps[0].any()
    encoded = HourglassHeatmap(**SIZES).encode(
        np.full((1, 1, 2), 80, dtype=np.float32), np.zeros((1, 1))
    )
    assert not encoded['heatmaps'].any()
    assert not encoded['keypoint_weights'].any()


def test_decodes_as_msra():
    cfg = dict(type='HourglassHeatmap', **SIZES)
    codec, msra = KEYPOINT_CODECS.build(cfg), MSRAHeatmap(**SIZES, sigma=2)
    heatmaps, _ = draw((20, 30), (7, 50))
    heatmaps += np.random.default_rng(0).random(heatmaps.shape) / 9
    assert (codec.sigma, codec.radius) == (1.75, 3)
    for mine, other in zip(codec.decode(heatmaps), msra.decode(heatmaps)):
        assert (mine == other).all()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(sigma=0), 'sigma .* got 0'),
        (dict(sigma=float('nan')), 'sigma .* got nan'),
        (dict(radius=0), 'radius .* got 0'),
        (dict(radius=2.5), 'radius .* got 2.5'),
    ],
)
def test_bad_parameters(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HourglassHeatmap(**SIZES, **kwargs)
