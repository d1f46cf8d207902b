"""What many tests need: data, models, samples and processes, made small."""

import copy
import functools
import importlib.util
import json
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import count, zip_longest
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend, register_backend
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmpose.codecs import MSRAHeatmap
from mmpose.datasets.datasets import CocoDataset
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.models.losses import KeypointMSELoss
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from scipy.io import savemat
from torch import nn
from torch.utils.data import Dataset

from mmpose_lossplus.experiments.configs import import_script, move_data
from mmpose_lossplus.experiments.tables import load_tables
from mmpose_lossplus.losses import functional as F

# The repository: its configs, what their names say, its tables and tools.

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared' / 'data'
CONFIGS = sorted((ROOT / 'configs').glob('*/td-hm_*.py'))
(DETECTOR,) = (ROOT / 'configs/detectors').glob('rtmdet_efficientnet*.py')
# Those that classify, on MMPretrain.
CLASSIFICATION = sorted((ROOT / 'configs').glob('*/resnet*.py'))
needs_mmpretrain = pytest.mark.skipif(
    importlib.util.find_spec('mmpretrain') is None,
    reason='there is no MMPretrain',
)
BACKBONES = {
    'cpm': dict(type='CPM'),
    'cpn50': dict(type='ResNet', depth=50, out_indices=(0, 1, 2, 3)),
    'efficientnet-lite0': dict(type='EfficientNetLite', arch='lite0'),
    'hourglass2': dict(type='StackedHourglass', num_stacks=2),
    'hourglass8': dict(type='StackedHourglass', num_stacks=8),
    'hrnet-w32': dict(type='HRNet'),
    'litehrnet-18': dict(type='LiteHRNet'),
    'litehrnet-30': dict(type='LiteHRNet'),
    'mobilenetv2': dict(type='MobileNetV2'),
    'mobilenetv3': dict(type='MobileNetV3', arch='big'),
    'res101': dict(type='ResNet', depth=101),
    'res18': dict(type='ResNet', depth=18, base_channels=32),
    'res50': dict(type='ResNet', depth=50),
    'shufflenetv2': dict(type='ShuffleNetV2'),
    'small-hrnet-w16': dict(type='HRNet'),
}
HEADS = {
    'dw': None,
    'dwattn': 'ChannelSpatialAttention',
    'dwcbam': 'CBAM',
    'dwse': 'SqueezeExcitation',
}
NAME = re.compile(
    rf'td-hm_(?P<backbone>{"|".join(BACKBONES)})(-(?P<head>{"|".join(HEADS)}))?'
    r'_((?P<loss>[a-z]+)-((?P<hyper>[a-z0-9]+)-)?)?'
    r'(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e'
    r'_(?P<data>[a-z]+)(?P<box>-gtbox|-det)?(?P<split>-test(dev)?)?(?P<ms>-ms6)?'
    r'-(?P<height>\d+)x(?P<width>\d+)'
)
LOGITS = ('AnchorLoss', 'HeatmapFocalLoss')
LOADERS = ('train', 'val', 'test')
TABLES = load_tables()
ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


def pages():
    """What git would have: no page of an environment or a build."""
    for path in ROOT.glob('**/*.md'):
        folder = path.relative_to(ROOT).parts[0]
        if folder not in ('build', 'data', 'work_dirs') and folder[0] != '.':
            yield path


def blocks(page, language='shell', heading=None):
    """The code of a page of the docs, or below one of its headings."""
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    if heading:
        text = text.split(f'## {heading}\n')[1].split('\n## ')[0]
    return re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)


def load_tool(path):
    """Import a script of tools/ without running it."""
    return import_script(ROOT / 'tools' / path)


