"""Three splits out of the one or two that a source has."""

from contextlib import suppress

import numpy as np

from bqsearch.datasets.base import Dataset, Normalize, Split, stratified
from bqsearch.errors import DatasetError
from bqsearch.types import Ints

MOST_SEARCH = 5000  # inputs taken from a training split to search on


def from_two(
    name: str, classes: tuple[str, ...], train: Split, test: Split, seed: int, normalize: Normalize | None
) -> Dataset:
    """The test split is the holdout; a part of the training split, at most half of it, is searched on."""
    size = min(MOST_SEARCH, len(train) // 2)
    search, rest = _cut(train, size, seed)
    return Dataset(
        name=name,
        classes=classes,
        train=train.take(rest),
        search=train.take(search),
        holdout=test,
        normalize=normalize,
        note=f"search split: {size} inputs taken from the {len(train)} of the training split (seed {seed}); "
        f"holdout: the test split. A network trained on this training split scores higher on the former.",
    )


def from_one(name: str, classes: tuple[str, ...], every: Split, seed: int, normalize: Normalize | None) -> Dataset:
    """One half is calibrated and searched on, the other is the holdout."""
    search, holdout = _cut(every, len(every) // 2, seed)
    return Dataset(
        name=name,
        classes=classes,
        train=every.take(search),
        search=every.take(search),
        holdout=every.take(holdout),
        normalize=normalize,
        halved=True,
        note=f"one split only: halved (seed {seed}) into {len(search)} inputs for calibration and search and "
        f"{len(holdout)} for the holdout.",
    )


def _cut(split: Split, size: int, seed: int) -> tuple[Ints, Ints]:
    """`size` indices and the rest: stratified, or plainly at random without labels or where a class is too small."""
    if not 0 < size < len(split):
        raise DatasetError(f"{len(split)} inputs are too few to split in two")
    if split.y is not None:
        with suppress(DatasetError):
            return stratified(split.y, size, seed)
    order = np.random.default_rng(seed).permutation(len(split))
    return np.sort(order[:size]), np.sort(order[size:])
