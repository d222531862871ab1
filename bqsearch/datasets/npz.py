"""A Keras-style `.npz`: `x_train, y_train, x_test, y_test`, or one of the two pairs, and optionally `classes`.

Without labels, `x_train` and `x_test` or one of them.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.datasets import splits
from bqsearch.datasets.base import Dataset, Normalize, Split
from bqsearch.errors import DatasetError
from bqsearch.types import Array, Ints

_DTYPES = ("uint8", "int8", "float16", "float32", "float64")
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, TypeError, NotImplementedError)
_MOST_CLASSES = 1 << 20  # beyond, a label is a mistake, and naming every class below it would fill the memory


def load(path: Path, seed: int, normalize: Normalize | None, labels: bool) -> Dataset:
    """Read the archive; pickled objects are refused.

    Args:
        path: The file.
        seed: For the split.
        normalize: Passed on.
        labels: Whether labels, where there are any, are read.

    Raises:
        DatasetError: The file cannot be read, or its arrays are not inputs and their labels; the message names the
            array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            read = {key: archive[key] for key in archive.files}
    except _UNREADABLE as error:
        raise DatasetError(f"cannot read the data {path}: {error}") from error
    arrays = {key: value for key, value in read.items() if isinstance(value, np.ndarray)}
    parts = [part for part in ("train", "test") if f"x_{part}" in arrays]
    if not parts:
        raise DatasetError(
            f"{path} needs x_train and y_train, or x_test and y_test; it has {', '.join(arrays) or 'nothing'}"
        )
    labeled = labels and any(f"y_{part}" in arrays for part in parts)
    pairs = {part: _split(arrays, part, path, labeled) for part in parts}
    classes = _classes(arrays, pairs, path) if labeled else ()
    if len(pairs) == 2:
        return splits.from_two(str(path), classes, pairs["train"], pairs["test"], seed, normalize)
    return splits.from_one(str(path), classes, next(iter(pairs.values())), seed, normalize)


def _split(arrays: dict[str, Any], part: str, path: Path, labeled: bool) -> Split:
    x = _inputs(arrays[f"x_{part}"], part, path)
    return Split(x=x, y=_labels(arrays.get(f"y_{part}"), len(x), part, path) if labeled else None)


def _inputs(x: Array, part: str, path: Path) -> Array:
    if x.dtype.name not in _DTYPES or x.ndim < 2:
        raise DatasetError(
            f"{path}: x_{part} must be an array of {', '.join(_DTYPES)}, not {x.dtype} of shape {x.shape}"
        )
    if not len(x):
        raise DatasetError(f"{path}: x_{part} is empty")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DatasetError(f"{path}: x_{part} holds NaN or infinite values")
    return x


def _labels(y: Array | None, count: int, part: str, path: Path) -> Ints:
    if y is None or y.dtype.kind not in "iu" or y.size != count:
        found = "missing" if y is None else f"{y.dtype} of shape {y.shape}"
        raise DatasetError(
            f"{path}: y_{part} must hold an integer label for each of the {count} inputs; it is {found} "
            f"(a network that does not classify needs no labels: --objectives fidelity,flash,ram)"
        )
    odd = y.min() if y.min() < 0 else y.max()
    if not 0 <= odd < _MOST_CLASSES:
        raise DatasetError(f"{path}: y_{part} holds the label {odd}; labels count from 0, up to {_MOST_CLASSES - 1:,}")
    return y.reshape(-1).astype(np.int64)


def _classes(arrays: dict[str, Any], pairs: dict[str, Split], path: Path) -> tuple[str, ...]:
    highest = max(int(split.y.max()) for split in pairs.values() if split.y is not None)
    if "classes" not in arrays:
        return tuple(str(i) for i in range(highest + 1))
    named = tuple(str(c) for c in arrays["classes"].reshape(-1))
    if highest >= len(named):
        raise DatasetError(f"{path}: label {highest} has no name among the {len(named)} classes")
    return named
