"""tools/train.py and tools/test.py, from a fresh start to a test."""

import json
from pathlib import Path

import pytest

from ..factories import CONFIGS, ROOT, call_tool

# One of each paper; tests/test_run_configs.py runs them all.
REFERENCE = [
    'td-hm_res50_amse-4xb32-140e_coco-256x192',
    'td-hm_mobilenetv3-dwattn_hmw-1xb64-210e_coco-256x192',
    'td-hm_hourglass2_anchor-1xb6-200e_mpii-256x256',
    'td-hm_hourglass8_fmse-4xb6-200e_mpii-256x256',
]
COCO = [p for p in CONFIGS if p.stem in REFERENCE and 'coco-' in p.stem]
MPII = [p for p in CONFIGS if p.stem in REFERENCE and 'mpii-' in p.stem]
DEMO = [path for path in CONFIGS if 'demo-' in path.stem]


def stem(path):
    return path.stem


def options(cfg_data, root, **more):
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
        if cfg_data == 'coco' and loader != 'train_dataloader':
            result[f'{loader}.dataset.bbox_file'] = None
    return [f'{key}={value}' for key, value in {**result, **more}.items()]


def start_resume_and_test(run_tool, config, data, root, work_dir):
    """Two iterations, a checkpoint, two more from there, a test."""
    overrides = options(data, root)
    common = ['--work-dir', work_dir, '--cfg-options']
    run_tool('train.py', config, *common, *overrides)
    assert (work_dir / 'epoch_1.pth').exists()
    overrides = options(data, root, **{'train_cfg.max_epochs': 2})
    log = run_tool('train.py', config, '--resume', *common, *overrides).stdout
    assert 'resumed epoch: 1, iter: 2' in log
    checkpoint = Path((work_dir / 'last_checkpoint').read_text())
    assert checkpoint.name == 'epoch_2.pth'
    out = work_dir / 'metrics.json'
    run_tool('test.py', config, checkpoint, '--out', out, *common, *overrides)
    losses = [
        json.loads(line)['loss']
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
        if '"loss"' in line
    ]
    assert len(losses) == 4
    assert all(0 < loss < 100 for loss in losses)
    return json.loads(out.read_text())


@pytest.mark.parametrize(
    'config',
    [
        pytest.param(
            path,
            # One stays in the fast suite.
            marks=[] if '_hmw-' in path.stem else pytest.mark.slow,
        )
        for path in COCO
    ],
    ids=stem,
)
def test_on_generated_coco(config, run_tool, coco_data, tmp_path):
    metrics = start_resume_and_test(
        run_tool, config, 'coco', coco_data, tmp_path
    )
    assert 'coco/AP' in metrics


@pytest.mark.slow
@pytest.mark.parametrize('config', COCO, ids=stem)
def test_on_real_coco(config, run_tool, shared_data, tmp_path):
    root = shared_data / 'coco_mini'
    metrics = start_resume_and_test(run_tool, config, 'coco', root, tmp_path)
    assert 'coco/AP' in metrics


@pytest.mark.slow
@pytest.mark.parametrize('config', MPII, ids=stem)
def test_on_generated_mpii(config, run_tool, mpii_data, tmp_path):
    metrics = start_resume_and_test(
        run_tool, config, 'mpii', mpii_data, tmp_path
    )
    assert 'PCK' in metrics


@pytest.fixture(scope='module')
def demo_data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'demo'
    call_tool('dataset_converters/prepare_demo_data.py', '--out', root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize('config', COCO, ids=stem)
def test_on_demo_data(config, run_tool, demo_data, tmp_path):
    """The demo data is COCO's layout: every COCO config runs on it."""
    metrics = start_resume_and_test(
        run_tool, config, 'coco', demo_data, tmp_path
    )
    assert 'coco/AP' in metrics


@pytest.mark.slow
def test_with_a_box_file(run_tool, shared_data, tmp_path):
    """Real detector boxes of four real COCO pictures."""
    config = next(path for path in COCO if '_hmw-' in path.stem)
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
        'train.py', config, '--work-dir', tmp_path, '--cfg-options', *overrides
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
        *options('coco', coco_data),
        cwd=cwd,
    )
    saved = tmp_path / 'work' / 'epoch_1.pth'
    assert saved.exists()
    assert not list(cwd.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tool', 'more', 'missing', 'cure'),
    [
        ('train.py', [], 'annotations/person_keypoints_train', 'mim download'),
        ('test.py', ['x.pth'], 'annotations/person_keypoints_val', 'mim'),
    ],
)
def test_missing_annotation_file(
    run_tool, tmp_path, tool, more, missing, cure
):
    result = run_tool(tool, COCO[0], *more, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert f'data/coco/{missing}' in result.stdout
    assert cure in result.stdout.splitlines()[-1]
    assert 'Traceback' not in result.stdout


def test_missing_demo_data_names_the_command(run_tool, tmp_path):
    result = run_tool('train.py', DEMO[0], cwd=tmp_path, check=False)
    assert 'prepare_demo_data.py' in result.stdout.splitlines()[-1]
    assert 'Traceback' not in result.stdout


@pytest.mark.slow
def test_missing_box_file(run_tool, coco_data, tmp_path):
    root = f'test_dataloader.dataset.data_root={coco_data}/'
    result = run_tool(
        *('test.py', COCO[0], 'x.pth', '--cfg-options', root),
        cwd=tmp_path,
        check=False,
    )
    assert 'box file data/coco/person_detection_results' in result.stdout
    assert 'bbox_file=None' in result.stdout
    assert 'Traceback' not in result.stdout


def test_missing_config(run_tool, tmp_path):
    result = run_tool('train.py', 'none.py', cwd=tmp_path, check=False)
    assert result.stdout.strip() == 'The config none.py does not exist.'


def test_options_may_come_first(run_tool, tmp_path):
    """As in MMPose: the config is found behind options with values."""
    result = run_tool(
        'train.py', '--work-dir', tmp_path, COCO[0], cwd=tmp_path, check=False
    )
    assert 'person_keypoints_train2017.json does not exist' in result.stdout


def test_help_is_the_host_s(run_tool):
    assert 'Train a pose model' in run_tool('train.py', '--help').stdout


@pytest.mark.slow
def test_missing_files_of_the_test_sets(run_tool, tmp_path):
    """Each is named before anything is built, with where to get it."""
    anchor_loss = ROOT / 'configs' / 'anchor_loss'
    config = anchor_loss / 'td-hm_hourglass8_1xb6-200e_mpii-test-256x256.py'
    (tmp_path / 'annotations').mkdir()
    for name, advice in (
        ('annotations/mpii_test.json', 'mpii_test_to_json.py'),
        (
            'annotations/mpii_human_pose_v1_u12_1.mat',
            'human-pose.mpi-inf.mpg.de',
        ),
    ):
        result = run_tool(
            *('test.py', config, 'x.pth'),
            *('--cfg-options', f'data_root={tmp_path}'),
            cwd=tmp_path,
            check=False,
        )
        line = result.stdout.splitlines()[-1]
        assert f'{tmp_path / name} does not exist' in line
        assert advice in line
        assert 'Traceback' not in result.stdout
        (tmp_path / name).touch()

    config = anchor_loss / 'td-hm_cpm_8xb64-210e_lsp-368x368.py'
    result = run_tool('train.py', config, cwd=tmp_path, check=False)
    assert 'lsp_to_coco.py' in result.stdout.splitlines()[-1]
