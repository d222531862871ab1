"""`kmeans` and `kmeans_channel`: the codebook of least squared error, exactly, with codes as centroids.

One-dimensional k-means is solved to optimality by dynamic programming over sorted values (Wang & Song, R Journal 3/2,
2011); here the values are at most 256 codes, and a centroid is the integer code nearest to its cluster's mean, since
that is what the runtime stores: the optimum over integer codebooks, not a rounded optimum.

Row r is the best codebook of at most `levels[r]` codes. `kmeans` has one for the whole tensor; `kmeans_channel` has one
for each output channel, up to 16 levels, beyond which the tables outgrow what they save.
"""

from functools import partial
from typing import final

from jax import Array

from bqsearch.quantizers import intervals
from bqsearch.quantizers.base import LEVELS, Histogram, Quantizer, kernel
from bqsearch.types import Bytes

CHANNEL_LEVELS = tuple(range(2, 17))


def _tables(counts: Array, importance: Array, levels: tuple[int, ...]) -> Array:
    error, centroid = intervals.clusters(importance)
    return intervals.tables(error, centroid, counts, levels, begins_at=counts > 0)


_fit = kernel(partial(_tables, levels=LEVELS))
_fit_channel = kernel(partial(_tables, levels=CHANNEL_LEVELS))


@final
class KMeans(Quantizer):
    """Optimal intervals and optimal integer centroids for a tensor."""

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables that no other map to as many codes undercuts in weighted squared error."""
        return _fit(histogram.counts, histogram.importance)


@final
class ChannelKMeans(Quantizer):
    """The same for each output channel."""

    levels = CHANNEL_LEVELS
    per_channel = True

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables that no other map to as many codes undercuts in weighted squared error."""
        return _fit_channel(histogram.counts, histogram.importance)


QUANTIZER = KMeans()
PER_CHANNEL = ChannelKMeans()
