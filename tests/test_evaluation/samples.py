"""Data samples as an evaluator gets them, with maps made by hand."""

import numpy as np
import torch


def sample(output, target, weights=None, pred=None, truth=None, size=1.0):
    """One person with the target in the data.

    Args:
        output (array): Predicted heatmaps, (K, H, W).
        target (array): Target heatmaps, (K, H, W).
        weights (array): Weights and visibility, (K,). Defaults to ones.
        pred (array): Predicted points, (K, 2). Defaults to the label.
        truth (array): Labels, (K, 2). Defaults to the point (1, 0).
        size (float): Longer side of the box. Defaults to 1.0.

    Returns:
        dict: The data sample.
    """
    output, target = (torch.as_tensor(x).float() for x in (output, target))
    weights = np.ones(len(target)) if weights is None else np.array(weights)
    truth = np.tile([1.0, 0.0], (len(target), 1)) if truth is None else truth
    truth = np.asarray(truth, dtype=float)[None]
    pred = truth if pred is None else np.asarray(pred, dtype=float)[None]
    return dict(
        pred_fields=dict(heatmaps=output),
        pred_instances=dict(keypoints=pred),
        gt_fields=dict(heatmaps=target),
        gt_instance_labels=dict(
            keypoint_weights=torch.as_tensor(weights[None]).float()
        ),
        gt_instances=dict(
            keypoints=truth,
            keypoints_visible=(weights[None] > 0).astype(np.float32),
            bboxes=np.array([[0, 0, size, size / 2]]),
        ),
        img_path='person.jpg',
    )


def evaluate(metric, samples, **meta):
    """What a metric says of people, without its prefix."""
    metric.dataset_meta = meta
    for person in samples:
        metric.process(None, [person])
    assert len(metric.results) == len(samples)
    table = metric.evaluate(len(samples))
    assert all(name.startswith(f'{metric.prefix}/') for name in table)
    return {name.split('/', 1)[1]: value for name, value in table.items()}
