"""A data set by name or path."""

from pathlib import Path

from bqsearch import registry
from bqsearch.datasets import folder, npz
from bqsearch.datasets.base import Dataset, Normalize
from bqsearch.errors import UnknownNameError
from bqsearch.types import Shape


def load(name: str, seed: int, normalize: Normalize | None, shape: Shape, labels: bool) -> Dataset:
    """A built-in set, an `.npz` file, or a folder of images.

    Args:
        name: A registry name or a path.
        seed: For splits that are not fixed.
        normalize: How pixels become real inputs; a built-in set knows its own.
        shape: Of the model's input, the batch dimension left out.
        labels: Whether labels, where there are any, are read; a set without them can only be searched for fidelity.

    Raises:
        UnknownNameError: Neither a set of that name nor a path that exists.
        DatasetError: The data cannot be read.
    """
    if name in registry.names("dataset"):
        builtin: Dataset = registry.load("dataset", name)(seed)
        return builtin if labels else builtin.without_labels()
    path = Path(name)
    if path.is_dir():
        return folder.load(path, seed, normalize, shape, labels)
    if path.is_file():
        return npz.load(path, seed, normalize, labels)
    raise UnknownNameError("dataset", name, registry.names("dataset"))
