"""The digits: a split of fixed sizes that never moves, stratified and without overlap."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bqsearch.datasets import digits
from bqsearch.datasets.base import Dataset

FINGERPRINT = "fafade37961f831c7e04c1b021cd283e789efc76d9d8bf8ee1c577a2a7b9b362"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits.load()


def test_sizes_shapes_and_types(data: Dataset) -> None:
    assert [len(split) for split in (data.train, data.search, data.holdout)] == [1097, 350, 350]
    assert data.shape == (32, 32, 1)
    for split in (data.train, data.search, data.holdout):
        assert (split.x.dtype, split.y.dtype) == (np.uint8, np.int64)
    assert data.classes == tuple("0123456789")
    assert (data.normalize.mean, data.normalize.std) == (0.0, 255.0)
    assert data.note == ""


def test_fingerprint_is_the_golden_one(data: Dataset) -> None:
    assert data.fingerprint == FINGERPRINT


def test_seed_does_not_move_the_split(data: Dataset) -> None:
    assert digits.load(seed=12345).fingerprint == data.fingerprint


def test_every_class_has_its_share_within_one(data: Dataset) -> None:
    total = np.bincount(load_digits().target)
    for split in (data.train, data.search, data.holdout):
        wanted = total * len(split) / 1797
        assert (np.abs(np.bincount(split.y, minlength=10) - wanted) <= 1).all()


def test_no_image_is_in_two_splits_and_none_is_left_out(data: Dataset) -> None:
    owners = [{x.tobytes() for x in split.x} for split in (data.train, data.search, data.holdout)]
    assert [len(owner) for owner in owners] == [1097, 350, 350]  # no two images are equal, so bytes stand for an index
    assert len(set.union(*owners)) == 1797


def test_pixels_reach_from_black_to_white(data: Dataset) -> None:
    assert (int(data.train.x.min()), int(data.train.x.max())) == (0, 255)