def run_main(path, *args):
    """Run a script of tools/ in this process: imports take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [path, *map(str, args)])
        load_tool(path).main()


def call(*command, check=True, **kwargs):
    """Run a command; all output is in ``stdout`` of what is returned."""
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
        **kwargs,
    )
    if check:
        assert result.returncode == 0, result.stdout[-3000:]
    return result


def call_tool(path, *args, cwd=ROOT, env=None, check=True):
    """Run a script of tools/ as a user would, with ``env`` besides."""
    command = (sys.executable, ROOT / 'tools' / path, *args)
    env = {**os.environ, **(env or {})}
    return call(*command, cwd=cwd, env=env, check=check)


# Processes that begin with everything imported, which takes seconds; the
# server, that they are copies of, has used neither threads nor a GPU.
METHOD = 'forkserver' if hasattr(os, 'fork') else 'spawn'
PROCESSES = multiprocessing.get_context(METHOD)
PROCESSES.set_forkserver_preload(['tests.conftest'])


def fork_tool(path, *args, cwd=ROOT, check=True):
    """As :func:`call_tool`, where it matters not what was imported before."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, 'log')
        command = [str(ROOT / 'tools' / path), *map(str, args)]
        process = PROCESSES.Process(
            target=_run_script, args=(command, cwd, dict(os.environ), log)
        )
        process.start()
        process.join()
        stdout = log.read_text(encoding='utf-8')
    if check:
        assert process.exitcode == 0, stdout[-3000:]
    return SimpleNamespace(returncode=process.exitcode, stdout=stdout)


def _run_script(command, cwd, env, log):
    """What Python does with a command line, all output into a file."""
    with open(log, 'wb') as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = command
    sys.path.insert(0, os.path.dirname(command[0]))
    runpy.run_path(command[0], run_name='__main__')


@functools.lru_cache
def _read(path):
    return Config.fromfile(path)


def read(path):
    """A config, as a copy: reading takes a tenth of a second."""
    return copy.deepcopy(_read(str(path)))


def load(path):
    """A config, with the model that a multi-scale test wraps as its model."""
    cfg = read(path)
    cfg.model = cfg.model.get('module', cfg.model)
    return cfg


# Data sets on disk, and as if they were not.


@register_backend('elsewhere', prefixes='elsewhere')
class Elsewhere(LocalBackend):
    """elsewhere://PATH, as a stand-in for an object store."""

    def get(self, path):
        return super().get(path.split('://')[1])

    def get_text(self, path, *args):
        return super().get_text(path.split('://')[1], *args)

    def exists(self, path):
        return super().exists(path.split('://')[1])

    @contextmanager
    def get_local_path(self, path):
        yield path.split('://')[1]


def write_noise(file, width, height, seed=0):
    """Write a picture of noise."""
    rng = np.random.default_rng(seed)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(file), noise)


def write_film(path, frames):
    """Write a video of pictures, seven a second."""
    codec = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), codec, 7, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_lsp(root):
    """Write LSP and LSPET with six pictures each below ``root``.

    Every seventh joint of LSP is occluded; of LSPET, left shoulder of the
    third picture and right ankle of the fourth have no label.
    """
    rng = np.random.default_rng(0)
    occluded = np.arange(6 * 14).reshape(6, 14) % 7 == 0
    for folder, name, flag, axes in (
        ('lsp_dataset_original', 'im{:04d}.jpg', occluded, (2, 1, 0)),
        ('lspet_dataset', 'im{:05d}.jpg', 1, (1, 2, 0)),
    ):
        folder = Path(root, folder)
        for i in range(6):
            file = folder / 'images' / name.format(i + 1)
            write_noise(file, 128, 96, seed=i)
        joints = np.empty((6, 14, 3))
        joints[..., :2] = rng.uniform(10, (118, 86), (6, 14, 2))
        joints[..., 2] = flag
        if folder.name == 'lspet_dataset':
            # As in the original: places outside say which side is missing.
            joints[2, 9] = joints[3, 0] = (0.0, -26.1, 0)
        savemat(folder / 'joints.mat', dict(joints=joints.transpose(axes)))


