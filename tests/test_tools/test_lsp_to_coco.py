"""LSP and LSPET: what their arrays mean, and what is refused."""

import json
import re
import shutil

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ..factories import load_tool, write_lsp, write_noise


@pytest.fixture
def data(tmp_path):
    write_lsp(tmp_path / 'lsp')
    return tmp_path / 'lsp'


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/lsp_to_coco.py')


@pytest.fixture
def convert(tool, tmp_path, monkeypatch, capsys):
    def run(*args):
        args = [*map(str, args), '--out', str(tmp_path / 'out')]
        monkeypatch.setattr('sys.argv', ['lsp_to_coco.py', *args])
        tool.main()
        files = (tmp_path / 'out').glob('*')
        said = capsys.readouterr().out
        return said, {f.name: json.loads(f.read_text()) for f in files}

    return run


def both(data):
    return (
        '--lsp',
        data / 'lsp_dataset_original',
        '--lspet',
        data / 'lspet_dataset',
    )


def keypoints(coco, file_name):
    (image,) = (i for i in coco['images'] if i['file_name'] == file_name)
    (ann,) = (a for a in coco['annotations'] if a['image_id'] == image['id'])
    return np.array(ann['keypoints']).reshape(14, 3), ann, image


def test_split_is_that_of_the_papers(data, convert):
    _, files = convert(*both(data))
    names = {
        name: [image['file_name'] for image in coco['images']]
        for name, coco in files.items()
    }
    lsp = [f'lsp_dataset_original/images/im000{i}.jpg' for i in range(1, 7)]
    lspet = [f'lspet_dataset/images/im0000{i}.jpg' for i in range(1, 7)]
    assert names == {
        'lsp_train.json': lsp[:3] + lspet,
        'lsp_test.json': lsp[3:],
    }
    for coco in files.values():
        ids = [image['id'] for image in coco['images']]
        assert len(set(ids)) == len(ids)
        assert [ann['image_id'] for ann in coco['annotations']] == ids


def test_val_from(data, convert):
    _, files = convert(*both(data), '--val-from', 5)
    train, val = (
        [image['file_name'][-5:] for image in files[name]['images']]
        for name in ('lsp_train.json', 'lsp_val.json')
    )
    assert train == [f'{i}.jpg' for i in (1, 2, 3, 1, 2, 3, 4)]
    assert val == ['5.jpg', '6.jpg']


def test_lsp_marks_the_occluded_and_counts_from_1(data, convert):
    """The joint (x, y, 1) of MATLAB becomes (x - 1, y - 1, 1)."""
    joints = loadmat(data / 'lsp_dataset_original/joints.mat')['joints']
    joints[:, 4, 4] = (21.5, 31.25, 1)
    joints[:, 5, 4] = (33, 47, 0)
    savemat(data / 'lsp_dataset_original/joints.mat', dict(joints=joints))
    _, files = convert('--lsp', data / 'lsp_dataset_original')
    points, ann, image = keypoints(
        files['lsp_test.json'], 'lsp_dataset_original/images/im0005.jpg'
    )
    assert points[4].tolist() == [20.5, 30.25, 1]
    assert points[5].tolist() == [32, 46, 2]
    assert ann['num_keypoints'] == 14
    assert (image['width'], image['height']) == (128, 96)


def test_lspet_marks_the_labelled_and_counts_from_0(data, convert):
    joints = loadmat(data / 'lspet_dataset/joints.mat')['joints']
    joints[1, :, 3] = (21.5, 31.25, 1)
    savemat(data / 'lspet_dataset/joints.mat', dict(joints=joints))
    _, files = convert('--lspet', data / 'lspet_dataset')
    assert list(files) == ['lsp_train.json']
    points, ann, _ = keypoints(
        files['lsp_train.json'], 'lspet_dataset/images/im00004.jpg'
    )
    assert points[0].tolist() == [0, 0, 0]
    assert points[1].tolist() == [21.5, 31.25, 2]
    assert ann['num_keypoints'] == 13
    # The box is that of the labelled joints alone.
    low, high = points[1:, :2].min(axis=0), points[1:, :2].max(axis=0)
    np.testing.assert_allclose(ann['bbox'], [*low, *(high - low)], atol=0.011)


def test_category_names_joints_and_links(data, convert):
    _, files = convert('--lspet', data / 'lspet_dataset')
    (category,) = files['lsp_train.json']['categories']
    assert category['keypoints'][0] == 'right_ankle'
    assert category['keypoints'][9] == 'left_shoulder'
    assert category['keypoints'][13] == 'head_top'
    # COCO's links count from 1: right ankle to right knee.
    assert [1, 2] in category['skeleton']
    assert np.unique(category['skeleton']).tolist() == list(range(1, 15))


