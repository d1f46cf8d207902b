"""Small data sets of noise in the layouts of the original archives."""

from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
from scipy.io import savemat


def write_noise(file, width: int, height: int, seed: int = 0) -> None:
    """Write a picture of noise."""
    rng = np.random.default_rng(seed)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(file), noise)


def write_lsp(root, n: int = 6, width: int = 128, height: int = 96) -> None:
    """Write LSP and LSPET with n pictures each below ``root``.

    Every seventh joint of LSP is occluded; of LSPET, left shoulder of the
    third picture and right ankle of the fourth have no label.
    """
    root = Path(root)
    rng = np.random.default_rng(0)
    low, high = (10, 10), (width - 10, height - 10)
    occluded = (np.arange(14 * n) % 7 == 0).reshape(n, 14)
    labelled = np.ones((n, 14))
    labelled[2:3, 9] = 0
    labelled[3:4, 0] = 0
    for folder, name, flag, axes in (
        ('lsp_dataset_original', 'im{:04d}.jpg', occluded, (2, 1, 0)),
        ('lspet_dataset', 'im{:05d}.jpg', labelled, (1, 2, 0)),
    ):
        joints = np.empty((n, 14, 3))
        joints[..., :2] = rng.uniform(low, high, (n, 14, 2))
        joints[..., 2] = flag
        if folder == 'lspet_dataset':
            # As in the original: places outside say which side is missing.
            joints[labelled == 0, :2] = (0.0, -26.1)
        for i in range(n):
            file = root / folder / 'images' / name.format(i + 1)
            write_noise(file, width, height, seed=i)
        savemat(
            str(root / folder / 'joints.mat'),
            dict(joints=joints.transpose(axes)),
        )


def struct_array(rows: List[Dict]) -> np.ndarray:
    """A 1 x n struct array as SciPy writes it to MATLAB's files."""
    array = np.empty((1, len(rows)), dtype=[(key, 'O') for key in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


def _rect(rng, width: int, height: int, points: bool) -> dict:
    rect = dict(
        scale=0.4,
        objpos=dict(x=rng.uniform(50, width - 50), y=height / 2),
    )
    if points:
        rect['annopoints'] = dict(
            point=struct_array(
                [
                    dict(x=x, y=y, id=float(i), is_visible=1.0)
                    for i, (x, y) in enumerate(
                        rng.uniform(10, min(width, height) - 10, (16, 2))
                    )
                ]
            )
        )
    return rect


def write_mpii_release(
    root, train: int = 2, test: int = 4, width: int = 128, height: int = 128
) -> Path:
    """Write MPII Human Pose below ``root``: the release and its pictures.

    Training and test images take turns. The test images have, in turn: one
    person; two, both single; two, of whom the second is single; one whose
    position and scale are missing; nobody.

    Returns:
        Path: ``root/mpii_human_pose_v1_u12_1.mat``.
    """
    root = Path(root)
    rng = np.random.default_rng(0)
    empty = np.empty((0, 0))
    is_train = [1, 0] * min(train, test)
    is_train += [1] * (train - len(is_train) // 2)
    is_train += [0] * (test - is_train.count(0))
    annolist, single = [], []
    for i, training in enumerate(is_train):
        name = f'{i + 1:09d}.jpg'
        write_noise(root / 'images' / name, width, height, seed=i)
        rects = [_rect(rng, width, height, points=bool(training))]
        chosen = 1.0
        if not training:
            kind = is_train[:i].count(0) % 5
            if kind in (1, 2):
                rects.append(_rect(rng, width, height, points=False))
                chosen = np.array([[1.0], [2.0]]) if kind == 1 else 2.0
            elif kind == 3:
                rects = [dict(scale=empty, objpos=empty)]
            elif kind == 4:
                rects, chosen = [], empty
        annolist.append(
            dict(
                image=dict(name=name),
                annorect=struct_array(rects) if rects else empty,
                frame_sec=empty,
                vididx=empty,
            )
        )
        single.append(chosen)
    cells = np.empty((len(single), 1), dtype=object)
    cells[:, 0] = single
    file = root / 'mpii_human_pose_v1_u12_1.mat'
    savemat(
        str(file),
        dict(
            RELEASE=dict(
                annolist=struct_array(annolist),
                img_train=np.array([is_train], dtype=np.uint8),
                version='12',
                single_person=cells,
            )
        ),
    )
    return file
