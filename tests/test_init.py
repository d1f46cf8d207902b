"""The public names."""

import mmpose_lossplus


def test_public_names_exist_and_are_sorted():
    names = mmpose_lossplus.__all__
    assert names == sorted(names)
    assert all(hasattr(mmpose_lossplus, name) for name in names)
