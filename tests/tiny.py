"""A model and data so small that a training takes a second."""

from itertools import count

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from torch import nn
from torch.utils.data import Dataset

# MMEngine's globals are by the name of the experiment.
NUMBERS = count()


class Maps(Dataset):
    """Noise to noise, with meta information as MMPose's."""

    metainfo = dict(
        dataset_name='maps',
        sigmas=np.array([0.1, 0.2], dtype=np.float32),
        keypoint_colors=np.array([[255, 0, 0]], dtype=np.uint8),
    )

    def __init__(self, length=4):
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(length, 3, 8, 8, generator=generator)
        # Mostly background, which is zero.
        self.targets = torch.rand(length, 2, 8, 8, generator=generator)
        self.targets *= self.targets > 0.7

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return dict(inputs=self.inputs[index], targets=self.targets[index])


class Noisy(Maps):
    """With an augmentation that takes from two random generators."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        shift = np.random.normal() + torch.randn(()).item()
        return dict(item, inputs=item['inputs'] + 0.1 * shift)


class TinyHead(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        if isinstance(loss, list):
            self.loss_module = nn.ModuleList(map(MODELS.build, loss))
        else:
            self.loss_module = MODELS.build(loss)

    def losses(self):
        """The losses, however they are wrapped."""
        modules = self.loss_module.modules()
        return [m for m in modules if isinstance(m, KeypointMSELoss)]


class TinyModel(BaseModel):
    """One convolution, and dropout for the randomness of a model."""

    def __init__(self, loss):
        super().__init__()
        self.head = TinyHead(loss)
        self.dropout = nn.Dropout2d(0.2)

    def forward(self, inputs, targets, mode='tensor'):
        outputs = self.head.conv(self.dropout(inputs))
        if mode == 'loss':
            losses = [loss(outputs, targets) for loss in self.head.losses()]
            return dict(loss_kpt=sum(losses))
        return [outputs]


class Peak(BaseMetric):
    """A score that is a NumPy scalar, as that of COCO."""

    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0].max()))

    def compute_metrics(self, results):
        return dict(peak=np.float64(np.mean(results)))


def loader(dataset=Maps, **kwargs):
    """Config of a loader with two samples a batch."""
    options = dict(
        batch_size=2,
        num_workers=0,
        dataset=dataset(),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    return {**options, **kwargs}


def tiny_runner(work_dir, loss, max_epochs=3, **kwargs):
    """A runner that saves each epoch; two iterations make one.

    Args:
        work_dir (Path): Folder for all that is written.
        loss (dict | list): Config of the loss.
        max_epochs (int): Epochs to train. Defaults to 3.
        **kwargs: Further or other arguments of the runner.

    Returns:
        Runner: The runner.
    """
    options = dict(
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1),
        ),
        randomness=dict(seed=0),
        default_scope='mmpose',
        experiment_name=f'tiny_{next(NUMBERS)}',
    )
    options.update(kwargs)
    torch.manual_seed(0)
    return Runner(TinyModel(loss), str(work_dir), **options)
