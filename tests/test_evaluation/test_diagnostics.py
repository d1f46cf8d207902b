"""Diagnostics in a training, beside the model's own loss on the same data."""

import pickle
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import LogProcessor, Runner
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import METRICS

from mmpose_lossplus.evaluation import diagnostic_metrics
from mmpose_lossplus.experiments.configs import parse_options, read_config

from ..factories import (
    CONFIGS,
    ROOT,
    read,
    run_in_processes,
    sample,
    tiny_options,
)

DEMO = 'configs/demo/td-hm_mobilenetv3-dwattn_{}1xb16-60e_demo-128x96.py'
PREFIXES = {
    *('heatmap', 'consistency', 'share'),
    *('double_counting', 'side_swaps', 'error'),
}


def demo_config(loss, root, work_dir):
    """A config of the demo on other data, with all diagnostics."""
    batches = {f'{name}_dataloader.batch_size': 2 for name in ('val', 'test')}
    options = parse_options(tiny_options(root, epochs=1, **batches))
    cfg = read_config(str(ROOT / DEMO.format(loss)), options)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    cfg.model.test_cfg.update(output_heatmaps=True, flip_test=False)
    cfg.default_hooks.checkpoint = None
    cfg.val_evaluator = diagnostic_metrics(cfg)
    dump = dict(type='DumpResults', out_file_path=f'{work_dir}/dump.pkl')
    cfg.test_evaluator = [*cfg.val_evaluator, dump]
    return cfg


def loss_of_training(runner, cfg):
    """What the head's loss says of the data that one validates on."""
    pipeline = [
        *cfg.val_dataloader.dataset.pipeline[:-1],
        dict(type='GenerateTarget', encoder=cfg.codec),
        dict(type='PackPoseInputs'),
    ]
    dataset = dict(cfg.val_dataloader.dataset, pipeline=pipeline)
    loader = dict(cfg.val_dataloader, batch_size=4, dataset=dataset)
    (batch,) = Runner.build_dataloader(loader)
    model = runner.model.eval()
    model.head.final_layer.train()  # logits, if it is a SigmoidConv2d
    with torch.no_grad():
        batch = model.data_preprocessor(batch, training=False)
        return model(**batch, mode='loss')['loss_kpt'].item()


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ('', 'fmse-')]


@pytest.mark.parametrize('loss', [*SLOW, 'anchor-'])
def test_in_a_training(loss, coco_data, tmp_path):
    cfg = demo_config(loss, coco_data, tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.train()
    val = {
        key[4:]: runner.message_hub.get_scalar(key).current()
        for key in runner.message_hub.log_scalars
        if key.startswith('val/') and 'time' not in key
    }
    test = runner.test()
    assert {name.split('/')[0] for name in test} == PREFIXES
    assert val == pytest.approx(test, nan_ok=True)
    # Else MMEngine logs a mean over the last validations.
    averaged = re.compile(LogProcessor().mean_pattern)
    assert not [name for name in test if averaged.match(name)]

    assert test['heatmap/objective'] == pytest.approx(
        loss_of_training(runner, cfg), rel=1e-5
    )
    # The first config's own loss is MSE.
    same = test['heatmap/MSE'] == test['heatmap/objective']
    assert same == (loss == '')

    # What a dump gives afterwards.
    with open(tmp_path / 'dump.pkl', 'rb') as file:
        samples = pickle.load(file)
    assert len(samples) == 4
    evaluator = Evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = runner.val_dataloader.dataset.metainfo
    evaluator.process(samples)
    assert evaluator.evaluate(4) == pytest.approx(test, nan_ok=True)


@pytest.mark.slow
def test_every_config():
    for path in CONFIGS:
        metrics = diagnostic_metrics(read(path))
        built = [METRICS.build(metric) for metric in metrics]
        assert {metric.prefix for metric in built} == PREFIXES


@pytest.mark.parametrize('udp', [True, False, None])
@pytest.mark.parametrize('kind', ['TopdownAffine', TopdownAffine])
def test_codec_loss_and_udp_of_the_config(udp, kind):
    cfg = read(ROOT / DEMO.format('anchor-'))
    step = cfg.val_dataloader.dataset.pipeline[2]
    step['type'] = kind
    if udp is not None:
        step.use_udp = udp
    first, *_, last = metrics = diagnostic_metrics(cfg, norm_item='head')
    assert first['loss']['type'] == 'AnchorLoss'
    assert first['codec'] == cfg.model.head.decoder
    assert last['norm_item'] == 'head'
    assert [metric['use_udp'] for metric in metrics[:4]] == [bool(udp)] * 4


def test_last_of_several_stages():
    """MMPose's CPM head may have a loss for each stage."""
    loss = [dict(type='KeypointMSELoss', loss_weight=i) for i in range(3)]
    head = dict(type='CPMHead', loss=loss, decoder=dict(type='MSRAHeatmap'))
    plain = dict(type='TopdownPoseEstimator', head=head)
    for model in (plain, dict(type='MultiScaleTTA', module=plain)):
        cfg = Config(dict(model=model))
        assert diagnostic_metrics(cfg)[0]['loss'] == loss[-1]


@pytest.mark.parametrize('model', [dict(head=dict(type='A')), {}])
def test_bad_config(model):
    with pytest.raises(ValueError, match='RTMDet'):
        diagnostic_metrics(Config(dict(model=dict(model, type='RTMDet'))))


def people(n):
    """Data samples with maps of noise."""
    rng = np.random.default_rng(0)
    for i in range(n):
        maps, places = rng.random((2, 3, 6, 8)), rng.random((2, 3, 2))
        yield sample(*maps, None, *places, size=1.0 + i)


def evaluate_part(rank, world_size, folder):
    """All metrics of a part of five people; rank 0 saves what they say."""
    metrics = [
        dict(type='HeatmapValidationLoss'),
        dict(type='LossConsistency', loss=dict(type='AsymmetricMSELoss')),
        dict(type='LossShare'),
        dict(type='DoubleCounting', radius=1),
        dict(type='SideSwaps', min_distance=0.0, max_distance=1.0),
        dict(type='KeypointErrors'),
    ]
    evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    names = dict(enumerate('abc'))
    evaluator.dataset_meta = dict(
        dataset_name='any', keypoint_id2name=names, flip_indices=[1, 0, 2]
    )
    # The last one has no partner: MMEngine fills up with the first.
    everybody = [*people(5), *people(1)]
    for person in everybody[rank::world_size][: 5 if world_size == 1 else 3]:
        evaluator.process([person])
    numbers = evaluator.evaluate(5)
    if rank == 0:
        torch.save(numbers, f'{folder}/{world_size}.pth')


@pytest.mark.slow
def test_two_processes_measure_as_one(tmp_path):
    folder = str(tmp_path)
    evaluate_part(0, 1, folder)
    run_in_processes(evaluate_part, 2, folder)
    one, two = (torch.load(tmp_path / f'{n}.pth') for n in (1, 2))
    assert len(one) > 20
    assert two == pytest.approx(one, nan_ok=True)
