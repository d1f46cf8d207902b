from functools import partial

import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from mmpose.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Begin each epoch with random numbers of its own.

    MMEngine restores weights, optimizer, schedules and the order of the
    samples when it resumes, but not the random numbers of augmentation and
    dropout, which begin anew with those of the first epoch. With this hook
    they follow from the seed and the epoch: a training that was cut off and
    resumed ends in the weights of one that was not, if its seed is set
    (``randomness=dict(seed=0)``), its operations are deterministic and it
    counts epochs.

    The worker processes of the data loader start anew in each epoch, even
    persistent ones.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process and the workers to come."""
        state = np.random.SeedSequence((runner.seed, runner.epoch))
        # The workers add their number, which must not exceed 32 bits.
        seed = int(state.generate_state(1)[0]) >> 1
        set_random_seed(seed)
        loader = runner.train_dataloader
        loader.worker_init_fn = partial(
            worker_init_fn,
            num_workers=loader.num_workers,
            rank=get_rank(),
            seed=seed,
            disable_subprocess_warning=True,
        )
        # Persistent workers live here; their generators cannot be reached.
        loader._iterator = None
