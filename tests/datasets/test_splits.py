"""Three splits out of one or two: stratified, by seed, and told to the user."""

import numpy as np
import pytest

from bqsearch.datasets import splits
from bqsearch.datasets.base import Dataset, Split, stratified
from bqsearch.errors import DatasetError

CLASSES = ("a", "b", "c")


def numbered(count: int, start: int = 0) -> Split:
    """Inputs that hold their own number, of classes in proportion 3:2:1."""
    labels = np.array([0, 0, 0, 1, 1, 2])[np.arange(count) % 6]
    return Split(x=np.arange(start, start + count, dtype=np.float32)[:, None], y=labels.astype(np.int64))


def from_one(count: int, seed: int = 0) -> Dataset:
    return splits.from_one("set", CLASSES, numbered(count), seed, None)


def from_two(train: int, test: int, seed: int = 0) -> Dataset:
    return splits.from_two("set", CLASSES, numbered(train), numbered(test, start=train), seed, None)


def ids(split: Split) -> set[int]:
    return {int(v) for v in split.x[:, 0]}


def test_halves_say_that_they_are() -> None:
    assert from_one(60).halved
    assert not from_two(120, 6).halved


@pytest.mark.parametrize("count", [2, 7, 60])
def test_unlabeled_inputs_are_cut_at_random_and_whole(count: int) -> None:
    every = Split(x=np.arange(count, dtype=np.float32)[:, None])
    data = splits.from_one("set", (), every, 0, None)
    assert (len(data.search), len(data.holdout)) == (count // 2, count - count // 2)
    assert ids(data.search) | ids(data.holdout) == set(range(count))
    assert data.fingerprint == splits.from_one("set", (), every, 0, None).fingerprint
    if count == 60:
        assert ids(data.search) not in (set(range(30)), set(range(30, 60)))
        assert data.fingerprint != splits.from_one("set", (), every, 1, None).fingerprint


def test_one_split_is_halved_without_overlap() -> None:
    data = from_one(61)
    assert (len(data.train), len(data.search), len(data.holdout)) == (30, 30, 31)
    assert ids(data.train) == ids(data.search)
    assert ids(data.search) | ids(data.holdout) == set(range(61))
    assert not ids(data.search) & ids(data.holdout)


def test_two_splits_give_the_search_half_of_the_training_split() -> None:
    data = from_two(120, 40)
    assert (len(data.train), len(data.search), len(data.holdout)) == (60, 60, 40)
    assert ids(data.train) | ids(data.search) == set(range(120))
    assert not ids(data.train) & ids(data.search)
    assert ids(data.holdout) == set(range(120, 160))


def test_a_large_training_split_gives_no_more_than_the_most() -> None:
    data = from_two(2 * splits.MOST_SEARCH + 600, 6)
    assert (len(data.search), len(data.train)) == (splits.MOST_SEARCH, splits.MOST_SEARCH + 600)


@pytest.mark.parametrize("data", [from_one(60), from_two(120, 6)])
def test_parts_are_stratified(data: Dataset) -> None:
    for split in (data.train, data.search):
        share = np.bincount(split.y, minlength=3) / len(split)
        np.testing.assert_allclose(share, [1 / 2, 1 / 3, 1 / 6], atol=1.01 / len(split))


def test_seed_decides_the_cut() -> None:
    assert from_one(60, 3).fingerprint == from_one(60, 3).fingerprint
    assert from_one(60, 3).fingerprint != from_one(60, 4).fingerprint
    assert from_two(60, 6, 3).fingerprint == from_two(60, 6, 3).fingerprint
    assert from_two(60, 6, 3).fingerprint != from_two(60, 6, 4).fingerprint


def test_notes_tell_sizes_and_seed() -> None:
    assert "seed 7" in from_one(60, 7).note
    assert "into 30 inputs" in from_one(60, 7).note
    assert "60 inputs" in from_two(120, 6, 8).note
    assert "seed 8" in from_two(120, 6, 8).note
    assert "test split" in from_two(120, 6, 8).note


def test_a_class_of_one_is_cut_at_random_instead() -> None:
    every = Split(x=np.arange(9, dtype=np.float32)[:, None], y=np.array([0] * 8 + [1]))
    data = splits.from_one("set", ("a", "b"), every, 0, None)
    assert ids(data.search) | ids(data.holdout) == set(range(9))
    assert not ids(data.search) & ids(data.holdout)
    again = splits.from_one("set", ("a", "b"), every, 0, None)
    assert again.fingerprint == data.fingerprint


def test_a_single_input_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="1 inputs are too few"):
        from_one(1)


def test_stratified_refuses_a_class_of_one() -> None:
    with pytest.raises(DatasetError, match="cannot split 5 labeled inputs into 2"):
        stratified(np.array([0, 0, 0, 0, 1]), 2, 0)


def test_a_split_needs_a_label_for_each_input() -> None:
    with pytest.raises(DatasetError, match="3 inputs, 2 labels"):
        Split(x=np.zeros((3, 1)), y=np.zeros(2, np.int64))
