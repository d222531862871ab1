"""The Dataset value: three splits that never mix, and how they are made when a source has fewer."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bqsearch.errors import DatasetError
from bqsearch.types import Array, Ints, Shape


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs and, where the data has them, labels of one split.

    Attributes:
        x: `(n, ...)`, uint8 pixels, int8 features or float32 values, as the source stores them.
        y: `(n,)` int64 class indices; None without labels.
    """

    x: Array
    y: Ints | None = None

    def __post_init__(self) -> None:
        if self.y is not None and len(self.x) != len(self.y):
            raise DatasetError(f"a split needs one label for each input: {len(self.x)} inputs, {len(self.y)} labels")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: Ints) -> "Split":
        """The rows at `indices`, in that order."""
        return Split(x=self.x[indices], y=None if self.y is None else self.y[indices])


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """How pixels become a model's real input: `(pixel - mean) / std`, as in TFLite's NormalizationOptions."""

    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set with its three splits.

    Attributes:
        name: The name or path that it was loaded by.
        classes: Class names in label order; none without labels.
        train: For calibration (and training); the search never scores on it.
        search: What candidates are scored on.
        holdout: Read once, at the end, for the figures that are printed.
        normalize: The normalization that the data's own models expect, if there is one.
        windows: Consecutive inputs that are windows of one row of the source, and so no independent inputs; 1 if none
            are.
        halved: Whether search and holdout are the halves of one split, so that figures published for the whole of it
            are to be compared with those of both together.
        note: For the user, on how the splits came about; empty if the source has them.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    search: Split
    holdout: Split
    normalize: Normalize | None = None
    windows: int = 1
    halved: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if any((split.y is None) == bool(self.classes) for split in self.splits):
            raise DatasetError(f"{self.name}: either every split has labels and the set has classes, or none has any")

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, search and holdout."""
        return self.train, self.search, self.holdout

    @property
    def shape(self) -> Shape:
        """Shape of one input."""
        return tuple(self.train.x.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split's inputs and labels: two sets are the same if this is."""
        digest = hashlib.sha256()
        for split in self.splits:
            for array in (split.x, split.y):
                if array is not None:
                    digest.update(f"{array.dtype.str}{array.shape}".encode())
                    digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def each(self, change: Callable[[Split], Split]) -> "Dataset":
        """The set with every split changed."""
        return replace(self, train=change(self.train), search=change(self.search), holdout=change(self.holdout))

    def without_labels(self) -> "Dataset":
        """The inputs alone."""
        bare = [Split(x=split.x) for split in self.splits]
        return replace(self, classes=(), train=bare[0], search=bare[1], holdout=bare[2])

    def in_order(self, classes: tuple[str, ...]) -> "Dataset":
        """The set with its classes in another order, and the labels renumbered to it.

        Raises:
            DatasetError: The names are not exactly the set's classes, each once; the message names the odd one.
        """
        _check_names(self.name, classes, self.classes)
        places = np.array([classes.index(name) for name in self.classes], np.int64)

        def renumbered(split: Split) -> Split:
            return Split(x=split.x, y=None if split.y is None else places[split.y])

        return replace(self.each(renumbered), classes=classes)


def _check_names(data: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown, missing = [n for n in given if n not in known], [n for n in known if n not in given]
    twice = [n for n in given if given.count(n) > 1]
    for names, what in ((unknown, "unknown"), (missing, "missing"), (twice, "named twice")):
        if names:
            raise DatasetError(
                f"--classes names the classes of {data} in the order of the model's outputs, each once: "
                f"{names[0]!r} is {what}; they are {', '.join(known)} (a background class of the model's is left out)"
            )


def stratified(labels: Ints, size: int, seed: int) -> tuple[Ints, Ints]:
    """Cut indices in two, each class in its proportion: `size` indices and the rest, both sorted.

    Raises:
        DatasetError: A class has a single member, or a part would have fewer members than there are classes.
    """
    from sklearn.model_selection import train_test_split

    try:
        first, second = train_test_split(
            np.arange(len(labels)), train_size=size, stratify=labels, random_state=seed, shuffle=True
        )
    except ValueError as error:
        raise DatasetError(f"cannot split {len(labels)} labeled inputs into {size} and the rest: {error}") from error
    return np.sort(first).astype(np.int64), np.sort(second).astype(np.int64)