def test_pictures_without_usable_labels_are_left_out(data, convert):
    joints = loadmat(data / 'lspet_dataset/joints.mat')['joints']
    joints[:, 2, 0] = 0
    joints[1:, 2, 1] = 0
    savemat(data / 'lspet_dataset/joints.mat', dict(joints=joints))
    said, files = convert('--lspet', data / 'lspet_dataset')
    assert len(files['lsp_train.json']['images']) == 4
    assert '2 pictures without usable labels left out' in said


def remove_joints(data):
    (data / 'lspet_dataset/joints.mat').unlink()


def break_joints(data):
    (data / 'lspet_dataset/joints.mat').write_text('x' * 200)


def rename_joints(data):
    savemat(data / 'lspet_dataset/joints.mat', dict(points=np.zeros(3)))


def put_lsp_for_lspet(data):
    shutil.copy(
        data / 'lsp_dataset_original/joints.mat', data / 'lspet_dataset'
    )


def put_flag_2(data):
    joints = loadmat(data / 'lspet_dataset/joints.mat')['joints']
    joints[3, 2, 1] = 2
    savemat(data / 'lspet_dataset/joints.mat', dict(joints=joints))


def remove_picture(data):
    (data / 'lspet_dataset/images/im00006.jpg').unlink()


def break_picture(data):
    (data / 'lspet_dataset/images/im00002.jpg').write_text('no picture')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (remove_joints, 'lspet_dataset/joints.mat does not exist'),
        (break_joints, 'joints.mat is not a MATLAB file'),
        (rename_joints, "KeyError('joints')"),
        (put_lsp_for_lspet, '(3, 14, 6), expected 14 x 3 x pictures'),
        (put_flag_2, 'third value other than 0 and 1'),
        (remove_picture, 'im00006.jpg does not exist: 1 of 6'),
        (break_picture, 'im00002.jpg is not a picture'),
    ],
)
def test_bad_data_is_refused(data, tmp_path, convert, spoil, message):
    spoil(data)
    with pytest.raises(SystemExit, match=re.escape(message)):
        convert(*both(data))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((), 'Give --lsp, --lspet or both.'),
        (('--lsp', 'a/lsp', '--lspet', 'b/lspet'), 'must be in one folder'),
        (('--lsp', 'a/lsp', '--val-from', 3), 'splits LSPET'),
    ],
)
def test_bad_options_are_refused(convert, args, message):
    with pytest.raises(SystemExit, match=message):
        convert(*args)


@pytest.mark.parametrize('first', [1, 7])
def test_empty_parts_are_refused(data, convert, first):
    with pytest.raises(SystemExit, match='must be 2 to 6, the number'):
        convert(*both(data), '--val-from', first)


@pytest.mark.slow
def test_as_a_user_runs_it(data, tmp_path, run_tool):
    tool = 'dataset_converters/lsp_to_coco.py'
    result = run_tool(tool, *both(data), '--out', tmp_path / 'out')
    assert 'lsp_train.json: 9 pictures, 124 labelled joints' in result.stdout
    result = run_tool(tool, '--lsp', tmp_path, check=False)
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout


def test_camera_orientation_is_applied(data, convert):
    """The size is that of the picture as MMPose reads it."""
    from PIL import Image

    file = data / 'lspet_dataset/images/im00001.jpg'
    write_noise(file, 128, 96)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    with Image.open(file) as picture:
        picture.load()
    picture.save(file, exif=exif)
    _, files = convert('--lspet', data / 'lspet_dataset')
    _, _, image = keypoints(
        files['lsp_train.json'], 'lspet_dataset/images/im00001.jpg'
    )
    assert (image['width'], image['height']) == (96, 128)


@pytest.mark.slow
def test_real_lspet(shared_data, convert):
    _, files = convert('--lspet', shared_data / 'lspet', '--val-from', 8001)
    assert len(files['lsp_train.json']['images']) == 8000
    assert len(files['lsp_val.json']['images']) == 1000
    joints = loadmat(shared_data / 'lspet/joints.mat')['joints']
    labelled = sum(
        ann['num_keypoints']
        for coco in files.values()
        for ann in coco['annotations']
    )
    assert labelled == joints[:, 2].sum()
    for coco in files.values():
        sizes = {i['id']: (i['width'], i['height']) for i in coco['images']}
        for ann in coco['annotations']:
            x, y, w, h = ann['bbox']
            width, height = sizes[ann['image_id']]
            assert 0 <= x < x + w <= width - 1 + 0.02
            assert 0 <= y < y + h <= height - 1 + 0.02
