"""What importing the package does outside of it.

PyTorch 2.6 and newer loads weights only. With an older one the list of what
checkpoints may name stands behind an unpickler of this file's, as strict.
"""

import importlib
import importlib.util
import pickle
import subprocess
import sys
from collections import OrderedDict
from datetime import date
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import scheduler
from mmengine.utils import digit_version

from mmpose_lossplus import host

from .factories import ROOT, Peak, TinyModel, loader, tiny_runner

STRICT = digit_version(torch.__version__) >= digit_version('2.6.0')
LOSS = dict(type='AsymmetricMSELoss')
ALLOWED = {name: thing for thing, name in host.saved_by_mmengine()}


@pytest.mark.parametrize(
    ('package', 'found', 'message'),
    [
        ('mmcv', '2.2.0', 'needs mmcv>=2.1.0,<2.2.0, but found 2.2.0.'),
        ('mmcv', '2.0.1', 'needs mmcv>=2.1.0,<2.2.0, but found 2.0.1.'),
        ('mmpose', '0.29.0', 'needs mmpose>=1.3.0,<1.4.0, but found 0.29.0.'),
        ('mmpose', '1.4.0', 'but found 1.4.0.'),
        ('mmengine', '0.9.1', 'needs mmengine>=0.10.0,<1.0.0'),
        ('mmcv', None, 'but found no such package.'),
    ],
)
def test_unsupported_host(package, found, message, monkeypatch):
    version = metadata.version

    def fake(name):
        if name != package:
            return version(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, 'version', fake)
    with pytest.raises(ImportError) as error:
        host.check_versions()
    assert message in str(error.value)
    assert str(error.value).count('\n') == 0


def test_mmcv_without_ops(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='compiled ops'):
        host.check_versions()


def test_gate_comes_before_any_import_of_a_host(tmp_path):
    """An unsupported host that fails at import must not hide the sentence."""
    info = tmp_path / 'mmpose-9.9.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Name: mmpose\nVersion: 9.9\n')
    (tmp_path / 'mmpose.py').write_text('raise RuntimeError("imported")')
    result = subprocess.run(
        [sys.executable, '-c', 'import mmpose_lossplus'],
        env={'PYTHONPATH': f'{tmp_path}:{ROOT}'},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert 'needs mmpose>=1.3.0,<1.4.0, but found 9.9' in result.stderr
    assert 'imported' not in result.stderr


def test_setup_requires_the_same_hosts():
    text = (ROOT / 'setup.py').read_text(encoding='utf-8')
    for name, (minimum, maximum) in host.HOST_VERSIONS.items():
        assert f"'{name}>={minimum},<{maximum}'" in text


def test_pinned_hosts_are_supported():
    pins = [
        line.split('==')
        for file in ('mminstall', 'runtime')
        for line in (ROOT / 'requirements' / f'{file}.txt')
        .read_text(encoding='utf-8')
        .splitlines()
        if line.startswith(('mmengine', 'mmcv', 'mmpose'))
    ]
    assert len(pins) == 3
    for name, version in pins:
        minimum, maximum = (
            tuple(map(int, v.split('.'))) for v in host.HOST_VERSIONS[name]
        )
        assert minimum <= tuple(map(int, version.split('.'))) < maximum


class StrictUnpickler(pickle.Unpickler):
    """Knows PyTorch's own names and those of the list."""

    def find_class(self, module, name):
        full = f'{module.replace("__builtin__", "builtins")}.{name}'
        if full in ALLOWED:
            return ALLOWED[full]
        if module in ('torch', 'torch._utils', 'collections', '_codecs'):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'{full} is not allowed')


def load_strictly(path):
    if STRICT:
        return torch.load(path, map_location='cpu', weights_only=True)
    module = SimpleNamespace(
        __name__='strict', Unpickler=StrictUnpickler, load=pickle.load
    )
    return torch.load(path, map_location='cpu', pickle_module=module)


def saved(content, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    return tmp_path / 'x.pth'


def train(work_dir, max_epochs=2, **kwargs):
    """A runner with all that adds to a checkpoint."""
    return tiny_runner(
        work_dir,
        LOSS,
        max_epochs,
        param_scheduler=[
            dict(type='LinearLR', begin=0, end=2, by_epoch=False),
            dict(type='MultiStepLR', milestones=[1, 2]),
            dict(type='OneCycleLR', eta_max=0.1, total_steps=9),
        ],
        custom_hooks=[dict(type='EMAHook')],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                interval=1,
                save_best='peak',
                rule='greater',
                max_keep_ckpts=2,
            )
        ),
        val_dataloader=loader(
            sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        val_cfg=dict(),
        val_evaluator=dict(type=Peak),
        **kwargs,
    )


