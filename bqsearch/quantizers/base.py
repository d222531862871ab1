"""What every quantizer takes and gives.

On 8-bit weights a scalar quantizer is a table of 256 entries, and all that it needs to know of the weights is a
histogram of 256 bins, however many they are. Weights that share a table are a group: a whole tensor, or one output
channel. Codes are counted from the type's lowest (-128 or 0), so that tables are uint8.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import jax
import numpy as np

from bqsearch.errors import ModelError
from bqsearch.types import Array, Bytes, Codes, Floats, Ints

CODES = 256
LEVELS = tuple(range(2, 129))  # level counts that a fitted quantizer offers
_LISTED = 7  # level counts that a text names one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """The weights of g groups, as quantizers see them.

    The real value of code c in group i is `scale[i] * (c - zero)`. A group may be empty: all of its counts zero.

    Attributes:
        counts: `(g, 256)` int64 occurrences of each code.
        importance: `(g, 256)` float64, what a squared error of one code step costs, summed over the code's weights;
            zero where a code does not occur.
        zero: The code of a weight of 0.
        scale: `(g,)` float64 real size of a code step.

    Raises:
        ModelError: An importance or a scale is negative, infinite or not a number.
    """

    counts: Ints
    importance: Floats
    zero: int
    scale: Floats

    def __post_init__(self) -> None:
        _check("importance of a code", self.importance, "calibration data and the weights' scales")
        _check("scale of weights", self.scale, "model's quantization parameters")

    @property
    def used(self) -> Array:
        """`(g, 256)` bool: which codes occur."""
        return self.counts > 0

    @property
    def values(self) -> Floats:
        """`(g, 256)` real values of the codes."""
        return self.scale[:, None] * (np.arange(CODES) - self.zero)


def _check(what: str, values: Floats, source: str) -> None:
    """Refuse what no error may be measured with."""
    bad = ~((values >= 0) & (values < np.inf))  # NaN compares as false
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ModelError(
            f"the {what} must be finite and not negative, but is {values[place]} at {place}: look for NaN and infinite "
            f"values in the {source}"
        )


class Quantizer(ABC):
    """A family of maps of codes, one for each level count. Subclasses are final.

    Attributes:
        levels: The level counts that `fit` gives maps for, in the order of its rows.
        per_channel: Whether a codebook serves one output channel, or the whole tensor.
    """

    levels: tuple[int, ...] = LEVELS
    per_channel: bool = False

    @abstractmethod
    def fit(self, histogram: Histogram) -> Bytes:
        """Tables for all groups and level counts at once.

        Groups do not know of each other: fits of parts of a histogram are parts of its fit. Where all importance of a
        group is zero, or where it is empty, any table will do.

        Returns:
            `(g, len(levels), 256)` uint8: entry `[i, r]` maps each code of group i to its replacement, at most
            `levels[r]` different ones over the codes that occur.
        """

    def priced_fit(self, histogram: Histogram) -> tuple[Bytes, Floats]:
        """The tables of `fit`, and what a bit of code is worth where weights are assigned to the levels of each.

        Returns:
            The tables, and `(g, len(levels))` float64 prices in units of importance times squared code steps; zeros,
            unless a scheme trades error for entropy.
        """
        return self.fit(histogram), np.zeros((len(histogram.counts), len(self.levels)))


def worded(levels: Sequence[int]) -> str:
    """Ascending level counts for a reader: `2 to 128`, `5, 9, 17`, or `3, 5, ..., 127` where they are many."""
    if len(levels) > 1 and levels[-1] - levels[0] == len(levels) - 1:
        return f"{levels[0]} to {levels[-1]}"
    shown = [str(count) for count in levels]
    return ", ".join(shown if len(shown) <= _LISTED else [*shown[:2], "...", shown[-1]])


def offset_codes(codes: Codes) -> Bytes:
    """int8 or uint8 codes counted from the type's lowest."""
    return codes if codes.dtype == np.uint8 else codes.view(np.uint8) ^ np.uint8(128)


def restore_codes(offsets: Bytes, dtype: str) -> Codes:
    """The codes of `dtype` that `offset_codes` gives `offsets` for."""
    return offsets if dtype == "uint8" else (offsets ^ np.uint8(128)).view(np.int8)


def nearest_codes(values: Floats, histogram: Histogram) -> Bytes:
    """For real values `(g, n, 256)`, the codes of the same shape whose real values are nearest."""
    steps = np.where(histogram.scale > 0, histogram.scale, 1.0)[:, None, None]
    return np.clip(np.rint(values / steps) + histogram.zero, 0, CODES - 1).astype(np.uint8)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Jit a kernel for one group in 64-bit floats, and call it for each of many.

    Sums of squares over millions of weights leave no digits in 32 bits; exactness of a codebook is worth the rest.
    Groups go one by one: one trace serves any number of them, memory stays small, and a CPU gains nothing by a batch.

    Returns:
        A function of the same arguments with an axis of groups in front, which stacks the results as NumPy arrays.
    """
    jitted = jax.jit(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        with jax.enable_x64(True):
            groups = [jitted(*group) for group in zip(*arguments, strict=True)]
        return jax.tree.map(lambda *parts: np.stack(parts), *groups)

    call.trace_count = jitted._cache_size  # type: ignore[attr-defined]
    return call
