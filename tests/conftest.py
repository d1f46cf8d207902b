import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer
from mmpose.codecs import MSRAHeatmap
from mmpose.utils import register_all_modules
from mmpose.visualization import PoseLocalVisualizer
from scipy.io import savemat

from .factories import (
    ROOT,
    SHARED,
    call_tool,
    write_lsp,
    write_mpii_release,
)

register_all_modules()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def fresh_globals():
    """Each test begins with MMEngine's globals as a new process has them.

    Otherwise its runner takes the visualizer of an earlier runner, and writes
    into that one's folder.
    """
    yield
    for manager in (MMLogger, MessageHub, Visualizer, PoseLocalVisualizer):
        manager._instance_dict.clear()


@pytest.fixture
def target():
    """Gaussian targets of two samples with three keypoints, (2, 3, 16, 12)."""
    codec = MSRAHeatmap(input_size=(48, 64), heatmap_size=(12, 16), sigma=1)
    keypoints = np.array([[[[8, 8], [24, 33], [41, 60]]]], dtype=np.float32)
    maps = [codec.encode(keypoints[0] + d)['heatmaps'] for d in (0, 3)]
    return torch.from_numpy(np.stack(maps)).double()


@pytest.fixture
def output(target):
    return torch.randn_like(target)


@pytest.fixture(scope='session')
def shared_data():
    """Folder of real data sets, which only the project's own machines have."""
    if not SHARED.exists():
        pytest.skip(f'there are no data sets in {SHARED}')
    return SHARED


@pytest.fixture(scope='session')
def coco_data(tmp_path_factory):
    """Noise with people somewhere, in COCO's layout."""
    root = tmp_path_factory.mktemp('coco')
    rng = np.random.default_rng(0)
    (root / 'annotations').mkdir()
    (root / 'person_detection_results').mkdir()
    for split in ('train2017', 'val2017', 'test2017'):
        (root / split).mkdir()
        images, anns = [], []
        for i in range(1, 5):
            noise = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
            cv2.imwrite(str(root / split / f'{i:012d}.jpg'), noise)
            images.append(
                dict(id=i, file_name=f'{i:012d}.jpg', width=128, height=96)
            )
            points = rng.uniform((30, 10), (90, 90), (17, 2)).round(1)
            anns.append(
                dict(
                    id=i,
                    image_id=i,
                    category_id=1,
                    iscrowd=0,
                    bbox=[25.0, 5.0, 70.0, 88.0],
                    area=3000.0,
                    num_keypoints=17,
                    keypoints=np.c_[points, np.full(17, 2)].ravel().tolist(),
                )
            )
        coco = dict(
            info={},  # which pycocotools 2.0.10 needs
            images=images,
            annotations=anns,
            categories=[dict(id=1, name='person')],
        )
        name = f'person_keypoints_{split}.json'
        if split == 'test2017':  # its labels are withheld
            name = 'image_info_test-dev2017.json'
            del coco['annotations']
        (root / 'annotations' / name).write_text(json.dumps(coco))
        boxes = [
            dict(
                image_id=ann['image_id'],
                category_id=1,
                bbox=ann['bbox'],
                score=0.9,
            )
            for ann in anns
        ]
        for name in (
            'COCO_val2017_detections_AP_H_56_person.json',
            'COCO_test-dev2017_detections_AP_H_609_person.json',
        ):
            file = root / 'person_detection_results' / name
            file.write_text(json.dumps(boxes))
    return root


@pytest.fixture(scope='session')
def mpii_data(tmp_path_factory):
    """Noise with people somewhere, in MPII's layout."""
    root = tmp_path_factory.mktemp('mpii')
    rng = np.random.default_rng(0)
    (root / 'annotations').mkdir()
    (root / 'images').mkdir()
    people = []
    for i in range(4):
        noise = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
        cv2.imwrite(str(root / 'images' / f'{i:09d}.jpg'), noise)
        people.append(
            dict(
                image=f'{i:09d}.jpg',
                center=[64.0, 64.0],
                scale=0.5,
                joints=rng.uniform(20, 110, (16, 2)).round(1).tolist(),
                joints_vis=[1] * 16,
            )
        )
    for split in ('train', 'val'):
        for boxes in ('', '_det'):
            file = root / 'annotations' / f'mpii_{split}{boxes}.json'
            file.write_text(json.dumps(people))
    heads = np.tile(np.array([[50.0, 20.0], [70.0, 45.0]])[..., None], 4)
    savemat(
        str(root / 'annotations' / 'mpii_gt_val.mat'),
        dict(headboxes_src=heads),
    )
    release = write_mpii_release(root)
    release = release.rename(root / 'annotations' / release.name)
    out = root / 'annotations' / 'mpii_test.json'
    converter = 'dataset_converters/mpii_test_to_json.py'
    call_tool(converter, release, '--out', out)
    return root


@pytest.fixture(scope='session')
def lsp_data(tmp_path_factory):
    """Noise with people somewhere, in LSP's and LSP-extended's layouts."""
    root = tmp_path_factory.mktemp('lsp')
    write_lsp(root)
    call_tool(
        'dataset_converters/lsp_to_coco.py',
        *('--lsp', root / 'lsp_dataset_original'),
        *('--lspet', root / 'lspet_dataset'),
        *('--val-from', '5', '--out', root / 'annotations'),
    )
    return root


@pytest.fixture
def run_tool():
    """Run a script of tools/ as a user would."""

    def run(tool, *args, cwd=ROOT, env=None, check=True):
        result = subprocess.run(
            [sys.executable, str(ROOT / 'tools' / tool), *map(str, args)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check:
            assert result.returncode == 0, result.stdout[-3000:]
        return result

    return run
