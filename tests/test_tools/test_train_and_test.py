"""tools/train.py and tools/test.py, from a fresh start to a test."""

import json
from pathlib import Path

import pytest

from ..factories import CONFIGS, ROOT, call_tool

# One of each paper; tests/test_run_configs.py runs them all.
AMSE, HMW, ANCHOR, FMSE = (
    next(path for path in CONFIGS if path.stem == stem)
    for stem in (
        'td-hm_res50_amse-4xb32-140e_coco-256x192',
        'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192',
        'td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256',
        'td-hm_hourglass8_fmse-4xb6-200e_mpii-256x256',
    )
)


def options(root, bbox_file=True, **more):
    """Overrides that put a config on other data, two iterations an epoch."""
    result = {
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.logger.interval': 1,
        'model.backbone.init_cfg': None,
        'env_cfg.dist_cfg.backend': 'gloo',
        'data_root': root,
        'train_dataloader.batch_size': 2,
    }
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        result[f'{loader}.num_workers'] = 0
        result[f'{loader}.persistent_workers'] = False
        result[f'{loader}.dataset.indices'] = 4
        if not bbox_file and loader != 'train_dataloader':
            result[f'{loader}.dataset.bbox_file'] = None
    return [f'{key}={value}' for key, value in {**result, **more}.items()]


@pytest.fixture(scope='module')
def demo_data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'demo'
    call_tool('dataset_converters/prepare_demo_data.py', '--out', root)
    return root


@pytest.fixture
def coco_mini(shared_data):
    return shared_data / 'coco_mini'


