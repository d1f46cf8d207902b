"""Which metric of a config is its score."""

import pytest
from mmengine.config import Config

from mmpose_lossplus.experiments.scores import take_score

from ..factories import ROOT

DEMO = ROOT / 'configs/demo/td-hm_mobilenetv3-dwattn_1xb16-60e_demo-128x96.py'
LSP = 'td-hm_efficientnet-lite0-dwattn_1xb32-8e_lspet-128x128.py'


@pytest.mark.parametrize(
    ('best', 'rule', 'given', 'taken'),
    [
        ('coco/AP', None, None, 'coco/AP'),
        ('EPE', 'greater', None, 'EPE'),
        ('EPE', 'greater', 'AP', 'AP'),
        ('EPE', 'less', 'coco/AP', 'coco/AP'),
        ('EPE', 'less', None, None),
        ('EPE', 'less', 'EPE', None),
        ('auto', None, None, None),
    ],
)
def test_score(best, rule, given, taken):
    cfg = Config.fromfile(DEMO)
    cfg.default_hooks.checkpoint.update(save_best=best, rule=rule)
    if best != 'coco/AP':
        cfg.val_evaluator = dict(type='EPE')
    if taken:
        assert take_score(cfg, given) == taken
        assert not {'save_best', 'rule'} & {*cfg.default_hooks.checkpoint}
    else:
        with pytest.raises(ValueError, match='EPE'):
            take_score(cfg, given)


def test_score_of_a_config_that_keeps_no_best():
    cfg = Config.fromfile(ROOT / 'configs/compare' / LSP)
    assert take_score(cfg) == 'lsp/PCK'
