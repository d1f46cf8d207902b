"""A small pose model and people of noise to look at."""

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.codecs import MSRAHeatmap
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.structures import PoseDataSample
from torch import nn
from torch.utils.data import Dataset

from ..test_runs import CODEC, pose_model

NAMES = ('nose', 'tail', 'left_ear', 'right_ear')


class People(Dataset):
    """Noise with four keypoints each, the last without label in every second.

    The pictures are shifted by numbers from two generators, as augmentation
    would.
    """

    metainfo = dict(
        dataset_name='people',
        num_keypoints=4,
        keypoint_id2name=dict(enumerate(NAMES)),
        keypoint_name2id={name: i for i, name in enumerate(NAMES)},
        keypoint_colors=np.zeros((4, 3), dtype=np.uint8),
    )

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        encoded = MSRAHeatmap(**CODEC).encode(
            rng.uniform((4, 4), (44, 60), (1, 4, 2)).astype(np.float32),
            np.array([[1, 1, 1, index % 2]], dtype=np.float32),
        )
        image = torch.from_numpy(rng.integers(0, 200, (3, 64, 48)))
        shift = np.random.randint(20) + torch.randint(20, ()).item()
        sample = PoseDataSample(metainfo=dict(img_path=f'a/{index}.jpg'))
        sample.gt_fields = PixelData(
            heatmaps=torch.from_numpy(encoded['heatmaps'])
        )
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=torch.from_numpy(encoded['keypoint_weights'])
        )
        return dict(inputs=(image + shift).byte(), data_samples=sample)


def people_model(loss):
    """A model with batch norm and dropout, whose modes must be minded."""
    model = pose_model(loss)
    model.data_preprocessor = PoseDataPreprocessor(
        mean=[120.0, 110.0, 100.0], std=[60.0, 60.0, 60.0], bgr_to_rgb=True
    )
    layer = model.head.final_layer
    model.head.final_layer = nn.Sequential(nn.Dropout2d(0.3), layer)
    return model
