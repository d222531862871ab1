"""Projection profiles: against sums taken pixel by pixel, and what they are of."""

from pathlib import Path

import numpy as np
import pytest

from bqsearch.datasets import npz
from bqsearch.datasets.base import Dataset, Split
from bqsearch.datasets.features import FEATURES, profiles
from bqsearch.errors import DatasetError
from bqsearch.types import Array


def by_hand(image: Array) -> list[float]:
    """Each zone's greatest row, column, diagonal and anti-diagonal sum, pixel by pixel."""
    found = []
    for top in range(0, 28, 7):
        for left in range(0, 28, 7):
            rows, columns, falling, rising = [0.0] * 7, [0.0] * 7, [0.0] * 13, [0.0] * 13
            for y in range(7):
                for x in range(7):
                    pixel = float(image[top + y, left + x])
                    rows[y] += pixel
                    columns[x] += pixel
                    falling[x - y + 6] += pixel
                    rising[x + y] += pixel
            found += [max(rows), max(columns), max(falling), max(rising)]
    return found


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_profiles_are_the_greatest_sums_of_each_zone(dtype: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(-100 if dtype == "int8" else 0, 127, (5, 28, 28)).astype(dtype)
    made = profiles(images)
    assert (made.shape, made.dtype) == ((5, 64), np.float32)
    np.testing.assert_array_equal(made, [by_hand(image) for image in images])


def test_each_direction_has_its_own_feature() -> None:
    """In the second zone of the third row: lines of white pixels along a row, a column and both long diagonals."""
    lines = {"row": np.s_[3, :], "column": np.s_[:, 2]}
    for place, name in enumerate(["row", "column", "falling", "rising"]):
        image, zone = np.zeros((28, 28), np.uint8), np.zeros((7, 7), np.uint8)
        if name in lines:
            zone[lines[name]] = 255
        else:
            zone = np.eye(7, dtype=np.uint8)[:, :: 1 if name == "falling" else -1] * 255
        image[14:21, 7:14] = zone
        found = profiles(image[None])[0].reshape(16, 4)
        expected = [255.0] * 4
        expected[place] = 7 * 255.0
        assert found[9].tolist() == expected
        assert not np.delete(found, 9, axis=0).any()


def data(shape: tuple[int, ...], name: str = "mine") -> Dataset:
    rng = np.random.default_rng(0)
    splits = [
        Split(x=rng.integers(0, 256, (n, *shape)).astype(np.uint8), y=np.arange(n, dtype=np.int64)) for n in (4, 2, 3)
    ]
    classes = tuple("0123")
    return Dataset(name=name, classes=classes, train=splits[0], search=splits[1], holdout=splits[2], note="Split so.")


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1)])
def test_every_split_is_turned_and_its_labels_stay(shape: tuple[int, ...]) -> None:
    before = data(shape)
    after = FEATURES["profiles"].of(before)
    assert after.shape == (64,)
    for old, new in zip(before.splits, after.splits, strict=True):
        np.testing.assert_array_equal(new.x, profiles(old.x.reshape(-1, 28, 28)))
        assert new.y is old.y
    assert after.note == "Split so. Its images are turned into 64 profiles."
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize("shape", [(32, 32), (28, 28, 3), (64,), (784,), (28, 27, 1), (1, 28, 28)])
def test_other_inputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match=r"'profiles' are of gray images of 28x28 pixels, .* mine have the shape"):
        FEATURES["profiles"].of(data(shape))


def test_any_archive_of_such_images_will_do(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).random((40, 28, 28)).astype(np.float32), np.arange(40) % 2
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=labels)
    turned = FEATURES["profiles"].of(npz.load(tmp_path / "mine.npz", 0, None, labels=True))
    assert [split.x.shape for split in turned.splits] == [(20, 64)] * 3


@pytest.mark.parametrize("corner", [(0, 0), (0, 6), (6, 0), (6, 6)])
def test_the_shortest_diagonals_are_a_pixel_in_a_corner(corner: tuple[int, int]) -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, corner[0], corner[1]] = 200
    assert profiles(image)[0, :4].tolist() == [200.0] * 4
