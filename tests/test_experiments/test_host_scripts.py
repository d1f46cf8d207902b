"""What tools/train.py and test.py do before and after MMPose's scripts."""

import errno
import json
import os
from pathlib import Path

import mmpose
import pytest
from mmengine.config import Config

from mmpose_lossplus.experiments import configs, host_scripts

from ..factories import CONFIGS

BOXES = 'person_detection_results/boxes.json'


@pytest.fixture(scope='module')
def tool():
    return host_scripts


@pytest.fixture
def cfg():
    """Paths at all the places where configs have them."""
    one = dict(data_root='data/coco/', ann_file='annotations/a.json')
    return Config(
        dict(
            data_root='data/coco/',
            train_dataloader=dict(
                dataset=dict(
                    type='CombinedDataset',
                    datasets=[one, dict(one, data_root='data/coco_more/')],
                )
            ),
            test_dataloader=dict(
                dataset=dict(
                    data_root='data/coco', bbox_file=f'data/coco/{BOXES}'
                )
            ),
            val_evaluator=dict(ann_file='data/coco/annotations/b.json'),
            test_evaluator=[
                dict(ann_file='data/coco/annotations/b.json'),
                dict(type='DumpResults', out_file_path='out.pkl'),
            ],
        )
    )


@pytest.mark.parametrize('new', ['/ssd/coco', '/ssd/coco/'])
def test_every_path_below_moves(tool, cfg, new):
    options = configs.move_data(cfg, dict(data_root=new))
    cfg.merge_from_dict(options)
    first, second = cfg.train_dataloader.dataset.datasets
    assert first.data_root == '/ssd/coco/'
    # A neighbour whose name begins in the same way stays.
    assert second.data_root == 'data/coco_more/'
    # Relative to the dataset's data_root, and so moved with it.
    assert first.ann_file == 'annotations/a.json'
    dataset = cfg.test_dataloader.dataset
    assert dataset == dict(
        data_root='/ssd/coco/', bbox_file=f'/ssd/coco/{BOXES}'
    )
    assert cfg.val_evaluator.ann_file == '/ssd/coco/annotations/b.json'
    assert cfg.test_evaluator[0].ann_file == '/ssd/coco/annotations/b.json'
    assert cfg.test_evaluator[1].out_file_path == 'out.pkl'
    assert cfg.data_root == '/ssd/coco/'


def test_explicit_options_win(tool, cfg):
    explicit = {
        'test_dataloader.dataset.bbox_file': None,
        'val_evaluator.ann_file': 'mine.json',
        'data_root': '/ssd',
    }
    cfg.merge_from_dict(configs.move_data(cfg, explicit))
    assert cfg.test_dataloader.dataset.bbox_file is None
    assert cfg.val_evaluator.ann_file == 'mine.json'
    assert cfg.test_dataloader.dataset.data_root == '/ssd/'


@pytest.mark.parametrize(
    ('change', 'options'),
    [
        (dict(), dict()),
        (dict(), {'train_cfg.max_epochs': 1}),
        (dict(data_root=''), dict(data_root='/ssd')),
        (dict(data_root=None), dict(data_root='/ssd')),
    ],
)
def test_nothing_to_move(tool, cfg, change, options):
    cfg.merge_from_dict(change)
    assert configs.move_data(cfg, options) == options


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_no_path_of_a_config_stays(tool, path):
    cfg = Config.fromfile(path)
    old = cfg.data_root
    assert f'"{old}' in json.dumps(cfg.to_dict())
    cfg.merge_from_dict(configs.move_data(cfg, dict(data_root='/ssd/data')))
    assert f'"{old}' not in json.dumps(cfg.to_dict())


