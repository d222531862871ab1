"""`log2`: levels at powers of two from the zero code, fitted to the weights, so that products are shifts.

A level is zero, or lies +-m code steps from it. Magnitudes m are consecutive members of one of two ladders:

    base 2        1, 2, 4, ..., 128                  one shift
    base sqrt 2   1, 2, 3, 4, 6, 8, 12, ..., 192     one shift, or the sum of two

The odd powers of sqrt 2 are rounded to 3 * 2^n, so that they too are sums of two shifts (for 11 = round(2^3.5) it would
be three). Row r is the codebook of least weighted error among both ladders, all consecutive magnitudes of them, with
and without zero, of at most `levels[r]` levels; where an odd number is left for the signs, one has a magnitude more, as
-128 has no counterpart in int8. Magnitudes beyond the type's codes are left out. What `log2_iot` and `log2_dlq` take as
given, the ends and the spacing of the levels, is fitted here.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import final

import numpy as np

from bqsearch.quantizers.base import CODES, Histogram, Quantizer
from bqsearch.quantizers.candidates import cheapest, nearest_table
from bqsearch.types import Bytes

BASE_2 = tuple(2**n for n in range(8))
BASE_SQRT_2 = tuple(sorted({*BASE_2, *(3 * 2**n for n in range(7))}))


def codebooks(levels: int, zero: int) -> Iterator[tuple[int, ...]]:
    """The codebooks of at most `levels` codes to choose from, each ascending; their number depends on nothing."""
    for ladder, with_zero in product((BASE_2, BASE_SQRT_2), (True, False)):
        signed = levels - with_zero
        for first, more_below in product(range(len(ladder)), (True, False)):
            below, above = (signed + more_below) // 2, (signed + (not more_below)) // 2
            steps = [-m for m in ladder[first : first + below]] + [0] * with_zero + [*ladder[first : first + above]]
            codes = sorted(zero + step for step in steps if 0 <= zero + step < CODES)
            yield tuple(codes) or (zero,)


@lru_cache(maxsize=2)
def _candidates(levels: tuple[int, ...], zero: int) -> Bytes:
    """Tables of all codebooks, `(len(levels), candidates, 256)`."""
    found = [list(codebooks(count, zero)) for count in levels]
    tables = {codes: nearest_table(np.array(codes)) for row in found for codes in row}
    return np.array([[tables[codes] for codes in row] for row in found])


@final
class Log2(Quantizer):
    """Shifts and sums of two shifts."""

    levels = tuple(range(2, 32))

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables that no other codebook of shifts undercuts in weighted squared error."""
        return cheapest(_candidates(self.levels, histogram.zero), histogram.importance)


QUANTIZER = Log2()
