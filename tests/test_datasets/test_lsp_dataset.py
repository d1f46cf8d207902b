"""LSP from the original layout through MMPose's pipeline to the metric."""

import numpy as np
import pytest
from mmpose.registry import DATASETS, METRICS

from mmpose_lossplus.datasets import LspDataset


def build(lsp_data, split, pipeline=(), **kwargs):
    return DATASETS.build(
        dict(
            type='LspDataset',
            data_root=str(lsp_data),
            ann_file=f'annotations/lsp_{split}.json',
            data_prefix=dict(img=''),
            pipeline=list(pipeline),
            **kwargs,
        )
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
    weights = {}
    pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=(64, 64)),
        dict(
            type='GenerateTarget',
            encoder=dict(
                type='MSRAHeatmap',
                input_size=(64, 64),
                heatmap_size=(16, 16),
                sigma=1,
            ),
        ),
        dict(type='PackPoseInputs'),
    ]
    for sample in build(lsp_data, 'train', pipeline):
        sample = sample['data_samples']
        weights[sample.img_path.rsplit('/', 2)[0][-5:], sample.img_id] = (
            sample.gt_instance_labels.keypoint_weights[0].numpy()
        )
    lsp = [w for (folder, _), w in weights.items() if folder == 'ginal']
    lspet = [w for (folder, _), w in weights.items() if folder == 'taset']
    assert len(lsp) == 3
    assert np.all(lsp)
    assert len(lspet) == 4  # the other two are for validation
    assert [np.flatnonzero(w == 0).tolist() for w in lspet] == [
        [],
        [],
        [9],
        [0],
    ]


def test_chain_ends_in_the_metric(lsp_data):
    pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=(64, 64)),
        dict(type='PackPoseInputs'),
    ]
    dataset = build(lsp_data, 'test', pipeline, test_mode=True)
    metric = METRICS.build(dict(type='LspPCKAccuracy'))
    metric.dataset_meta = dataset.metainfo
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
