"""Lists in JSON files: what is a number, and which field is wrong."""

import pytest

from mmpose_lossplus.experiments import entries


@pytest.mark.parametrize(
    ('value', 'shape', 'right'),
    [
        (1, (), True),
        (-0.5, (), True),
        ([1, 2.5], (2,), True),
        ([[1, 2], [3, 4]], (2, 2), True),
        ('1', (), False),
        (True, (), False),
        (None, (), False),
        (float('nan'), (), False),
        ([1, '2'], (2,), False),
        ([1, None], (2,), False),
        ([1, 2, 3], (2,), False),
        ([[1, 2], [3]], (2, 2), False),
    ],
)
def test_numbers(value, shape, right):
    assert entries.are_numbers(value, *shape) == right


def test_first_wrong_field_is_named():
    fields = dict(id=entries.INTEGER, name=entries.NAME)
    good = dict(id=0, name='')
    entries.check_fields([good], 'cats', fields)
    for bad, fault in (
        ([good, dict(id='0')], "id of entry 1 of cats is '0'"),
        ([good, dict(id=0)], 'name of entry 1 of cats is None'),
        ([3], 'id of entry 0 of cats'),
        ([], r'cats .*\[\]'),
        (None, 'cats .*None'),
    ):
        with pytest.raises(ValueError, match=fault):
            entries.check_fields(bad, 'cats', fields)
