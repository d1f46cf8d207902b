"""A training that was resumed ends as one that was not cut off."""

import pytest
import torch

from ..factories import Maps, Noisy, loader, tiny_runner

LOSS = dict(type='AsymmetricMSELoss')
SEEDS = dict(type='EpochSeedHook')


def weights(work_dir, max_epochs, dataset=Noisy, workers=0, **kwargs):
    """Trained weights; ``dropout=False`` takes the model's randomness away."""
    dropout = kwargs.pop('dropout', True)
    runner = tiny_runner(
        work_dir,
        LOSS,
        max_epochs,
        train_dataloader=loader(
            dataset, num_workers=workers, persistent_workers=workers > 0
        ),
        **kwargs,
    )
    if not dropout:
        runner.model.dropout.p = 0.0
    model = runner.train()
    # Ends persistent workers now, and not in some later test.
    runner.train_dataloader._iterator = None
    return model.state_dict()


def cut_and_whole(tmp_path, **kwargs):
    """Weights of a training that was resumed, and of one that was not."""
    weights(tmp_path / 'cut', 2, **kwargs)
    cut = weights(tmp_path / 'cut', 4, resume=True, **kwargs)
    whole = weights(tmp_path / 'whole', 4, **kwargs)
    return cut, whole


def equal(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_is_not_cut_off(workers, tmp_path):
    """Order, augmentation (in this process or in workers) and dropout."""
    hooks = dict(custom_hooks=[SEEDS])
    assert equal(*cut_and_whole(tmp_path, workers=workers, **hooks))


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(dropout=False),
        dict(workers=2, dropout=False),
        dict(dataset=Maps),
    ],
    ids=['augmentation', 'augmentation-in-workers', 'dropout'],
)
def test_the_hook_is_needed(kwargs, tmp_path):
    assert not equal(*cut_and_whole(tmp_path, **kwargs))


def test_mmengine_restores_the_rest(tmp_path):
    """Weights, optimizer and order alone need no hook."""
    assert equal(*cut_and_whole(tmp_path, dataset=Maps, dropout=False))


@pytest.mark.parametrize('workers', [0, 2])
def test_seed_and_epoch_count(workers, tmp_path):
    """Another seed is another training; no epoch repeats the last one."""
    runs = []
    for seed in (0, 1):
        seen = []

        class Collect(torch.nn.Module):
            def forward(self, x, seen=seen):
                seen.append(x.clone())
                return x

        runner = tiny_runner(
            tmp_path / str(seed),
            LOSS,
            max_epochs=2,
            train_dataloader=loader(Noisy, num_workers=workers, batch_size=4),
            custom_hooks=[SEEDS],
            randomness=dict(seed=seed),
        )
        runner.model.dropout = Collect()
        runner.train()
        # In the order of the samples, of which each batch has all.
        runs += [x.sum((1, 2, 3)).sort().values for x in seen]
    for i, a in enumerate(runs):
        for b in runs[:i]:
            assert not torch.allclose(a, b)
