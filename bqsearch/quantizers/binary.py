"""`binary`: the sign of each weight times one magnitude for each output channel.

As in XNOR-Net (Rastegari et al., ECCV 2016): w -> alpha * sign(w) with alpha = mean |w|, which is the best magnitude;
here the mean is weighted by importance, and alpha rounded to a code step. A weight of 0 counts as positive, as in
reduced-precision AlexNet. The one row has 2 levels.
"""

from typing import final

import numpy as np

from bqsearch.quantizers.base import CODES, Histogram, Quantizer
from bqsearch.types import Bytes, Floats


def magnitudes(histogram: Histogram) -> Floats:
    """alpha of each group in code steps, `(g,)`; by counts where no weight is important, 0 where there is none."""
    important = histogram.importance.any(axis=1, keepdims=True)
    weights = np.where(important, histogram.importance, histogram.counts)
    distance = np.abs(np.arange(CODES) - histogram.zero)
    total = weights.sum(axis=1)
    return (weights * distance).sum(axis=1) / np.where(total > 0, total, 1.0)


@final
class Binary(Quantizer):
    """Two levels about zero."""

    levels = (2,)
    per_channel = True

    def fit(self, histogram: Histogram) -> Bytes:
        """One table for each group: zero + alpha, or zero - alpha."""
        alpha = np.rint(magnitudes(histogram))[:, None]
        sign = np.where(np.arange(CODES) >= histogram.zero, 1, -1)
        return np.clip(histogram.zero + alpha * sign, 0, CODES - 1).astype(np.uint8)[:, None]


QUANTIZER = Binary()
