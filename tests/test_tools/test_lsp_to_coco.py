"""LSP and LSPET: what their arrays mean, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from ..factories import load_tool, write_lsp


@pytest.fixture
def data(tmp_path):
    write_lsp(tmp_path / 'lsp')
    return tmp_path / 'lsp'


@pytest.fixture
def convert(data, tmp_path, monkeypatch, capsys):
    """Run the converter where the data are: what it says and writes."""
    tool = load_tool('dataset_converters/lsp_to_coco.py')

    def call(*args):
        args = [*map(str, args), '--out', str(tmp_path / 'out')]
        monkeypatch.setattr('sys.argv', ['lsp_to_coco.py', *args])
        monkeypatch.chdir(data)
        tool.main()
        files = (tmp_path / 'out').glob('*')
        said = capsys.readouterr().out
        return said, {f.name: json.loads(f.read_text()) for f in files}

    return call


LSP = ('--lsp', 'lsp_dataset_original')
LSPET = ('--lspet', 'lspet_dataset')


def change_joints(folder, place, values):
    joints = loadmat(folder / 'joints.mat')['joints']
    joints[place] = values
    savemat(folder / 'joints.mat', dict(joints=joints))


def entry(coco, file_name):
    """Keypoints, annotation and image of a picture."""
    (image,) = (i for i in coco['images'] if i['file_name'] == file_name)
    (ann,) = (a for a in coco['annotations'] if a['image_id'] == image['id'])
    return np.array(ann['keypoints']).reshape(14, 3), ann, image


def test_split_is_that_of_the_papers(convert):
    said, files = convert(*LSP, *LSPET)
    lsp = [f'lsp_dataset_original/images/im000{i}.jpg' for i in range(1, 7)]
    lspet = [f'lspet_dataset/images/im0000{i}.jpg' for i in range(1, 7)]
    names = {'lsp_train.json': lsp[:3] + lspet, 'lsp_test.json': lsp[3:]}
    assert set(files) == set(names)
    for file, coco in files.items():
        assert [image['file_name'] for image in coco['images']] == names[file]
        ids = [image['id'] for image in coco['images']]
        assert len(set(ids)) == len(ids)
        assert [ann['image_id'] for ann in coco['annotations']] == ids
    assert 'lsp_train.json: 9 pictures, 124 labelled joints' in said


def test_val_from(convert):
    _, files = convert(*LSP, *LSPET, '--val-from', 5)
    train, val = (
        ''.join(image['file_name'][-5] for image in files[name]['images'])
        for name in ('lsp_train.json', 'lsp_val.json')
    )
    assert (train, val) == ('1231234', '56')


def test_lsp_marks_the_occluded_and_counts_from_1(data, convert):
    """The joint (x, y, 1) of MATLAB becomes (x - 1, y - 1, 1)."""
    folder = data / 'lsp_dataset_original'
    change_joints(folder, np.s_[:, 4, 4], (21.5, 31.25, 1))
    change_joints(folder, np.s_[:, 5, 4], (33, 47, 0))
    _, files = convert(*LSP)
    name = 'lsp_dataset_original/images/im0005.jpg'
    points, ann, image = entry(files['lsp_test.json'], name)
    assert points[4].tolist() == [20.5, 30.25, 1]
    assert points[5].tolist() == [32, 46, 2]
    assert ann['num_keypoints'] == 14
    assert (image['width'], image['height']) == (128, 96)


def test_lspet_marks_the_labelled_and_counts_from_0(data, convert):
    """And a picture has the size that MMPose reads, turned by its camera."""
    folder = data / 'lspet_dataset'
    change_joints(folder, np.s_[1, :, 3], (21.5, 31.25, 1))
    # Two pictures without usable labels, which are left out.
    change_joints(folder, np.s_[:, 2, 0], 0)
    change_joints(folder, np.s_[1:, 2, 1], 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    file = folder / 'images' / 'im00004.jpg'
    Image.open(file).save(file, exif=exif)

    said, files = convert(*LSPET)
    assert list(files) == ['lsp_train.json']
    coco = files['lsp_train.json']
    assert len(coco['images']) == 4
    assert '2 pictures without usable labels' in said
    points, ann, image = entry(coco, 'lspet_dataset/images/im00004.jpg')
    assert (image['width'], image['height']) == (96, 128)
    assert points[0].tolist() == [0, 0, 0]
    assert points[1].tolist() == [21.5, 31.25, 2]
    assert ann['num_keypoints'] == 13
    # The box is that of the labelled joints alone, inside the picture.
    low = points[1:, :2].min(axis=0)
    high = np.minimum(points[1:, :2].max(axis=0), (95, 127))
    np.testing.assert_allclose(ann['bbox'], [*low, *(high - low)], atol=0.011)

    (category,) = coco['categories']
    names = [category['keypoints'][i] for i in (0, 9, 13)]
    assert names == ['right_ankle', 'left_shoulder', 'head_top']
    # COCO's links count from 1: right ankle to right knee.
    assert [1, 2] in category['skeleton']
    assert np.unique(category['skeleton']).tolist() == list(range(1, 15))


@pytest.mark.parametrize(
    ('spoil', 'fault'),
    [
        (lambda p: (p / 'joints.mat').unlink(), r'lspet_dataset/joints\.mat'),
        (lambda p: (p / 'joints.mat').write_text('x' * 200), r'joints\.mat'),
        (lambda p: savemat(p / 'joints.mat', dict(points=0)), r"'joints'"),
        (
            lambda p: shutil.copy(f'{p}/../{LSP[1]}/joints.mat', p),
            r'\(3, 14, 6\)',
        ),
        (lambda p: change_joints(p, (3, 2, 1), 2), r'joints\.mat'),
        (lambda p: change_joints(p, (3, 0, 1), np.nan), r'joints\.mat'),
        (lambda p: (p / 'images/im00006.jpg').unlink(), r'im00006\.jpg'),
        (lambda p: (p / 'images/im00002.jpg').write_text('x'), 'im00002'),
    ],
)
def test_bad_data_is_refused(data, tmp_path, convert, spoil, fault):
    spoil(data / 'lspet_dataset')
    with pytest.raises(SystemExit, match=fault):
        convert(*LSP, *LSPET)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('args', 'fault'),
    [
        ((), '--lsp'),
        (('--lsp', 'a/lsp', '--lspet', 'b/lspet'), 'a/lsp and b/lspet'),
        ((*LSP, '--val-from', 3), '--val-from is 3'),
        ((*LSPET, '--val-from', 1), r'\[2, 6\]'),
        ((*LSPET, '--val-from', 7), r'\[2, 6\]'),
    ],
)
def test_bad_options_are_refused(convert, args, fault):
    with pytest.raises(SystemExit, match=fault):
        convert(*args)


@pytest.mark.slow
def test_real_lspet(shared_data, convert):
    _, files = convert('--lspet', shared_data / 'lspet', '--val-from', 8001)
    counts = {name: len(coco['images']) for name, coco in files.items()}
    assert counts == {'lsp_train.json': 8000, 'lsp_val.json': 1000}
    joints = loadmat(shared_data / 'lspet/joints.mat')['joints']
    anns = [a for coco in files.values() for a in coco['annotations']]
    images = {i['id']: i for coco in files.values() for i in coco['images']}
    assert sum(a['num_keypoints'] for a in anns) == joints[:, 2].sum()
    for ann in anns:
        x, y, w, h = ann['bbox']
        image = images[ann['image_id']]
        assert 0 <= x < x + w <= image['width'] - 1 + 0.02
        assert 0 <= y < y + h <= image['height'] - 1 + 0.02
