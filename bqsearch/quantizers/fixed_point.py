"""`fixed_point`: n-bit weights between -1 and 1, as in Moons et al., "Minimum energy quantized neural networks"
(Asilomar 2017), and in the reduced-precision AlexNet and GoogLeNet that used its layers:

    clip(round(w * 2^(n-1)), -2^(n-1), 2^(n-1) - 1) / 2^(n-1)

on real weights, halves rounded to the even integer. Nothing is fitted. Row r has `levels[r]` = 2^n levels, n from 1 to
7; each becomes the code nearest to it, so a tensor of small weights keeps fewer.
"""

from typing import final

import numpy as np

from bqsearch.quantizers.base import Histogram, Quantizer, nearest_codes
from bqsearch.types import Bytes, Floats

BITS = tuple(range(1, 8))


def fixed_point(weights: Floats, bits: int) -> Floats:
    """Real weights of any shape, rounded to `bits` bits between -1 and 1."""
    half = 2.0 ** (bits - 1)
    return np.clip(np.rint(weights * half), -half, half - 1) / half


@final
class FixedPoint(Quantizer):
    """Multiples of a power of two."""

    levels = tuple(2**bits for bits in BITS)

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of the published rounding."""
        return nearest_codes(np.stack([fixed_point(histogram.values, bits) for bits in BITS], axis=1), histogram)


QUANTIZER = FixedPoint()
