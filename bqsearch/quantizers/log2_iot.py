"""`log2_iot`: logarithmic quantization for the HiFive1, as published (GCCE 2018), after Miyashita, Lee & Murmann,
"Convolutional neural networks using logarithmic data representation" (arXiv:1603.01025):

    w -> sign(w) * 2^clip(round(log2 |w|), FSR - 2^b, FSR - 1)    FSR = max(W) - min(W)

with the publication's quirks. FSR is the linear range where the paper has an exponent, so the least exponent is no
integer; weights too small for it get its magnitude, never 0. The rounding compares a signed fraction with sqrt(2) - 1,
so below |w| = 1 it always rounds down. A weight of 0 counts as positive.

Row r is for b bits, and has at most `levels[r]` = 2 * 2^b + 1 levels: of both signs the 2^b - 1 whole exponents and the
least one, and of one sign the greatest, which only weights above 1 reach. Levels between the limits are powers of two
of the real value, which as multiples of the tensor's scale are rounded to codes: shifts of an activation only where the
scale is a power of two itself.
"""

import math
from typing import final

import numpy as np

from bqsearch.quantizers.base import Histogram, Quantizer, nearest_codes
from bqsearch.types import Array, Bytes, Floats

BITS = tuple(range(1, 6))


def log2_iot(weights: Floats, bits: int, full_scale: float | Array) -> Floats:
    """Real weights of any shape as published.

    Args:
        weights: Real values.
        bits: b, for 2^b exponents.
        full_scale: FSR, the greatest weight less the least; broadcasts to `weights`.
    """
    with np.errstate(divide="ignore"):
        exponent = np.clip(_round(np.log2(np.abs(weights))), full_scale - 2.0**bits, full_scale - 1)
    return np.where(weights < 0, -1.0, 1.0) * 2.0**exponent


def _round(logarithm: Floats) -> Floats:
    """Down, and up where the fraction, which has the logarithm's sign, reaches sqrt(2) - 1."""
    fraction = np.modf(logarithm)[0]
    return np.where(fraction >= math.sqrt(2) - 1, np.ceil(logarithm), np.floor(logarithm))


@final
class Log2Iot(Quantizer):
    """Powers of two below the tensor's range."""

    levels = tuple(2 * 2**bits + 1 for bits in BITS)

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of the published rounding."""
        values, used = histogram.values, histogram.used
        high = np.max(values, axis=1, where=used, initial=-np.inf)
        low = np.min(values, axis=1, where=used, initial=np.inf)
        full_scale = np.where(used.any(axis=1), high - low, 0.0)[:, None]
        return nearest_codes(np.stack([log2_iot(values, bits, full_scale) for bits in BITS], axis=1), histogram)


QUANTIZER = Log2Iot()