def test_a_training_is_read_as_it_was_written(tmp_path):
    train(tmp_path).train()
    checkpoint = load_strictly(tmp_path / 'epoch_2.pth')
    assert set(checkpoint) == {
        *('meta', 'state_dict', 'ema_state_dict', 'message_hub'),
        *('optimizer', 'param_schedulers'),
    }
    log = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(log, HistoryBuffer)
    assert len(log.data[0]) == 4
    assert log.mean() == log.data[0].mean()
    assert log.statistics('max') == log.data[0].max()
    info = checkpoint['message_hub']['runtime_info']
    assert isinstance(info['best_score'], np.float64)
    colors = checkpoint['meta']['dataset_meta']['keypoint_colors']
    assert colors.tolist() == [[255, 0, 0]]
    assert colors.dtype == np.uint8
    _, _, one_cycle = checkpoint['param_schedulers']
    assert one_cycle['anneal_func'](0.0, 1.0, 0.5) == 0.5
    best = next(tmp_path.glob('best_peak_*.pth'))
    assert set(load_strictly(best)['state_dict']) == set(
        TinyModel(LOSS).state_dict()
    )


def test_resume_and_load_from(tmp_path):
    """MMEngine's own calls, in whatever way this PyTorch loads."""
    train(tmp_path / 'a').train()
    trained = load_strictly(tmp_path / 'a' / 'epoch_2.pth')['state_dict']
    resumed = train(tmp_path / 'a', max_epochs=3, resume=True)
    resumed.train()
    assert resumed.iter == 6
    log = resumed.message_hub.get_scalar('train/loss')
    assert len(log.data[0]) == 6
    loaded = tiny_runner(
        tmp_path / 'b', LOSS, load_from=str(tmp_path / 'a' / 'epoch_2.pth')
    )
    loaded.load_or_resume()
    assert all(
        torch.equal(value, trained[key])
        for key, value in loaded.model.state_dict().items()
    )


SCHEDULERS = dict(
    ConstantLR={},
    CosineAnnealingLR=dict(T_max=5),
    CosineRestartLR=dict(
        periods=[2, 3], restart_weights=[1, 0.5], eta_min=0.0
    ),
    ExponentialLR=dict(gamma=0.5),
    LinearLR={},
    MultiStepLR=dict(milestones=[2, 3]),
    OneCycleLR=dict(eta_max=0.1, total_steps=9),
    PolyLR={},
    ReduceOnPlateauLR=dict(monitor='loss'),
    StepLR=dict(step_size=2),
)


@pytest.mark.parametrize(
    'name', [name for name in scheduler.__all__ if name.endswith('LR')]
)
def test_every_scheduler(name, tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    built = getattr(scheduler, name)(optimizer, **SCHEDULERS[name])
    state = load_strictly(saved(built.state_dict(), tmp_path))
    assert set(state) == set(built.state_dict())


@pytest.mark.parametrize('dtype', [bool, *'bBhHiIlLqQefd'])
def test_numbers_of_each_kind(dtype, tmp_path):
    array = np.array([[0, 1], [1, 0]], dtype=dtype)
    loaded = load_strictly(saved(dict(a=array, b=array[0, 1]), tmp_path))
    np.testing.assert_array_equal(loaded['a'], array)
    assert loaded['a'].dtype == loaded['b'].dtype == array.dtype
    assert loaded['b'] == 1


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Leak(HistoryBuffer):
    pass


@pytest.mark.parametrize(
    'content',
    [
        date(2024, 1, 1),
        Call(eval, '1'),
        Call(print, 'loaded'),
        Call(getattr, torch.Tensor, 'numpy'),
        Call(getattr, HistoryBuffer, '__init__'),
        Call(getattr, HistoryBuffer, '__subclasses__'),
        Call(getattr, HistoryBuffer, 'register_statistics'),
        Call(getattr, np.ndarray, 'tofile'),
        Call(getattr, OrderedDict, 'fromkeys'),
        Leak(),
        TinyModel,
        torch.nn.Conv2d(1, 1, 1),
    ],
    ids=lambda x: type(x).__name__,
)
def test_anything_else_stays_refused(content, tmp_path, capsys):
    path = saved(dict(state_dict={}, meta=content), tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        load_strictly(path)
    assert capsys.readouterr().out == ''
