"""`ternary`: zero, or plus or minus one magnitude for each output channel.

As in ternary weight networks (Li & Liu, arXiv:1605.04711): w -> alpha * sign(w) where |w| > threshold, else 0. The
authors take 0.7 * mean |w| for the threshold; here every magnitude of whole code steps is tried with the threshold that
suits it best, half of the magnitude, so the codebook of least weighted error is found. A level beyond the type's codes
is its last code. The one row has 3 levels.
"""

from functools import lru_cache
from typing import final

import numpy as np

from bqsearch.quantizers.base import CODES, Histogram, Quantizer
from bqsearch.quantizers.candidates import cheapest, nearest_table
from bqsearch.types import Bytes


@lru_cache(maxsize=2)
def _candidates(zero: int) -> Bytes:
    """The table of each magnitude, `(1, 255, 256)`."""
    levels = [np.unique(np.clip([zero - alpha, zero, zero + alpha], 0, CODES - 1)) for alpha in range(1, CODES)]
    return np.stack([nearest_table(codes) for codes in levels])[None]


@final
class Ternary(Quantizer):
    """Three levels about zero."""

    levels = (3,)
    per_channel = True

    def fit(self, histogram: Histogram) -> Bytes:
        """One table for each group, which no other magnitude undercuts in weighted squared error."""
        return cheapest(_candidates(histogram.zero), histogram.importance)


QUANTIZER = Ternary()
