"""Configs of person detectors: MMDet's own, but for what poses need."""

import json
from pathlib import Path

import mmdet
import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import DefaultScope

from .factories import ROOT

CONFIGS = sorted((ROOT / 'configs' / 'detectors').glob('*.py'))
HOST = Path(mmdet.__file__).parent / '.mim' / 'configs'
VARIANT = '_person-boxes'
VARIANTS = [path for path in CONFIGS if VARIANT in path.stem]
(DEMO,) = set(CONFIGS) - set(VARIANTS)


def plain(cfg):
    """A config without what reading it as ``mmdet::`` adds."""

    def unscoped(child):
        child.pop('_scope_', None)
        return child

    return json.loads(json.dumps(cfg.to_dict()), object_hook=unscoped)


def limits(cfg):
    test_cfg = cfg.model.test_cfg
    return test_cfg.get('rcnn', test_cfg)


@pytest.mark.parametrize('path', VARIANTS, ids=lambda p: p.stem)
def test_only_the_limits_differ_from_the_host(path):
    """So the host's published weights, named in the docstring, fit."""
    stem = path.stem.replace(VARIANT, '')
    (base,) = HOST.glob(f'*/{stem}.py')
    ours, theirs = Config.fromfile(path), Config.fromfile(base)
    assert limits(ours) != limits(theirs)
    for cfg in (ours, theirs):
        for key in ('score_thr', 'max_per_img'):
            limits(cfg).pop(key)
    assert plain(ours) == plain(theirs)

    models = load(base.parent / 'metafile.yml')['Models']
    (weights,) = [m['Weights'] for m in models if m['Name'] == stem]
    assert weights in path.read_text().split()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_model_keeps_low_scores(path):
    cfg = Config.fromfile(path)
    assert limits(cfg).score_thr == 0.001
    # People only, or the best of 80 classes.
    assert limits(cfg).max_per_img >= (300 if path == DEMO else 1000)
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    head = model.roi_head.bbox_head if 'rcnn' in path.stem else model.bbox_head
    assert head.num_classes == (1 if path == DEMO else 80)
