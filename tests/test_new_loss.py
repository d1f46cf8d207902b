"""A user's own loss: a function, a class and a line of config.

It is written beside the user's config, which imports it, and trains, is
compared and is drawn as those of this project.
"""

import os

import pytest
import torch
from mmengine.logging import MessageHub
from mmpose.registry import MODELS

from .factories import ROOT, train_and_test

DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
MODULE = """
from mmpose.registry import MODELS

from mmpose_lossplus import HeatmapLoss


def charbonnier(output, target, eps):
    return ((output - target) ** 2 + eps**2).sqrt() - eps


@MODELS.register_module()
class CharbonnierLoss(HeatmapLoss):
    def __init__(self, eps=0.01, **kwargs):
        super().__init__(**kwargs)
        self.eps = eps

    def loss_map(self, output, target):
        return charbonnier(output, target, self.eps)
"""
CONFIG = f"""
_base_ = '{DEMO}'
custom_imports = dict(imports=['mmpose_lossplus', 'charbonnier'])
model = dict(
    backbone=dict(init_cfg=None),
    head=dict(loss=dict(type='CharbonnierLoss', eps=0.1)),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
"""
ARGUMENT = "mine=dict(type='charbonnier.CharbonnierLoss', eps=0.1)"


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('user')
    (folder / 'charbonnier.py').write_text(MODULE, encoding='utf-8')
    (folder / 'config.py').write_text(CONFIG, encoding='utf-8')
    return folder


@pytest.fixture
def env(folder):
    paths = [str(folder), os.environ.get('PYTHONPATH', '')]
    return dict(PYTHONPATH=os.pathsep.join(paths))


def test_trains(folder, coco_data, tmp_path, monkeypatch):
    """With MMPose's runner; weights and mean are those of all losses."""
    monkeypatch.syspath_prepend(folder)
    train_and_test(folder / 'config.py', coco_data, tmp_path)
    scalar = MessageHub.get_current_instance().get_scalar('train/loss_kpt')
    assert 0 < scalar.current() < 1

    loss = MODELS.build(dict(type='CharbonnierLoss', eps=0.0))
    output = torch.tensor([[[[3.0]], [[-1.0]]]], requires_grad=True)
    weights = torch.tensor([[1.0, 0.5]])
    value = loss(output, torch.ones(1, 2, 1, 1), weights)
    assert value.item() == pytest.approx((2 + 0.5 * 2) / 2)
    value.backward()
    assert output.grad.flatten().tolist() == pytest.approx([0.5, -0.25])


@pytest.mark.slow
def test_is_compared(folder, env, run_tool, coco_data, tmp_path):
    run_tool(
        'compare_losses.py',
        folder / 'config.py',
        *('--losses', 'mse', ARGUMENT, '--seeds', '0', '--epochs', '1'),
        *('--work-dir', tmp_path),
        *('--cfg-options', f'data_root={coco_data}'),
        env=env,
    )
    report = (tmp_path / 'report.csv').read_text(encoding='utf-8')
    assert 'mine' in report


@pytest.mark.slow
def test_is_drawn(env, run_tool, tmp_path):
    run_tool(
        'analysis_tools/plot_losses.py',
        *('--losses', 'mse', ARGUMENT, '--out', tmp_path),
        env=env,
    )
    assert list(tmp_path.glob('*.png'))
