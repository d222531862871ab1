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
        """One table that maps each code to itself."""
        del histogram
        return np.arange(CODES, dtype=np.uint8)[None]


QUANTIZER = Keep()
