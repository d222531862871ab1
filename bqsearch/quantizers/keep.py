"""`keep`: the 8-bit codes as they are. Codings without loss still apply."""

from typing import final

import numpy as np

from bqsearch.quantizers.base import CODES, Histogram, Quantizer
from bqsearch.types import Bytes


@final
class Keep(Quantizer):
    """The identity."""

    levels = (CODES,)

    def fit(self, histogram: Histogram) -> Bytes:
        """For each group, one table that maps each code to itself."""
        return np.tile(np.arange(CODES, dtype=np.uint8), (len(histogram.counts), 1, 1))


QUANTIZER = Keep()
