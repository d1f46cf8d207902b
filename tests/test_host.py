"""What importing the package does outside of it."""

import functools
import os
import pickle
import threading
from collections import OrderedDict
from datetime import date
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mmpose
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import scheduler
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmpose_lossplus import host

from .factories import Peak, TinyModel, loader, tiny_runner

LOSS = dict(type='AsymmetricMSELoss')
METAINFO = 'configs/_base_/datasets/*.py'


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
    checkpoint = host.load_checkpoint(tmp_path / 'epoch_2.pth')
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
    assert set(host.load_checkpoint(best)['state_dict']) == set(
        TinyModel(LOSS).state_dict()
    )


def test_resume_and_load_from(tmp_path):
    """MMEngine's own calls, in whatever way this PyTorch loads."""
    train(tmp_path / 'a').train()
    trained = host.load_checkpoint(tmp_path / 'a' / 'epoch_2.pth')[
        'state_dict'
    ]
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
    state = host.load_checkpoint(saved(built.state_dict(), tmp_path))
    assert set(state) == set(built.state_dict())


@pytest.mark.parametrize('dtype', [bool, *'bBhHiIlLqQefd'])
def test_numbers_of_each_kind(dtype, tmp_path):
    array = np.array([[0, 1], [1, 0]], dtype=dtype)
    loaded = host.load_checkpoint(
        saved(dict(a=array, b=array[0, 1]), tmp_path)
    )
    np.testing.assert_array_equal(loaded['a'], array)
    assert loaded['a'].dtype == loaded['b'].dtype == array.dtype
    assert loaded['b'] == 1


def test_meta_information_of_every_data_set(tmp_path):
    files = sorted((Path(mmpose.__file__).parent / '.mim').glob(METAINFO))
    assert len(files) > 50
    for file in files:
        meta = parse_pose_metainfo(dict(from_file=str(file)))
        loaded = host.load_checkpoint(saved(meta, tmp_path))
        assert set(loaded) == set(meta), file
        np.testing.assert_array_equal(loaded['sigmas'], meta['sigmas'])


def test_meta_information_without_sigmas_or_links(tmp_path):
    """As of LSP: what a data set lacks is an empty array."""
    colors = np.zeros((0, 3), np.uint8)
    content = dict(sigmas=np.zeros(0, np.float32), x=colors)
    loaded = host.load_checkpoint(saved(content, tmp_path))
    assert loaded['sigmas'].shape == (0,)
    assert loaded['x'].shape == (0, 3)
    assert loaded['x'].dtype == np.uint8


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
def test_anything_else_is_refused(content, tmp_path, capsys):
    path = saved(dict(state_dict={}, meta=content), tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        host.load_checkpoint(path)
    assert capsys.readouterr().out == ''


@pytest.fixture(params=['a path', 'a URL', 'a file of PyTorch before 1.6'])
def malicious(request, tmp_path, monkeypatch):
    """What MMEngine would load a checkpoint from, and what that writes."""
    victim = tmp_path / 'written'
    content = dict(state_dict={}, meta=Call(os.mkdir, str(victim)))
    old = request.param == 'a file of PyTorch before 1.6'
    path = str(tmp_path / 'evil.pth')
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    if request.param != 'a URL':
        yield path, victim
        return
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = functools.partial(QuietHandler, directory=tmp_path)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/evil.pth', victim
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_mmengine_runs_nothing(malicious):
    """Where it loads, whoever made it, and however old PyTorch is."""
    file, victim = malicious
    model = TinyModel(LOSS)
    for load in (
        lambda: CheckpointLoader.load_checkpoint(file, 'cpu'),
        lambda: load_checkpoint(model, file),
        lambda: tiny_runner(victim.parent, LOSS).resume(file),
        lambda: tiny_runner(victim.parent, LOSS, load_from=file).train(),
    ):
        with pytest.raises(pickle.UnpicklingError, match='because it names'):
            load()
        assert not victim.exists()


def test_loading_elsewhere_is_left_alone():
    """Another library's files are its own affair."""
    assert torch.load.__module__ == 'torch.serialization'


def test_weights_that_one_trusts(tmp_path):
    """The way out that docs/long_runs.md shows."""
    content = dict(state_dict=TinyModel(LOSS).state_dict(), at=date.today())
    path = saved(content, tmp_path)
    trusted = torch.load(path, map_location='cpu', weights_only=False)
    torch.save(dict(state_dict=trusted['state_dict']), tmp_path / 'new.pth')
    loaded = load_checkpoint(TinyModel(LOSS), str(tmp_path / 'new.pth'))
    assert set(loaded['state_dict']) == set(content['state_dict'])
