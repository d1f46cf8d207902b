import gc

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import config
from mmengine.registry import init_default_scope
from mmengine.utils import ManagerMixin
from mmpose.codecs import MSRAHeatmap
from mmpose.utils import register_all_modules
from scipy.io import savemat
from yapf.yapflib import yapf_api

from .factories import (
    SHARED,
    call_tool,
    run_main,
    write_lsp,
    write_mpii_release,
    write_noise,
)

register_all_modules()


def remember(function):
    """Call a function of a text once for each text."""
    known = {}

    def call(text, **kwargs):
        if text not in known:
            known[text] = function(text, **kwargs)
        return known[text]

    return call


# MMEngine formats the config of every checkpoint, which takes longer than a
# small training; its versions import the function at different times.
yapf_api.FormatCode = config.FormatCode = remember(yapf_api.FormatCode)


def pytest_collection_finish():
    """Nothing that is there by now is garbage, which MMEngine collects."""
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_globals():
    """Random numbers and MMEngine's globals are as new for each test.

    Otherwise its runner's visualizer writes into an earlier runner's folder,
    and what needs MMPose is looked up where the last runner was at home.
    """
    torch.manual_seed(0)
    yield
    managers = [ManagerMixin]
    for manager in managers:
        manager._instance_dict.clear()
        managers += manager.__subclasses__()
    init_default_scope('mmpose')


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


@pytest.fixture
def run_tool():
    return call_tool


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
    folder, rng = root / 'annotations', np.random.default_rng(0)
    ids, box = range(1, 5), [25.0, 5.0, 70.0, 88.0]
    images = [
        dict(id=i, file_name=f'{i:012d}.jpg', width=128, height=96)
        for i in ids
    ]
    coco = dict(
        info={},  # which pycocotools 2.0.10 needs
        images=images,
        categories=[dict(id=1, name='person')],
    )
    person = dict(category_id=1, bbox=box)
    for split in ('train2017', 'val2017', 'test2017'):
        for image in images:
            file = root / split / image['file_name']
            write_noise(file, 128, 96, seed=image['id'])
        if split == 'test2017':  # its labels are withheld
            mmengine.dump(coco, folder / 'image_info_test-dev2017.json')
            continue
        points = rng.uniform((30, 10), (90, 90), (len(ids), 17, 2)).round(1)
        points = np.insert(points, 2, 2, axis=-1).reshape(len(ids), -1)
        labels = dict(person, iscrowd=0, area=3000.0, num_keypoints=17)
        annotations = [
            dict(labels, id=i, image_id=i, keypoints=xyv.tolist())
            for i, xyv in zip(ids, points)
        ]
        content = dict(coco, annotations=annotations)
        mmengine.dump(content, folder / f'person_keypoints_{split}.json')
    boxes = [dict(person, image_id=i, score=0.9) for i in ids]
    folder = root / 'person_detection_results'
    for name in (
        'val2017_detections_AP_H_56',
        'test-dev2017_detections_AP_H_609',
    ):
        mmengine.dump(boxes, folder / f'COCO_{name}_person.json')
    return root


@pytest.fixture(scope='session')
def mpii_data(tmp_path_factory):
    """Noise with people somewhere, in MPII's layout."""
    root = tmp_path_factory.mktemp('mpii')
    folder, rng = root / 'annotations', np.random.default_rng(0)
    people = [
        dict(
            image=f'{i:09d}.jpg',
            center=[64.0, 64.0],
            scale=0.5,
            joints=rng.uniform(20, 110, (16, 2)).round(1).tolist(),
            joints_vis=[1] * 16,
        )
        for i in range(4)
    ]
    for i, person in enumerate(people):
        write_noise(root / 'images' / person['image'], 128, 128, seed=i)
    for name in ('train', 'val', 'train_det', 'val_det'):
        mmengine.dump(people, folder / f'mpii_{name}.json')
    heads = np.tile(np.array([[50.0, 20.0], [70.0, 45.0]])[..., None], 4)
    savemat(folder / 'mpii_gt_val.mat', dict(headboxes_src=heads))
    release = write_mpii_release(root)
    release = release.rename(folder / release.name)
    converter = 'dataset_converters/mpii_test_to_json.py'
    run_main(converter, release, '--out', folder / 'mpii_test.json')
    return root


@pytest.fixture(scope='session')
def lsp_data(tmp_path_factory):
    """Noise with people somewhere, in LSP's and LSP-extended's layouts."""
    root = tmp_path_factory.mktemp('lsp')
    write_lsp(root)
    run_main(
        'dataset_converters/lsp_to_coco.py',
        *('--lsp', root / 'lsp_dataset_original'),
        *('--lspet', root / 'lspet_dataset'),
        *('--val-from', '5', '--out', root / 'annotations'),
    )
    return root
