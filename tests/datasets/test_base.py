"""The Dataset value: its parts agree, its fingerprint sees every difference, and its classes can be put in order."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from bqsearch.datasets.base import Dataset, Split
from bqsearch.errors import DatasetError

NAMES = ("ant", "bee", "cat")


def numbered(count: int, labeled: bool = True) -> Split:
    x = np.arange(count, dtype=np.float32)[:, None]
    return Split(x=x, y=np.arange(count) % 3 if labeled else None)


def labeled() -> Dataset:
    return Dataset(name="set", classes=NAMES, train=numbered(9), search=numbered(6), holdout=numbered(7))


@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_every_input_keeps_the_name_of_its_class(order: tuple[str, ...]) -> None:
    before = labeled()
    after = before.in_order(order)
    assert after.classes == order
    for old, new in zip(before.splits, after.splits, strict=True):
        np.testing.assert_array_equal(new.x, old.x)
        assert [order[label] for label in new.y] == [NAMES[label] for label in old.y]
    assert (after.fingerprint == before.fingerprint) == (order == NAMES)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("ant", "bee"), "'cat' is missing; they are ant, bee, cat"),
        (("ant", "bee", "cow"), "'cow' is unknown"),
        (("unused", "ant", "bee", "cat"), "'unused' is unknown.*a background class of the model's is left out"),
        (("ant", "bee", "cat", "bee"), "'bee' is named twice"),
        (("Ant", "bee", "cat"), "'Ant' is unknown"),
    ],
)
def test_other_names_than_the_classes_are_refused(names: tuple[str, ...], wanted: str) -> None:
    with pytest.raises(DatasetError, match=f"--classes names the classes of set .*{wanted}"):
        labeled().in_order(names)


def test_all_splits_are_labeled_or_none() -> None:
    with pytest.raises(DatasetError, match="either every split has labels and the set has classes, or none"):
        replace(labeled(), search=numbered(6, labeled=False))
    with pytest.raises(DatasetError, match="either every split has labels"):
        replace(labeled(), classes=())


def test_labels_and_their_absence_are_in_the_fingerprint() -> None:
    whole = labeled()
    bare = whole.without_labels()
    assert bare.fingerprint != whole.fingerprint
    assert bare.fingerprint == replace(bare, name="other").fingerprint
    assert len(bare.search) == 6
    assert bare.search.take(np.array([4, 1])).y is None
