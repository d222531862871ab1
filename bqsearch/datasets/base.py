"""The Dataset value: three splits that never mix, and how they are made when a source has fewer."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bqsearch.errors import DatasetError
from bqsearch.types import Array, Ints, Shape


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs and labels of one split.

    Attributes:
        x: `(n, ...)`, uint8 pixels, int8 features or float32 values, as the source stores them.
        y: `(n,)` int64 class indices.
    """

    x: Array
    y: Ints

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise DatasetError(f"a split needs one label for each input: {len(self.x)} inputs, {len(self.y)} labels")

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: Ints) -> "Split":
        """The rows at `indices`, in that order."""
        return Split(x=self.x[indices], y=self.y[indices])


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """How pixels become a model's real input: `(pixel - mean) / std`, as in TFLite's NormalizationOptions."""

    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A labeled classification set with its three splits.

    Attributes:
        name: The name or path that it was loaded by.
        classes: Class names in label order.
        train: For calibration (and training); the search never scores on it.
        search: What candidates are scored on.
        holdout: Read once, at the end, for the figures that are printed.
        normalize: The normalization that the data's own models expect, if there is one.
        note: One sentence for the user on how the splits came about; empty if the source has them.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    search: Split
    holdout: Split
    normalize: Normalize | None = None
    note: str = ""

    @property
    def shape(self) -> Shape:
        """Shape of one input."""
        return tuple(self.train.x.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split's inputs and labels: two sets are the same if this is."""
        digest = hashlib.sha256()
        for split in (self.train, self.search, self.holdout):
            for array in (split.x, split.y):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


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
