"""Which candidates are worth showing."""

from collections.abc import Sequence

import numpy as np

from bqsearch.types import Floats, Ints


def undominated(values: Floats, directions: Sequence[str]) -> Ints:
    """Rows of `(n, m)` objective values that no other row beats; of equal rows the first. Ascending indices."""
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    costs = np.asarray(values, np.float64).reshape(-1, len(signs)) * signs
    kept = []
    for index, row in enumerate(costs):
        no_worse = (costs <= row).all(axis=1)
        better = no_worse & (costs < row).any(axis=1)
        twin_before = no_worse[:index] & ~better[:index]
        if not better.any() and not twin_before.any():
            kept.append(index)
    return np.array(kept, np.int64)
