"""Which of MPII's people are listed, and where they are found again."""

import json

import pytest
from scipy.io import loadmat, savemat

from ..factories import load_tool, write_mpii_release


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/mpii_test_to_json.py')


@pytest.fixture
def convert(tool, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'annotations' / 'mpii_test.json'

    def call(release):
        monkeypatch.setattr(
            'sys.argv', ['tool', str(release), '--out', str(out)]
        )
        tool.main()
        return capsys.readouterr().out, out

    return call


def test_people_of_the_single_person_test_set(tmp_path, convert):
    """Training and test images take turns; see write_mpii_release."""
    file = write_mpii_release(tmp_path, train=2, test=5)
    said, out = convert(file)
    people = json.loads(out.read_text())
    places = [(p['image'], p['image_index'], p['rect_index']) for p in people]
    assert places == [
        ('000000002.jpg', 1, 0),
        ('000000004.jpg', 3, 0),
        ('000000004.jpg', 3, 1),
        ('000000005.jpg', 4, 1),
    ]
    assert '4 people in 3 test images, 1 left out' in said
    # By another way of reading MATLAB's file.
    release = loadmat(file, squeeze_me=True, struct_as_record=False)['RELEASE']
    for person in people[1:]:
        rect = release.annolist[person['image_index']].annorect[
            person['rect_index']
        ]
        assert person['center'] == [rect.objpos.x, rect.objpos.y]
        assert person['scale'] == rect.scale


def spoil(file, **fields):
    """Put other fields into the release."""
    release = loadmat(file)['RELEASE'][0, 0]
    own = {name: release[name] for name in release.dtype.names}
    savemat(str(file), dict(RELEASE={**own, **fields}))


@pytest.mark.parametrize(
    ('spoil', 'fault'),
    [
        (lambda file: file.unlink(), r'\.mat does not exist'),
        (lambda file: file.write_text('x' * 200), r'v1_u12_1\.mat'),
        (lambda file: savemat(str(file), dict(release=1)), 'RELEASE'),
        (lambda file: spoil(file, img_train=[[1, 0, 0]]), r'\[4, 3, 4\]'),
        (lambda file: spoil(file, img_train=[[1] * 4]), r'v1_u12_1\.mat'),
    ],
)
def test_bad_data_is_refused(tmp_path, convert, spoil, fault):
    file = write_mpii_release(tmp_path, train=2, test=2)
    spoil(file)
    with pytest.raises(SystemExit, match=fault):
        convert(file)
    assert not (tmp_path / 'annotations').exists()
