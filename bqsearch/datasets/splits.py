"""Three splits out of the one or two that a source has."""

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
    search, rest = _cut(train.y, size, seed)
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
    search, holdout = _cut(every.y, len(every) // 2, seed)
    return Dataset(
        name=name,
        classes=classes,
        train=every.take(search),
        search=every.take(search),
        holdout=every.take(holdout),
        normalize=normalize,
        note=f"one split only: halved, stratified (seed {seed}), into {len(search)} inputs for calibration and search "
        f"and {len(holdout)} for the holdout.",
    )


def _cut(labels: Ints, size: int, seed: int) -> tuple[Ints, Ints]:
    """`size` indices and the rest: stratified, or plainly at random where a class is too small for it."""
    if not 0 < size < len(labels):
        raise DatasetError(f"{len(labels)} labeled inputs are too few to split in two")
    try:
        return stratified(labels, size, seed)
    except DatasetError:
        order = np.random.default_rng(seed).permutation(len(labels))
        return np.sort(order[:size]), np.sort(order[size:])
