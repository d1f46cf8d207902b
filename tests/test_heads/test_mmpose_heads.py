"""The losses inside every MMPose head that calls a heatmap loss."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.evaluation.functional import pose_pck_accuracy
from mmpose.models.heads.heatmap_heads import cpm_head, heatmap_head
from mmpose.registry import KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample
from mmpose.structures.bbox import bbox_xyxy2corner
from mmpose.testing import get_coco_sample, get_packed_inputs

from ..factories import LOGITS, LOSSES

MSE_LOSSES = [loss for loss in LOSSES if loss not in LOGITS]
DECODER = dict(
    type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2
)


def head_cfg(loss, **cfg):
    kind = 'SigmoidConv2d' if loss in LOGITS else 'Conv2d'
    return dict(
        dict(
            in_channels=16,
            out_channels=17,
            loss=dict(type=loss, use_target_weight=True),
            final_layer=dict(type=kind, kernel_size=1),
            decoder=DECODER,
        ),
        **cfg,
    )


def samples():
    return get_packed_inputs()['data_samples']


def check(head, losses):
    assert losses['loss_kpt'].isfinite()
    assert losses['loss_kpt'] > 0
    losses['loss_kpt'].backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='HeatmapHead'),
        dict(type='ViPNASHead'),
        dict(type='DepthwiseDeconvAttentionHead'),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_single_stage_heads(cfg, loss):
    if cfg['type'] == 'ViPNASHead':
        cfg = dict(cfg, deconv_num_groups=(16, 16, 16))
    head = MODELS.build(head_cfg(loss, **cfg))
    feats = (torch.rand(2, 16, 8, 6),)
    check(head, head.loss(feats, samples()))
    predictions = head.eval().predict(feats, samples(), {})
    scores = np.stack([p.keypoint_scores for p in predictions])
    assert np.isfinite(scores).all()
    if loss in LOGITS:
        assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('as_list', [False, True])
def test_multi_stage_head(loss, as_list):
    """The loss is the sum over the stages, one loss or a list of them."""
    cfg = head_cfg(loss, type='CPMHead', num_stages=2)
    single = cfg['loss']
    if as_list:
        cfg['loss'] = [single, dict(single, loss_weight=3.0)]
    head = MODELS.build(cfg)
    feats = [torch.rand(2, 16, 64, 48) for _ in range(2)]
    losses = head.loss(feats, samples())
    check(head, losses)
    target = torch.stack([s.gt_fields.heatmaps for s in samples()])
    weights = torch.cat(
        [s.gt_instance_labels.keypoint_weights for s in samples()]
    )
    terms = [
        MODELS.build(single)(heatmaps, target, weights)
        for heatmaps in head(feats)
    ]
    expected = terms[0] + terms[1] * (3 if as_list else 1)
    torch.testing.assert_close(losses['loss_kpt'], expected)


@pytest.mark.parametrize('loss', MSE_LOSSES)
def test_dekr_head(loss):
    """Passes a pixel-wise weight and a mask by position."""
    head = MODELS.build(
        dict(
            type='DEKRHead',
            in_channels=16,
            num_keypoints=17,
            heatmap_loss=dict(type=loss, use_target_weight=True),
        )
    )
    sample = PoseDataSample()
    sample.gt_fields = PixelData(
        heatmaps=torch.rand(18, 16, 16),
        heatmap_weights=torch.rand(18, 16, 16),
        heatmap_mask=(torch.rand(1, 16, 16) > 0.5).float(),
        displacements=torch.rand(34, 16, 16),
        displacement_weights=torch.rand(34, 16, 16),
    )
    feats = (torch.rand(1, 16, 16, 16),)
    losses = head.loss(feats, [sample])
    fields = sample.gt_fields
    output = head(feats)[0]
    loss_map = head.loss_module['heatmap'].loss_map(
        output, fields.heatmaps[None]
    )
    expected = (loss_map * fields.heatmap_weights * fields.heatmap_mask).mean()
    torch.testing.assert_close(losses['loss/heatmap'], expected)


@pytest.mark.parametrize('loss', MSE_LOSSES)
def test_cid_head(loss):
    """Passes None for the weights and a mask by position."""
    codec_cfg = dict(
        type='DecoupledHeatmap', input_size=(64, 64), heatmap_size=(16, 16)
    )
    codec = KEYPOINT_CODECS.build(codec_cfg)
    data = get_coco_sample(img_shape=(64, 64), num_instances=2)
    encoded = codec.encode(
        data['keypoints'],
        data['keypoints_visible'],
        bbox_xyxy2corner(data['bbox']),
    )
    sample = PoseDataSample()
    sample.gt_fields = PixelData(
        heatmaps=torch.from_numpy(encoded['heatmaps']),
        heatmap_mask=(torch.rand(1, 16, 16) > 0.5).float(),
    )
    sample.gt_instance_labels = InstanceData(
        instance_coords=torch.from_numpy(encoded['instance_coords']),
        keypoint_weights=torch.from_numpy(encoded['keypoint_weights']),
    )
    sample.gt_fields.instance_heatmaps = torch.from_numpy(
        encoded['instance_heatmaps']
    )
    head = MODELS.build(
        dict(
            type='CIDHead',
            in_channels=16,
            gfd_channels=8,
            num_keypoints=17,
            coupled_heatmap_loss=dict(type=loss),
            decoupled_heatmap_loss=dict(type=loss),
            contrastive_loss=dict(type='InfoNCELoss', temperature=0.05),
            decoder=codec_cfg,
        )
    )
    losses = head.loss((torch.rand(1, 16, 16, 16),), [sample])
    assert losses['loss/heatmap_coupled'].isfinite()
    assert losses['loss/heatmap_decoupled'].isfinite()


# --- The logged accuracy ---------------------------------------------------


def peaked_logits(value):
    """Features that a 1x1 final layer of ones turns into right peaks."""
    target = torch.stack([s.gt_fields.heatmaps for s in samples()])
    return value + target


class Passing(torch.nn.Module):
    def forward(self, feats):
        return feats


@pytest.mark.parametrize('kind', ['HeatmapHead', 'CPMHead'])
def test_logged_accuracy_of_logits(kind, monkeypatch):
    """Right peaks of small probability are right, not missing."""
    cfg = head_cfg(
        'AnchorLoss', type=kind, in_channels=17, deconv_out_channels=None
    )
    if kind == 'CPMHead':
        cfg['num_stages'] = 1
    head = MODELS.build(cfg)
    layer = (
        head.final_layer
        if kind == 'HeatmapHead'
        else head.multi_final_layers[0]
    )
    torch.nn.init.zeros_(layer.bias)
    layer.weight.data = torch.eye(17)[..., None, None]
    losses = head.loss([peaked_logits(-5.0)], samples())
    assert losses['acc_pose'] == 1
    # What MMPose logs of the same maps by itself.
    module = heatmap_head if kind == 'HeatmapHead' else cpm_head
    monkeypatch.setattr(module, 'to_numpy', lambda x: x.detach().cpu().numpy())
    assert head.loss([peaked_logits(-5.0)], samples())['acc_pose'] == 0


def test_logged_accuracy_of_heatmaps_is_unchanged():
    head = MODELS.build(head_cfg('AsymmetricMSELoss', type='HeatmapHead'))
    feats = (torch.rand(2, 16, 8, 6),)
    target = torch.stack([s.gt_fields.heatmaps for s in samples()])
    _, expected, _ = pose_pck_accuracy(
        head(feats).detach().numpy(), target.numpy(), np.ones((2, 17)) > 0
    )
    assert head.loss(feats, samples())['acc_pose'] == pytest.approx(expected)
