"""`log2_dlq`: Cai et al.'s logarithmic quantization by a table (IAIT 2018), as published.

    lut = linspace(0, -7, 2^b)    w -> sign(w) * 2^lut[argmin |lut - log2 |w||]

with b = 4 in the publication. Magnitudes above 1 become 1 and those below 2^-7 become 2^-7; a weight of exactly 0 stays
0, a third value of the sign that the publication's storage does not count.

Row r is for b bits and has at most `levels[r]` = 2 * 2^b + 1 levels: both signs of 2^b magnitudes, and zero. The
exponents are no integers (in steps of 7 / (2^b - 1)), so nothing here runs as a shift; each level becomes the code
nearest to it.
"""

from typing import final

import numpy as np

from bqsearch.quantizers.base import Histogram, Quantizer, nearest_codes
from bqsearch.types import Bytes, Floats, Ints

BITS = tuple(range(1, 6))


def exponents(bits: int) -> Floats:
    """The table of `(2^bits,)` exponents, from 0 down to -7."""
    return np.linspace(0.0, -7.0, 2**bits)


def log2_dlq_indices(weights: Floats, bits: int = 4) -> Ints:
    """For real weights of any shape, indices of the nearest exponents, the greater on a tie; 0 for a weight of 0."""
    with np.errstate(divide="ignore"):
        logarithm = np.log2(np.abs(weights))
    return np.argmin(np.abs(exponents(bits) - logarithm[..., None]), axis=-1)


def log2_dlq(weights: Floats, bits: int = 4) -> Floats:
    """Real weights of any shape as published."""
    return np.sign(weights) * 2.0 ** exponents(bits)[log2_dlq_indices(weights, bits)]


@final
class Log2Dlq(Quantizer):
    """Evenly spaced exponents from 2^-7 to 1."""

    levels = tuple(2 * 2**bits + 1 for bits in BITS)

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of the published rounding."""
        return nearest_codes(np.stack([log2_dlq(histogram.values, bits) for bits in BITS], axis=1), histogram)


QUANTIZER = Log2Dlq()