def test_train_looks_where_the_data_is(run_tool, tmp_path):
    config = next(path for path in CONFIGS if 'coco-' in path.stem)
    result = run_tool(
        *('train.py', config, '--cfg-options', f'data_root={tmp_path}'),
        check=False,
        cwd=tmp_path,
    )
    missing = tmp_path / 'annotations' / 'person_keypoints_train2017.json'
    assert result.returncode == 1
    assert f'annotation file {missing} does not exist' in result.stdout
    assert 'has finished' not in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ('script', 'more'), [('train.py', []), ('test.py', ['x.pth'])]
)
def test_work_dir_that_cannot_be(script, more, run_tool, coco_data, tmp_path):
    """Refused before anything is built."""
    config = next(path for path in CONFIGS if '_hmw-' in path.stem)
    (tmp_path / 'file').touch()
    work_dir = tmp_path / 'file' / 'work'
    options = [f'data_root={coco_data}', 'test_dataloader.dataset.bbox_file=']
    result = run_tool(
        *(script, config, *more, '--work-dir', work_dir),
        *('--cfg-options', *options),
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        f'The work_dir {work_dir} cannot be written '
        f'({os.strerror(errno.ENOTDIR)}): choose another with --work-dir.'
    )
    assert 'Traceback' not in result.stdout
    assert 'System environment' not in result.stdout


def test_work_dir_without_the_right_to_write(tool, monkeypatch, tmp_path):
    def refuse(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), dir)

    monkeypatch.setattr(tool.tempfile, 'TemporaryFile', refuse)
    with pytest.raises(SystemExit, match=r'cannot be written \(Permission'):
        tool._check_work_dir(tmp_path)


def test_work_dir_that_can_be(tool, tmp_path):
    tool._check_work_dir(tmp_path / 'a' / 'b')
    assert not list((tmp_path / 'a' / 'b').iterdir())


CHECKPOINT = dict(type='CheckpointHook', interval=3)
SYNC = dict(type='SyncBuffersHook')
SEEDS = dict(type='mmpose.EpochSeedHook')


@pytest.mark.parametrize(
    ('cfg', 'checkpoint', 'hooks'),
    [
        (
            dict(randomness=dict(seed=0), custom_hooks=[SYNC]),
            dict(type='mmpose.SafeCheckpointHook', interval=3),
            [SYNC, SEEDS],
        ),
        (
            dict(randomness=dict(seed=None), custom_hooks=[SYNC]),
            dict(type='mmpose.SafeCheckpointHook', interval=3),
            [SYNC],
        ),
        (
            dict(default_hooks=dict(checkpoint=dict(type='Own', interval=3))),
            dict(type='Own', interval=3),
            None,
        ),
        (dict(default_hooks=dict(checkpoint=None)), None, None),
    ],
)
def test_trainings_are_made_safe(tool, cfg, checkpoint, hooks):
    default = dict(default_hooks=dict(checkpoint=CHECKPOINT))
    cfg = Config({**default, **cfg})
    tool._make_safe(cfg)
    assert cfg.default_hooks.checkpoint == checkpoint
    assert cfg.get('custom_hooks') == hooks


@pytest.mark.slow
def test_train_without_validation_and_dump(run_tool, coco_data, tmp_path):
    """Options of MMPose's scripts that change the evaluators."""
    config = Path(mmpose.__file__).parent.joinpath(
        '.mim/configs/body_2d_keypoint/topdown_heatmap/coco',
        'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
    )
    options = [
        f'data_root={coco_data}',
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
        'test_dataloader.dataset.bbox_file=None',
        'model.backbone.init_cfg=None',
    ]
    work_dir = ['--work-dir', tmp_path, '--cfg-options', *options]
    log = run_tool('train.py', config, '--no-validate', *work_dir).stdout
    assert log.splitlines()[-1] == 'train.py has finished.'
    dump, out = tmp_path / 'dump.pkl', tmp_path / 'out.json'
    run_tool(
        *('test.py', config, tmp_path / 'epoch_1.pth'),
        *('--dump', dump, '--out', out, *work_dir),
    )
    assert dump.exists()
    assert 'coco/AP' in json.loads(out.read_text())
