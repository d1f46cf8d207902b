"""tools/train.py and tools/test.py, from a fresh start to a test."""

import json
from pathlib import Path

import pytest

from ..factories import CONFIGS, fork_tool, run_main, tiny_options

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


@pytest.fixture(scope='module')
def demo_data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'demo'
    run_main('dataset_converters/prepare_demo_data.py', '--out', root)
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
def test_start_resume_and_test(config, data, request, tmp_path):
    """Two iterations, a checkpoint, two more from there, a test."""
    root = request.getfixturevalue(data)
    overrides = tiny_options(root, epochs=1)
    common = ['--work-dir', tmp_path, '--cfg-options']
    fork_tool('train.py', config, *common, *overrides)
    assert (tmp_path / 'epoch_1.pth').exists()
    overrides = tiny_options(root, epochs=2)
    resume = ['--resume', *common, *overrides]
    log = fork_tool('train.py', config, *resume).stdout
    assert 'resumed epoch: 1, iter: 2' in log
    checkpoint = Path((tmp_path / 'last_checkpoint').read_text())
    assert checkpoint.name == 'epoch_2.pth'
    out = tmp_path / 'metrics.json'
    fork_tool('test.py', config, checkpoint, '--out', out, *common, *overrides)
    losses = [
        json.loads(line)['loss']
        for file in sorted(tmp_path.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
        if '"loss"' in line
    ]
    assert len(losses) == 4
    assert all(0 < loss < 100 for loss in losses)
    score = 'PCK' if data == 'mpii_data' else 'coco/AP'
    assert score in json.loads(out.read_text())


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
        *tiny_options(coco_data, epochs=1),
        cwd=cwd,
    )
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()
    assert not list(cwd.iterdir())


DEMO = next(path for path in CONFIGS if 'demo-' in path.stem)


@pytest.mark.parametrize(
    ('command', 'words'),
    [
        (['train.py', 'none.py'], ['none.py']),
        # As in MMPose: the config is found behind options with values.
        (
            ['train.py', '--work-dir', 'w', AMSE],
            ['data/coco/annotations/person_keypoints_train2017.json', 'mim'],
        ),
        (['test.py', DEMO, 'x.pth'], ['data/demo/annotations/', 'prepare']),
    ],
)
def test_missing_files(run_tool, tmp_path, command, words):
    result = run_tool(*command, cwd=tmp_path, check=False)
    assert result.returncode == 1
    (line,) = result.stdout.splitlines()
    assert all(word in line for word in words)
    assert not list(tmp_path.iterdir())
