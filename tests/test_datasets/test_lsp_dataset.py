"""LSP from the original layout through MMPose's pipeline to the metric."""

from pathlib import Path

import numpy as np
import pytest

from mmpose_lossplus.datasets import LspDataset
from mmpose_lossplus.evaluation import LspPCKAccuracy

from ..factories import pipeline


def build_dataset(lsp_data, split, *steps, **kwargs):
    return LspDataset(
        data_root=str(lsp_data),
        ann_file=f'annotations/lsp_{split}.json',
        data_prefix=dict(img=''),
        pipeline=pipeline((64, 64), *steps),
        **kwargs,
    )


def test_meta_is_symmetric():
    meta = LspDataset(lazy_init=True).metainfo
    names = meta['keypoint_id2name']
    assert meta['num_keypoints'] == 14
    for i, j in enumerate(meta['flip_indices']):
        swapped = names[i].replace('left', '*').replace('right', 'left')
        assert names[j] == swapped.replace('*', 'right')
    assert sorted(meta['upper_body_ids'] + meta['lower_body_ids']) == list(
        range(14)
    )
    links = {frozenset(link) for link in meta['skeleton_links']}
    assert links == {
        frozenset(meta['flip_indices'][i] for i in link) for link in links
    }


def test_visibility_reaches_the_loss(lsp_data):
    """Occluded joints of LSP are learnt, joints without label are not."""
    codec = dict(type='MSRAHeatmap', heatmap_size=(16, 16), sigma=1)
    codec['input_size'] = (64, 64)
    step = dict(type='GenerateTarget', encoder=codec)
    unlabelled = dict(lsp_dataset_original=[], lspet_dataset=[])
    for item in build_dataset(lsp_data, 'train', step):
        person = item['data_samples']
        weights = person.gt_instance_labels.keypoint_weights[0].numpy()
        found = np.flatnonzero(weights == 0).tolist()
        unlabelled[Path(person.img_path).parts[-3]].append(found)
    assert unlabelled == dict(
        lsp_dataset_original=[[], [], []],
        lspet_dataset=[[], [], [9], [0]],  # the other two are for validation
    )


def test_chain_ends_in_the_metric(lsp_data):
    dataset = build_dataset(lsp_data, 'test', test_mode=True)
    metric = LspPCKAccuracy()
    for item in dataset:
        sample = item['data_samples'].to_dict()
        truth = sample['gt_instances']['keypoints']
        torso = np.linalg.norm(truth[0, 9] - truth[0, 2])
        pred = truth.copy()
        pred[0, 6, 0] += 0.21 * torso  # one of two wrists missed
        pred[0, 0, 0] += 0.19 * torso
        sample['pred_instances'] = dict(keypoints=pred)
        metric.process([], [sample])
    table = metric.evaluate(len(dataset))
    assert table['lsp/Wrist PCK'] == 50
    assert table['lsp/Ankle PCK'] == 100
    assert table['lsp/PCK'] == pytest.approx(650 / 7)
