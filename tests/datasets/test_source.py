"""A data set is found by name, as a file or as a folder; anything else gets the good names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bqsearch.datasets import source
from bqsearch.errors import UnknownNameError


def test_registry_name() -> None:
    data = source.load("digits", 3, None, (32, 32, 1), True)
    assert data.name == "digits"
    assert len(data.train) == 1097


def test_labels_of_a_registered_set_are_left_out_where_they_are_not_wanted() -> None:
    whole, bare = (source.load("digits", 3, None, (32, 32, 1), labels) for labels in (True, False))
    assert (bare.classes, bare.normalize) == ((), whole.normalize)
    assert all(split.y is None for split in bare.splits)
    np.testing.assert_array_equal(bare.holdout.x, whole.holdout.x)


def test_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x_test=np.zeros((8, 4), np.uint8), y_test=np.arange(8) % 2)
    assert len(source.load(str(tmp_path / "own.npz"), 0, None, (4,), True).holdout) == 4


def test_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("L", (4, 4), i).save(tmp_path / name / f"{i}.png")
    assert source.load(str(tmp_path), 0, None, (4, 4, 1), True).classes == ("a", "b")


@pytest.mark.parametrize("name", ["digit", "digitz"])
def test_unknown_name_lists_the_good_ones_and_the_nearest(name: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown dataset '{name}'; known: .*digits.* Did you mean 'digits'\?"):
        source.load(name, 0, None, (32, 32, 1), True)


def test_missing_file_is_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"nowhere\.npz.*known: .*digits"):
        source.load(str(tmp_path / "nowhere.npz"), 0, None, (4,), True)
