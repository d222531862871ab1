"""What every quantizer takes and gives.

On 8-bit weights a scalar quantizer is a table of 256 entries, and all that it needs to know of a tensor is a histogram
of 256 bins, however many weights there are. Codes are counted from the type's lowest (-128 or 0), so that tables are
uint8.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import jax
import numpy as np

from bqsearch.types import Array, Bytes, Codes, Floats, Ints

CODES = 256
LEVELS = tuple(range(2, 129))  # level counts that a fitted quantizer offers


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """One weight tensor, as quantizers see it.

    Attributes:
        counts: `(256,)` int64 occurrences of each code.
        importance: `(256,)` float64, what a squared error of one code step costs, summed over the code's weights.
    """

    counts: Ints
    importance: Floats

    @property
    def used(self) -> Ints:
        """Codes that occur, ascending."""
        return np.flatnonzero(self.counts)


class Quantizer(ABC):
    """A family of maps of codes, one for each level count. Subclasses are final.

    Attributes:
        levels: The level counts that `fit` gives maps for, in the order of its rows.
    """

    levels: tuple[int, ...] = LEVELS

    @abstractmethod
    def fit(self, histogram: Histogram) -> Bytes:
        """Tables for all level counts at once.

        Called once for each tensor, with at least one weight.

        Returns:
            `(len(levels), 256)` uint8: row r maps each code to its replacement, at most `levels[r]` different ones over
            the codes that occur.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Codebook:
    """One map of codes: the distinct replacements, and which one each code gets.

    Attributes:
        values: `(k,)` uint8 replacements, ascending.
        assignment: `(256,)` uint8 positions in `values`.
    """

    values: Bytes
    assignment: Bytes

    @classmethod
    def of(cls, table: Bytes, counts: Ints) -> "Codebook":
        """The codebook of a `(256,)` table for a tensor with these `(256,)` counts."""
        values = np.unique(table[counts > 0])
        nearest = np.minimum(np.searchsorted(values, table), len(values) - 1)
        return cls(values=values, assignment=nearest.astype(np.uint8))

    def encode(self, codes: Codes) -> Bytes:
        """Positions in `values` for weights of any shape, int8 or uint8."""
        return self.assignment[offset_codes(codes)]

    def decode(self, indices: Bytes, dtype: str) -> Codes:
        """Weights of `dtype` for positions in `values`."""
        return restore_codes(self.values[indices], dtype)


def offset_codes(codes: Codes) -> Bytes:
    """int8 or uint8 codes counted from the type's lowest."""
    return codes if codes.dtype == np.uint8 else codes.view(np.uint8) ^ np.uint8(128)


def restore_codes(offsets: Bytes, dtype: str) -> Codes:
    """The codes of `dtype` that `offset_codes` gives `offsets` for."""
    return offsets if dtype == "uint8" else (offsets ^ np.uint8(128)).view(np.int8)


def kernel(function: Callable[..., Any]) -> Callable[..., Array]:
    """Jit a kernel in 64-bit floats and hand its result out as NumPy.

    Sums of squares over millions of weights leave no digits in 32 bits; exactness of a codebook is worth the rest.
    """
    jitted = jax.jit(function)

    @wraps(function)
    def call(*arguments: Any) -> Array:
        with jax.enable_x64(True):
            return np.asarray(jitted(*arguments))

    call.trace_count = jitted._cache_size  # type: ignore[attr-defined]
    return call
