"""PCK on LSP by hand, and against a loop over pictures and joints."""

import numpy as np
import pytest

from mmpose_lossplus.datasets import LspDataset
from mmpose_lossplus.evaluation import LspPCKAccuracy

COLUMNS = {
    'Head': ('neck', 'head_top'),
    **{
        name.title(): (f'right_{name}', f'left_{name}')
        for name in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
    },
}
NAMES = LspDataset(lazy_init=True).metainfo['keypoint_name2id']


def evaluate(pred, truth, visible, **kwargs):
    metric = LspPCKAccuracy(**kwargs)
    for p, t, v in zip(pred, truth, visible):
        labels = dict(keypoints=t[None], keypoints_visible=v)
        person = dict(
            pred_instances=dict(keypoints=p[None]), gt_instances=labels
        )
        metric.process([], [person])
    return metric.evaluate(len(pred))


def people(n, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 100, (n, 14, 2))
    return truth + rng.normal(0, 10, truth.shape), truth, np.ones((n, 1, 14))


def test_by_hand():
    """Torso of 50 pixels, so that 10 pixels is the limit."""
    truth = np.zeros((1, 14, 2))
    truth[0, NAMES['left_shoulder']] = (30, 0)
    truth[0, NAMES['right_hip']] = (0, 40)
    pred = truth.copy()
    pred[0, NAMES['head_top']] += (0, 11)
    pred[0, NAMES['left_knee']] += (6, 7)  # 9.2 pixels
    pred[0, NAMES['left_ankle']] += (8, 7)  # 10.6 pixels
    pred[0, NAMES['right_ankle']] += (-8, 7)
    table = evaluate(pred, truth, np.ones((1, 1, 14)))
    expected = dict.fromkeys(COLUMNS, 100) | dict(Head=50, Ankle=0)
    for name, value in expected.items():
        assert table.pop(f'lsp/{name} PCK') == pytest.approx(value)
    assert table == pytest.approx({'lsp/PCK': 550 / 7})


def test_parity_with_a_loop():
    pred, truth, visible = people(40)
    table = evaluate(pred, truth, visible)
    total = []
    for column, pair in COLUMNS.items():
        found = []
        for p, t in zip(pred, truth):
            torso = t[NAMES['left_shoulder']] - t[NAMES['right_hip']]
            for i in (NAMES[joint] for joint in pair):
                found.append(np.hypot(*(p[i] - t[i])) < 0.2 * np.hypot(*torso))
        share = 100 * np.mean(found)
        assert 0 < share < 100
        assert table[f'lsp/{column} PCK'] == pytest.approx(share)
        total += found
    # With every joint labelled, the mean of columns is that of all joints.
    assert table['lsp/PCK'] == pytest.approx(100 * np.mean(total))


def test_unlabelled_joints_change_nothing():
    pred, truth, visible = people(20)
    expected = evaluate(pred[:10], truth[:10], visible[:10])
    # No torso in the other ten, by either of its ends.
    visible[10:15, :, 9] = 0
    visible[15:, :, 2] = 0
    assert evaluate(pred, truth, visible) == expected

    visible[:, :, 6] = 0
    first = evaluate(pred, truth, visible)
    pred[:, 6] += 1000
    assert evaluate(pred, truth, visible) == first
    visible[:, :, 11] = 0
    table = evaluate(pred, truth, visible)
    assert np.isnan(table['lsp/Wrist PCK'])
    others = [table[f'lsp/{name} PCK'] for name in COLUMNS if name != 'Wrist']
    assert table['lsp/PCK'] == pytest.approx(np.mean(others))


def test_threshold_and_prefix():
    pred, truth, visible = people(20)
    loose = evaluate(pred, truth, visible, thr=1e6, prefix='val')
    assert loose['val/PCK'] == 100
    strict = evaluate(pred, truth, visible, thr=1e-9)
    assert strict['lsp/PCK'] == 0


def test_bad_input():
    with pytest.raises(ValueError, match='thr .* 0'):
        LspPCKAccuracy(thr=0)
    pred, truth, visible = people(3)
    visible[:, :, 9] = 0
    with pytest.raises(ValueError, match='of the 3 pictures'):
        evaluate(pred, truth, visible)
