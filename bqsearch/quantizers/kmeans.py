"""`kmeans`: the codebook of least squared error, exactly, with codes as centroids.

One-dimensional k-means is solved to optimality by dynamic programming over sorted values (Wang & Song 2011); here the
values are at most 256 codes, and a centroid is the integer code nearest to its cluster's mean, since that is what the
runtime stores: the optimum over integer codebooks, not a rounded optimum.
"""

from typing import final

import jax.numpy as jnp
from jax import Array

from bqsearch.quantizers import intervals
from bqsearch.quantizers.base import CODES, Histogram, Quantizer, kernel
from bqsearch.types import Bytes


@kernel
def _fit(counts: Array, importance: Array) -> Array:
    return intervals.tables(*_clusters(importance), counts)


def _clusters(importance: Array) -> tuple[Array, Array]:
    """Squared error and centroid, `(256, 256)` each, of the clusters of codes i..j."""
    code = jnp.arange(CODES, dtype=importance.dtype)
    mass, first, second = (_interval_sums(importance * code**power) for power in range(3))
    middle = (code[:, None] + code[None, :]) / 2
    centroid = jnp.clip(jnp.round(jnp.where(mass > 0, first / jnp.where(mass > 0, mass, 1.0), middle)), 0, CODES - 1)
    error = second - 2 * centroid * first + centroid**2 * mass
    return jnp.maximum(error, 0.0), centroid.astype(jnp.int64)


def _interval_sums(values: Array) -> Array:
    ends = jnp.cumsum(values)
    return ends[None, :] - (ends - values)[:, None]


@final
class KMeans(Quantizer):
    """Optimal intervals and optimal integer centroids."""

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables that no other map to as many codes undercuts in weighted squared error."""
        return _fit(histogram.counts, histogram.importance)


QUANTIZER = KMeans()