@pytest.mark.parametrize(
    ('config', 'data'),
    [
        (HMW, 'coco_data'),  # one stays in the fast suite
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                *((AMSE, 'coco_data'), (HMW, 'coco_mini')),
                *((AMSE, 'coco_mini'), (HMW, 'demo_data')),
                *((ANCHOR, 'mpii_data'), (FMSE, 'mpii_data')),
            )
        ),
    ],
    ids=lambda x: getattr(x, 'stem', x),
)
def test_start_resume_and_test(config, data, run_tool, request, tmp_path):
    """Two iterations, a checkpoint, two more from there, a test."""
    root = request.getfixturevalue(data)
    of_mpii = data == 'mpii_data'
    overrides = options(root, bbox_file=of_mpii)
    common = ['--work-dir', tmp_path, '--cfg-options']
    run_tool('train.py', config, *common, *overrides)
    assert (tmp_path / 'epoch_1.pth').exists()
    overrides = options(root, of_mpii, **{'train_cfg.max_epochs': 2})
    log = run_tool('train.py', config, '--resume', *common, *overrides).stdout
    assert 'resumed epoch: 1, iter: 2' in log
    checkpoint = Path((tmp_path / 'last_checkpoint').read_text())
    assert checkpoint.name == 'epoch_2.pth'
    out = tmp_path / 'metrics.json'
    run_tool('test.py', config, checkpoint, '--out', out, *common, *overrides)
    losses = [
        json.loads(line)['loss']
        for file in sorted(tmp_path.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
        if '"loss"' in line
    ]
    assert len(losses) == 4
    assert all(0 < loss < 100 for loss in losses)
    score = 'PCK' if of_mpii else 'coco/AP'
    assert score in json.loads(out.read_text())


@pytest.mark.slow
def test_with_a_box_file(run_tool, shared_data, tmp_path):
    """Real detector boxes of four real COCO pictures."""
    sample = shared_data / 'coco_sample'
    overrides = []
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        overrides += [
            f'{loader}.dataset.data_root={sample}/',
            f'{loader}.dataset.ann_file=test_coco.json',
            f'{loader}.dataset.data_prefix.img=',
            f'{loader}.num_workers=0',
            f'{loader}.persistent_workers=False',
        ]
    boxes = sample / 'test_coco_det_AP_H_56.json'
    for name in ('val', 'test'):
        overrides += [
            f'{name}_dataloader.dataset.bbox_file={boxes}',
            f'{name}_evaluator.ann_file={sample / "test_coco.json"}',
        ]
    overrides += [
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
        'train_dataloader.batch_size=4',
        'model.backbone.init_cfg=None',
    ]
    log = run_tool(
        'train.py', HMW, '--work-dir', tmp_path, '--cfg-options', *overrides
    ).stdout
    assert 'coco/AP' in log


@pytest.mark.slow
def test_own_config_in_another_folder(run_tool, coco_data, tmp_path):
    """Two imports' worth of lines over an installed MMPose config."""
    config = tmp_path / 'mine' / 'my_config.py'
    config.parent.mkdir()
    config.write_text(
        "_base_ = ('mmpose::body_2d_keypoint/topdown_heatmap/coco/'\n"
        "          'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py')\n"
        "custom_imports = dict(imports=['mmpose_lossplus'],\n"
        '                      allow_failed_imports=False)\n'
        "model = dict(head=dict(loss=dict(type='AsymmetricMSELoss')))\n"
    )
    cwd = tmp_path / 'elsewhere'
    cwd.mkdir()
    run_tool(
        'train.py',
        config,
        *('--work-dir', tmp_path / 'work', '--cfg-options'),
        *options(coco_data, bbox_file=False),
        cwd=cwd,
    )
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()
    assert not list(cwd.iterdir())


def refused(result, *words):
    """It ended with one sentence in which these words stand."""
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout
    line = result.stdout.splitlines()[-1]
    assert all(str(word) in line for word in words), line


DEMO = next(path for path in CONFIGS if 'demo-' in path.stem)
LSP = next(path for path in CONFIGS if 'cpm_8xb64-210e_lsp-' in path.stem)
TRAIN = 'annotations/person_keypoints_train2017.json'


@pytest.mark.parametrize(
    ('command', 'words'),
    [
        (['train.py', 'none.py'], ['none.py']),
        # As in MMPose: the config is found behind options with values.
        (
            ['train.py', '--work-dir', 'w', AMSE],
            [f'data/coco/{TRAIN}', 'mim download'],
        ),
        (['train.py', DEMO], [f'data/demo/{TRAIN}', 'prepare_demo_data.py']),
        (['train.py', LSP], ['lsp_train.json', 'lsp_to_coco.py']),
        (
            ['test.py', AMSE, 'x.pth'],
            ['data/coco/annotations/person_keypoints_val2017.json', 'mim'],
        ),
    ],
)
def test_missing_files(run_tool, tmp_path, command, words):
    refused(run_tool(*command, cwd=tmp_path, check=False), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_missing_box_file(run_tool, coco_data, tmp_path):
    root = f'test_dataloader.dataset.data_root={coco_data}/'
    result = run_tool(
        *('test.py', AMSE, 'x.pth', '--cfg-options', root),
        cwd=tmp_path,
        check=False,
    )
    boxes = 'data/coco/person_detection_results'
    refused(result, boxes, 'bbox_file=None')


@pytest.mark.slow
def test_missing_files_of_a_test_set(run_tool, tmp_path):
    """Where ``data_root`` says, with where to get each."""
    anchor_loss = ROOT / 'configs' / 'anchor_loss'
    config = anchor_loss / 'td-hm_hourglass8_1xb6-200e_mpii-test-256x256.py'
    (tmp_path / 'annotations').mkdir()
    for name, advice in (
        ('mpii_test.json', 'mpii_test_to_json.py'),
        ('mpii_human_pose_v1_u12_1.mat', 'human-pose.mpi-inf.mpg.de'),
    ):
        result = run_tool(
            *('test.py', config, 'x.pth'),
            *('--cfg-options', f'data_root={tmp_path}'),
            check=False,
        )
        refused(result, tmp_path / 'annotations' / name, advice)
        (tmp_path / 'annotations' / name).touch()