def struct_array(rows):
    """A 1 x n struct array as SciPy writes it to MATLAB's files."""
    if not rows:
        return np.empty((0, 0))
    array = np.empty((1, len(rows)), dtype=[(key, 'O') for key in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


def write_mpii_release(root, train=2, test=4):
    """Write MPII Human Pose below ``root``: the release and its pictures.

    Training and test images take turns. The test images have, in turn: one
    person; two, both single; two, of whom the second is single; one whose
    position and scale are missing; nobody. Returns the release's path.
    """
    rng, empty = np.random.default_rng(0), np.empty((0, 0))

    def rect(**fields):
        objpos = dict(x=rng.uniform(50, 78), y=64.0)
        return dict(scale=0.4, objpos=objpos, **fields)

    points = [
        dict(x=x, y=y, id=float(i), is_visible=1.0)
        for i, (x, y) in enumerate(rng.uniform(10, 100, (16, 2)))
    ]
    points = dict(point=struct_array(points))
    turns = zip_longest([1] * train, [0] * test)
    is_train = [i for turn in turns for i in turn if i is not None]
    annolist = []
    single = np.empty((len(is_train), 1), dtype=object)
    for i, training in enumerate(is_train):
        name = f'{i + 1:09d}.jpg'
        write_noise(Path(root, 'images', name), 128, 128, seed=i)
        rects, single[i, 0] = [
            ([rect()], 1.0),
            ([rect(), rect()], np.array([[1.0], [2.0]])),
            ([rect(), rect()], 2.0),
            ([dict(scale=empty, objpos=empty)], 1.0),
            ([], empty),
            ([rect(annopoints=points)], 1.0),
        ][5 if training else is_train[:i].count(0) % 5]
        row = dict(image=dict(name=name), annorect=struct_array(rects))
        annolist.append(dict(row, frame_sec=empty, vididx=empty))
    release = dict(annolist=struct_array(annolist), single_person=single)
    release.update(img_train=np.array([is_train], dtype=np.uint8))
    file = Path(root, 'mpii_human_pose_v1_u12_1.mat')
    savemat(file, dict(RELEASE=release))
    return file


# A training of one convolution, for what happens around a model.

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
    sampler = dict(type='DefaultSampler', shuffle=True)
    options = dict(sampler=sampler, collate_fn=dict(type='default_collate'))
    options.update(batch_size=2, num_workers=0, dataset=dataset())
    return {**options, **kwargs}


def tiny_runner(work_dir, loss, max_epochs=3, **kwargs):
    """A runner that saves each epoch; two iterations make one."""
    hooks = dict(logger='LoggerHook', checkpoint='CheckpointHook')
    options = dict(
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        default_hooks={k: dict(type=v, interval=1) for k, v in hooks.items()},
        randomness=dict(seed=0),
        default_scope='mmpose',
        experiment_name=f'tiny_{next(NUMBERS)}',
    )
    options.update(kwargs)
    torch.manual_seed(0)
    return Runner(TinyModel(loss), str(work_dir), **options)


# A small pose model and people for it.

CODEC = dict(input_size=(48, 64), heatmap_size=(12, 16), sigma=1)
NAMES = ('nose', 'tail', 'left_ear', 'right_ear')


def pose_model(loss):
    """A small ResNet and the papers' head, for four keypoints."""
    torch.manual_seed(0)
    backbone = dict(type='ResNet', depth=18, num_stages=3, out_indices=(2,))
    backbone.update(stem_channels=16, base_channels=16)
    backbone.update(strides=(1, 2, 2), dilations=(1, 1, 1))
    attention = dict(type='ChannelSpatialAttention', ratio=4)
    head = dict(
        type='DepthwiseDeconvAttentionHead',
        in_channels=64,
        out_channels=4,
        deconv_out_channels=(16, 16),
        deconv_kernel_sizes=(4, 4),
        deconv_attentions=(None, attention),
        final_layer=dict(kernel_size=1),
        loss=dict(type=loss),
        decoder=dict(type='MSRAHeatmap', **CODEC),
    )
    if loss in LOGITS:
        head['final_layer']['type'] = 'SigmoidConv2d'
    model = dict(type='TopdownPoseEstimator', backbone=backbone, head=head)
    return MODELS.build(model)


def _person(rng, index, **meta):
    """A data sample; in every second, the last keypoint has no label."""
    encoded = MSRAHeatmap(**CODEC).encode(
        rng.uniform((4, 4), (44, 60), (1, 4, 2)).astype(np.float32),
        np.array([[1, 1, 1, index % 2]], dtype=np.float32),
    )
    sample = PoseDataSample(metainfo=meta)
    heatmaps = torch.from_numpy(encoded['heatmaps'])
    sample.gt_fields = PixelData(heatmaps=heatmaps)
    weights = torch.from_numpy(encoded['keypoint_weights'])
    sample.gt_instance_labels = InstanceData(keypoint_weights=weights)
    return sample


def batch(indices):
    """Pictures of noise, each with a person somewhere."""
    rngs = [np.random.default_rng(i) for i in indices]
    inputs = [torch.from_numpy(rng.normal(size=(3, 64, 48))) for rng in rngs]
    samples = [_person(rng, i) for rng, i in zip(rngs, indices)]
    return dict(inputs=torch.stack(inputs).float(), data_samples=samples)


class People(Dataset):
    """Noise with four keypoints, shifted by numbers of two generators."""

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
        person = _person(rng, index, img_path=f'a/{index}.jpg')
        image = torch.from_numpy(rng.integers(0, 200, (3, 64, 48)))
        shift = np.random.randint(20) + torch.randint(20, ()).item()
        return dict(inputs=(image + shift).byte(), data_samples=person)


def people_model(loss):
    """A model with batch norm and dropout, whose modes must be minded."""
    model = pose_model(loss)
    model.data_preprocessor = PoseDataPreprocessor(
        mean=[120.0, 110.0, 100.0], std=[60.0, 60.0, 60.0], bgr_to_rgb=True
    )
    layer = model.head.final_layer
    model.head.final_layer = nn.Sequential(nn.Dropout2d(0.3), layer)
    return model


# A pose model that knows its answers, with files of its own.

SPOTS = """
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_res50_8xb64-210e_coco-256x192.py'
]
codec = dict(
    type={codec!r}, input_size=(96, 128), heatmap_size=(24, 32), sigma=2
)
names = ('red', 'green', 'blue')
metainfo = dict(
    dataset_name='spots',
    keypoint_info={{
        i: dict(name=name, id=i, color=[80 * i, 0, 0], type='upper', swap='')
        for i, name in enumerate(names)
    }},
    skeleton_info={{0: dict(link=('red', 'blue'), id=0, color=[0, 200, 0])}},
    joint_weights=[1.0] * 3,
    sigmas=[0.1] * 3,
)
model = dict(
    data_preprocessor=dict(mean=[0, 0, 0], std=[255] * 3),
    backbone=dict(_delete_=True, type='Pooling'),
    head=dict(in_channels=3, out_channels=3, deconv_out_channels=None),
    test_cfg=dict(flip_test=False, shift_heatmap=False),
)
model['head']['decoder'] = dict(codec, _delete_=True)
pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.25),
    dict(type='TopdownAffine', input_size=(96, 128), use_udp={udp}),
    dict(type='PackPoseInputs'),
]
data = dict(dataset=dict(metainfo=metainfo, pipeline=pipeline))
train_dataloader = val_dataloader = test_dataloader = data
"""


@MODELS.register_module()
class Pooling(BaseModule):
    """A backbone whose features are the picture, four times smaller."""

    def forward(self, x):
        return (nn.functional.avg_pool2d(x, 4),)


def write_spot_model(folder, udp=False):
    """Config and checkpoint of a model for pictures of :func:`draw_spots`.

    Its three heatmaps are the colours of a crop, so that the keypoints are
    where red, green and blue are brightest.
    """
    config, weights = folder / 'spots.py', folder / 'spots.pth'
    codec = 'UDPHeatmap' if udp else 'MSRAHeatmap'
    config.write_text(SPOTS.format(codec=codec, udp=udp), encoding='utf-8')
    state = {
        'head.final_layer.weight': torch.eye(3)[..., None, None],
        'head.final_layer.bias': torch.zeros(3),
    }
    torch.save(dict(state_dict=state), weights)
    return config, weights


def draw_spots(width, height, *people):
    """A BGR picture of people, each a red, a green and a blue spot (3, 2)."""
    x, y = np.arange(width), np.arange(height)[:, None]
    picture = np.zeros((height, width, 3))
    for person in people:
        for k, (u, v) in enumerate(person):
            distance = (x - u) ** 2 + (y - v) ** 2
            picture[..., 2 - k] += 250 * np.exp(-distance / 200)
    return picture.astype(np.uint8)


def write_spot_data(folder, people=16):
    """Files of :func:`write_spot_model`, with pictures and their labels.

    Each picture has one person, whose box is smaller.
    """
    config, weights = write_spot_model(folder)
    rng, images, labels = np.random.default_rng(0), [], []
    for i in range(people):
        place, box = rng.integers(10, 60, 2), rng.integers(70, 90, 2)
        person = place + rng.uniform(0.1, 0.9, (3, 2)) * box
        picture = folder / 'pictures' / f'{i:02d}.png'
        picture.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(picture), draw_spots(160, 160, person))
        size = dict(width=160, height=160)
        images.append(dict(id=i, file_name=picture.name, **size))
        labels.append(
            dict(id=i, image_id=i, category_id=1, iscrowd=0, num_keypoints=3)
        )
        labels[-1]['bbox'] = [*place.tolist(), *box.tolist()]
        labels[-1]['area'] = float(box.prod())
        labels[-1]['keypoints'] = np.insert(person, 2, 2, 1).ravel().tolist()
    category = dict(id=1, name='person')
    content = dict(images=images, annotations=labels, categories=[category])
    (folder / 'labels.json').write_text(json.dumps(dict(content, info={})))
    text = f"""
data['dataset'].update(
    data_root={str(folder)!r}, ann_file='labels.json', bbox_file=None,
    data_prefix=dict(img='pictures/'))
data.update(num_workers=0, persistent_workers=False)
val_evaluator = dict(_delete_=True, type='PCKAccuracy', thr=0.05)
default_hooks = dict(checkpoint=dict(save_best='PCK'))
"""
    config.write_text(config.read_text(encoding='utf-8') + text)
    return config, weights


# What metrics are given, and what they say.


def sample(output, target, weights=None, pred=None, truth=None, size=1.0):
    """One person, whose weights are 1, labels (1, 0) and predictions right.

    Weights are the visibility, too; ``size`` is the box's longer side.
    """
    output, target = (torch.as_tensor(x).float() for x in (output, target))
    weights = [1] * len(target) if weights is None else weights
    weights = torch.as_tensor(weights).float()[None]
    truth = [(1, 0)] * len(target) if truth is None else truth
    truth = np.array([truth], dtype=float)
    pred = truth if pred is None else np.array([pred], dtype=float)
    return dict(
        pred_fields=dict(heatmaps=output),
        pred_instances=dict(keypoints=pred),
        gt_fields=dict(heatmaps=target),
        gt_instance_labels=dict(keypoint_weights=weights),
        gt_instances=dict(
            keypoints=truth,
            keypoints_visible=(weights > 0).float().numpy(),
            bboxes=np.array([[0, 0, size, size / 2]]),
        ),
        img_path='person.jpg',
    )


def evaluate(metric, samples, **meta):
    """What a metric says of people, without its prefix."""
    metric.dataset_meta = meta
    for person in samples:
        metric.process(None, [person])
    assert len(metric.results) == len(samples)
    table = metric.evaluate(len(samples))
    assert all(name.startswith(f'{metric.prefix}/') for name in table)
    return {name.split('/', 1)[1]: value for name, value in table.items()}


def pipeline(size, *steps, use_udp=False):
    """Config of a pipeline for testing, with further steps at its end."""
    affine = dict(type='TopdownAffine', input_size=size, use_udp=use_udp)
    load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
    return [*load, affine, *steps, dict(type='PackPoseInputs')]


def coco_samples(root, codec, target=True, udp=None, **kwargs):
    """Data samples of a pipeline that validates, with random predictions."""
    udp = codec['type'] == 'UDPHeatmap' if udp is None else udp
    steps = [dict(type='GenerateTarget', encoder=codec)] if target else []
    dataset = CocoDataset(
        ann_file=f'{root}/annotations/person_keypoints_val2017.json',
        data_prefix=dict(img=f'{root}/val2017/'),
        test_mode=True,
        **kwargs,
    )
    dataset.pipeline = Compose(pipeline((48, 64), *steps, use_udp=udp))
    generator = torch.Generator().manual_seed(0)
    samples = [item['data_samples'].to_dict() for item in dataset]
    for person in samples:
        maps = torch.rand(17, 16, 12, generator=generator)
        person['pred_fields'] = dict(heatmaps=maps)
        points = person['gt_instances']['keypoints'] + 1
        person['pred_instances'] = dict(keypoints=points)
    return samples


# Trainings: of a config, in several processes, and what they leave.


def train_and_test(path, root, work_dir, train=True, **changes):
    """Metrics after a training of one batch, validated, saved and tested.

    Where ``train`` is false, or a config can only be tested, it is tested with
    its own random weights; ``changes`` are as of ``--cfg-options``.
    """
    cfg = read(path)
    options = {
        **tiny(root, 1, LOADERS),
        'work_dir': str(work_dir),
        'experiment_name': f'{path.stem}_{work_dir.name}',
        'env_cfg.mp_cfg.mp_start_method': 'fork',
        # One batch of each; Adam's state is twice as large as the model.
        **{f'{x}_dataloader.dataset.indices': 2 for x in LOADERS},
        'default_hooks.checkpoint.save_optimizer': False,
        **changes,
    }
    options = move_data(cfg, options)
    if cfg.test_evaluator.type == 'CocoSubmission':
        options['test_evaluator.out_dir'] = str(work_dir)
    if cfg.test_evaluator.type == 'MpiiSubmission':
        # It wants every person of the set.
        del options['test_dataloader.dataset.indices']
        options['test_evaluator.outfile'] = str(work_dir / 'pred.mat')
    cfg.merge_from_dict(options)
    cfg.model.get('module', cfg.model).backbone.init_cfg = None
    runner = Runner.from_cfg(cfg)
    if train and cfg.model.type != 'MultiScaleTTA':
        runner.train()
        assert runner.iter == 1
    return runner.test()


def fail_at_fourth(monkeypatch, owner, name, fault):
    """Let the fourth of at most five calls get a signal or an OSError."""
    function, calls = getattr(owner, name), iter(range(5))

    def interrupted(*args):
        if next(calls) == 3:
            if isinstance(fault, OSError):
                raise fault
            os.kill(os.getpid(), fault)
        function(*args)

    monkeypatch.setattr(owner, name, interrupted)


def run_in_processes(function, number, folder):
    """Run a module's ``function(rank, number, empty folder)`` with gloo."""
    args = (function, number, folder)
    torch.multiprocessing.start_processes(
        _join, args, nprocs=number, start_method=METHOD
    )


def _join(rank, function, number, folder):
    group = dict(init_method=f'file://{folder}/meeting_point')
    group.update(rank=rank, world_size=number)
    torch.distributed.init_process_group('gloo', **group)
    function(rank, number, folder)


def save_checkpoint(path, best=None, iteration=None):
    """Without an iteration, one that nothing can be resumed from."""
    info = dict(best_ckpt=best) if best else {}
    state = dict(message_hub=dict(runtime_info=info))
    if iteration is not None:
        state.update(meta=dict(iter=iteration), optimizer={})
    torch.save(state, path)


# What fake tools/train.py and tools/test.py begin with.
ARGUMENTS = """
import argparse, json, pathlib, shutil, sys
parser = argparse.ArgumentParser()
parser.add_argument('config', type=pathlib.Path)
if TEST:
    parser.add_argument('checkpoint', type=pathlib.Path)
    parser.add_argument('--out', type=pathlib.Path)
parser.add_argument('--work-dir', type=pathlib.Path)
parser.add_argument('--launcher')
parser.add_argument('--resume', action='store_true')
parser.add_argument('--auto-scale-lr', action='store_true')
parser.add_argument('--cfg-options', nargs='+', default=[])
args = parser.parse_args()
here = pathlib.Path(__file__).parent
"""


def count_flops(model, *size):
    """MMEngine's counts for a picture, without its warnings."""
    model.forward = model._forward
    flops = FlopAnalyzer(model.eval(), torch.zeros(1, 3, *size))
    flops.unsupported_ops_warnings(False)
    flops.uncalled_modules_warnings(False)
    return flops


def conv_gflops(model, *size):
    """Multiply-adds of convolutions in units of 1024^3, by module."""
    counts = count_flops(model, *size).by_module_and_operator()
    return {name: count['conv'] / 1024**3 for name, count in counts.items()}


def randomize_norms(module):
    """Norms whose statistics are not the initial ones, in float64."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight.data, m.bias.data, m.running_mean):
                t.normal_()
            m.running_var.uniform_(0.5, 2)
    module.double().eval()
    return module


# Every loss, with its defaults first, and in variants.
LOSS_VARIANTS = {
    'AsymmetricMSELoss': [dict(form=form) for form in F.AMSE_FORMS]
    + [
        dict(reference=0.1),
        dict(reference=lambda s, g: 0.5 * g),
        dict(form='error_weighted', reference='squared_error'),
    ],
    'RegularizedMSELoss': [dict()],
    'FocusedMSELoss': [dict(), dict(gamma=2, delta=0.01)],
    'HeatmapWeightingMSELoss': [
        dict(weight_fn=fn) for fn in (*F.WEIGHT_FNS, None, torch.sqrt)
    ],
    'AnchorLoss': [dict(), dict(gamma=0.5), dict(background_threshold=0.1)],
    'HeatmapFocalLoss': [dict(), dict(gamma=0.5)],
}
ALL_LOSSES = [
    pytest.param(dict(type=name, **options), id=f'{name}-{i}')
    for name, variants in LOSS_VARIANTS.items()
    for i, options in enumerate(variants)
]
LOSSES = tuple(LOSS_VARIANTS)
DEFAULT_LOSSES = [pytest.param(dict(type=name), id=name) for name in LOSSES]


def gradient(loss, output, *args):
    """A loss and its gradient by the output."""
    output = output.detach().clone().requires_grad_()
    value = loss(output, *args)
    value.backward()
    return value.detach(), output.grad


def random_maps(seed, shape=(2, 3, 8, 6)):
    """An output, a target of Gaussians and weights of the keypoints."""
    rng = torch.Generator().manual_seed(seed)
    batch, keypoints, height, width = shape
    y, x = torch.arange(height)[:, None], torch.arange(width)
    centre = torch.rand(2, batch, keypoints, 1, 1, generator=rng)
    target = torch.exp(
        -((x - centre[0] * (width - 1)).round() ** 2)
        - (y - centre[1] * (height - 1)).round() ** 2
    )
    target[target < 0.01] = 0
    output = torch.randn(shape, generator=rng)
    weights = (torch.rand(shape[:2], generator=rng) > 0.3).float()
    return output, target, weights


def different_norms(net):
    """Give each batch norm of a network statistics of its own."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return net


def tiny(root, epochs, parts):
    """Changes of a config for a training of a few pictures in this process."""
    options = {
        'data_root': str(root),
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1,
        'env_cfg.dist_cfg.backend': 'gloo',
    }
    for part in parts:
        options[f'{part}_dataloader.batch_size'] = 2
        options[f'{part}_dataloader.num_workers'] = 0
        options[f'{part}_dataloader.persistent_workers'] = False
        options[f'{part}_dataloader.dataset.indices'] = 4
    return options


def tiny_options(root, epochs, validate=True, **more):
    """``--cfg-options`` for two iterations an epoch, all of them logged."""
    held_out = ('val', 'test') if validate else ()
    options = tiny(root, epochs, ('train', *held_out))
    options['default_hooks.logger.interval'] = 1
    options['model.backbone.init_cfg'] = None
    for part in held_out:
        options[f'{part}_dataloader.dataset.bbox_file'] = None
    return [f'{key}={value}' for key, value in {**options, **more}.items()]
