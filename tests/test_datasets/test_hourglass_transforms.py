"""The distributions of the hourglass code, and that MMPose applies them."""

import numpy as np
import pytest
from mmpose.registry import TRANSFORMS
from scipy.stats import kstest, norm

from mmpose_lossplus import HourglassBBoxTransform, RandomChannelGain


def boxes(number=20000, **kwargs):
    """Logarithm of the scale and rotation that many boxes get."""
    np.random.seed(0)
    cfg = dict(type='HourglassBBoxTransform', **kwargs)
    centre, scale = np.ones((2, number, 2), dtype=np.float32)
    results = dict(bbox_center=centre, bbox_scale=[100, 200] * scale)
    results = TRANSFORMS.build(cfg)(results)
    assert (results['bbox_center'] == 1).all()
    factor = results['bbox_scale'] / [100, 200]
    np.testing.assert_allclose(factor[:, 0], factor[:, 1])
    return np.log2(factor[:, 0]), results['bbox_rotation']


@pytest.mark.parametrize(
    ('kwargs', 'width', 'degrees', 'share'),
    [
        ({}, 0.25, 30, 0.4),
        (
            dict(scale_factor=0.1, rotate_factor=20, rotate_prob=1),
            *(0.1, 20, 1),
        ),
    ],
)
def test_distributions(kwargs, width, degrees, share):
    scale, rotate = boxes(**kwargs)
    rotated = rotate[rotate != 0]
    assert len(rotated) / len(rotate) == pytest.approx(share, abs=0.02)
    for values, std in ((scale, width), (rotated, degrees)):
        assert abs(values).max() == pytest.approx(2 * std)
        # Beyond two deviations all are on the edge: 2.3 percent a side.
        edge = abs(values) > 1.999 * std
        assert edge.mean() == pytest.approx(2 * norm.sf(2), abs=0.005)
        inner = norm(scale=std)
        between = (values[~edge] / (2 * std) + 1) / 2
        assert 0 < between.min() < between.max() < 1
        mass = inner.cdf(values[~edge]) - norm.cdf(-2)
        assert kstest(mass / (1 - 2 * norm.sf(2)), 'uniform').pvalue > 0.01
    assert abs(np.corrcoef(scale, rotate)[0, 1]) < 0.03


def test_gain_of_each_channel():
    np.random.seed(0)
    transform = TRANSFORMS.build(dict(type='RandomChannelGain'))
    img = np.full((4, 5, 3), 200, dtype=np.uint8)
    img[0] = 0
    gains = []
    for _ in range(300):
        out = transform(dict(img=img))['img']
        assert out.dtype == np.uint8
        assert (out[0] == 0).all()
        assert (out[1:] == out[1, 0]).all()
        gains.append(out[1, 0] / 200)
    gains = np.array(gains)
    # From 0.6 to where 200 is white, at 255; each channel by itself.
    assert gains.min() == pytest.approx(0.6, abs=0.02)
    assert gains.max() == pytest.approx(255 / 200)
    assert (gains == 255 / 200).mean() == pytest.approx(0.125 / 0.8, abs=0.04)
    assert abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.15
    assert (img[1:] == 200).all()


def test_no_gain():
    img = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)
    transform = RandomChannelGain(gain=(1, 1))
    assert (transform(dict(img=img))['img'] == img).all()


@pytest.mark.parametrize('gain', [(1.4, 0.6), (-0.1, 1.0)])
def test_bad_gain(gain):
    with pytest.raises(ValueError, match='gain .* got '):
        RandomChannelGain(gain)


def test_they_say_what_they_are():
    assert 'rotate_prob=0.4' in repr(HourglassBBoxTransform())
    assert '(0.6, 1.4)' in repr(RandomChannelGain())
