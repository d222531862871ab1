"""Exact choice among few candidate codebooks: every one is scored on the histogram."""

import numpy as np

from bqsearch.quantizers.base import CODES
from bqsearch.types import Array, Bytes, Floats


def nearest_table(levels: Array) -> Bytes:
    """The `(256,)` table of each code's nearest among `(n,)` ascending codes, the lower one on a tie."""
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(middles, np.arange(CODES))].astype(np.uint8)


def cheapest(tables: Bytes, importance: Floats) -> Bytes:
    """For each group and row, the candidate of least weighted squared error, the first of equals.

    Args:
        tables: `(rows, candidates, 256)`.
        importance: `(g, 256)`.

    Returns:
        `(g, rows, 256)` uint8.
    """
    moved = (tables.astype(np.float64) - np.arange(CODES)) ** 2
    rows = np.arange(len(tables))
    # one group at a time: rounding, and with it the choice among equals, must not depend on how many there are
    return np.stack([tables[rows, np.argmin(moved @ weights, axis=1)] for weights in importance])
