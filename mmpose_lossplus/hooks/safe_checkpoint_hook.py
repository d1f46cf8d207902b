import os
from contextlib import suppress
from typing import Any, Dict, List, Optional

from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpose.registry import HOOKS


class SafeLocalBackend(LocalBackend):
    """Writes a file as a whole or not at all, and only notes removals.

    Attributes:
        outdated (list): Files to remove.
    """

    def __init__(self) -> None:
        self.outdated: List[str] = []

    def put(self, obj: bytes, filepath: str) -> None:
        """Write bytes to a file that has its name once it is whole."""
        partial = f'{filepath}.partial'
        try:
            super().put(obj, partial)
            os.replace(partial, filepath)
        finally:
            with suppress(FileNotFoundError):
                os.remove(partial)

    def remove(self, filepath: str) -> None:
        """Note a file that is not needed once the next one is there."""
        self.outdated.append(filepath)


register_backend('safe_local', SafeLocalBackend)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, never without a whole checkpoint.

    ``CheckpointHook`` removes the checkpoint that is one too many, or no
    longer the best, before it writes the next, and writes over the newest one
    after each validation that is the best so far: a full disk or a kill
    signal in between leaves none, or half of one. Here a checkpoint has its
    name when all of it is written, and older ones go after that. So the disk
    needs room for one checkpoint more.

    The checkpoint of an epoch is older than the validation of that epoch.
    What resumes from it begins with the validation if that was cut off:
    without it the best may be missed, and a schedule on a plateau.

    What is not saved on a local disk (``backend_args``, ``out_dir``) is saved
    as by ``CheckpointHook``, which has the arguments.
    """

    backend_args: Optional[dict]

    def before_train(self, runner: Runner) -> None:
        """Choose how files are written; validate what is resumed."""
        options = (self.backend_args, self.file_client_args)
        out_dir = self.out_dir or runner.work_dir
        if options == (None, None) and isinstance(
            get_file_backend(out_dir), LocalBackend
        ):
            self.backend_args = dict(backend='safe_local')
        super().before_train(runner)
        loop = runner.train_loop
        if (
            self.by_epoch
            and isinstance(loop, EpochBasedTrainLoop)
            and runner.val_loop is not None
            and loop.epoch > 0  # resumed
        ):
            loop._decide_current_val_interval()
            last = loop.epoch == loop.max_epochs
            due = loop.epoch % loop.val_interval == 0 or last
            done = runner.message_hub.get_info('last_validation') == loop.epoch
            if due and not done and loop.epoch >= loop.val_begin:
                # MMEngine saves it again with its score if it knows of it.
                self.last_ckpt = runner.message_hub.get_info('last_ckpt')
                runner.val_loop.run()

    def after_train_epoch(self, runner: Runner) -> None:
        """Save, then remove what is outdated."""
        super().after_train_epoch(runner)
        self._remove_outdated()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[Dict] = None,
    ) -> None:
        """Save, then remove what is outdated."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._remove_outdated()

    def after_val_epoch(self, runner: Runner, metrics: Dict) -> None:
        """Save the best, then remove what is outdated."""
        runner.message_hub.update_info('last_validation', runner.epoch)
        super().after_val_epoch(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        # A validation alone has no backend.
        backend = getattr(self, 'file_backend', None)
        outdated = getattr(backend, 'outdated', [])
        while outdated:
            with suppress(FileNotFoundError):
                os.remove(outdated.pop())
