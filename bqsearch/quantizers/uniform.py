"""`uniform`: evenly spaced levels (n bits for 2^n of them), over the range that clips best.

Range search by squared error over a grid of shrunken ranges, as in Jacob et al. (CVPR 2018) for the grid of levels and
Banner et al. (NeurIPS 2019) for the gain from clipping.
"""

from typing import final

import jax
import jax.numpy as jnp
from jax import Array

from bqsearch.quantizers.base import CODES, LEVELS, Histogram, Quantizer, kernel
from bqsearch.types import Bytes

RANGES = 48  # shrink factors tried, from the whole range of codes down to `NARROWEST` of it
NARROWEST = 0.25


@kernel
def _fit(counts: Array, importance: Array) -> Array:
    return jax.vmap(lambda level: _best_range(counts, importance, level))(jnp.asarray(LEVELS, jnp.float64))


def _best_range(counts: Array, importance: Array, levels: Array) -> Array:
    code = jnp.arange(CODES)
    low = jnp.min(jnp.where(counts > 0, code, CODES))
    high = jnp.max(jnp.where(counts > 0, code, -1))
    mean = jnp.sum(counts * code) / jnp.maximum(jnp.sum(counts), 1)
    candidates = jax.vmap(lambda r: _grid(mean - r * (mean - low), mean + r * (high - mean), levels))(
        jnp.linspace(1.0, NARROWEST, RANGES)
    )
    errors = jnp.sum(importance * (code - candidates) ** 2, axis=1)
    return candidates[jnp.argmin(errors)].astype(jnp.uint8)


def _grid(low: Array, high: Array, levels: Array) -> Array:
    """Each code's nearest among `levels` even steps from `low` to `high`, rounded to a code."""
    step = jnp.maximum(high - low, 1e-9) / (levels - 1)
    index = jnp.clip(jnp.round((jnp.arange(CODES) - low) / step), 0, levels - 1)
    return jnp.clip(jnp.round(low + index * step), 0, CODES - 1)


@final
class Uniform(Quantizer):
    """Even steps between two ends."""

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of evenly spaced codes."""
        return _fit(histogram.counts, histogram.importance)


QUANTIZER = Uniform()
