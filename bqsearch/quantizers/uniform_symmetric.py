"""`uniform_symmetric`: evenly spaced levels on both sides of zero, zero among them, over the range that clips best.

Row r has at most `levels[r]` levels, an odd number: zero, and as many steps to either side. A multiple of a step is
rounded to a code; one beyond the type's codes is its last code. The range is searched as for `uniform`, from the whole
(the greatest magnitude) down to a quarter of it (Banner et al., NeurIPS 2019).
"""

from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bqsearch.quantizers.base import CODES, Histogram, Quantizer, kernel
from bqsearch.types import Bytes

SHRINKS = tuple(np.linspace(1.0, 0.25, 48).tolist())  # parts of the whole range that are tried


@kernel
def _fit(counts: Array, importance: Array, zero: Array) -> Array:
    return jax.vmap(lambda steps: _best_range(counts, importance, zero, steps))(
        jnp.asarray(UniformSymmetric.levels) // 2
    )


def _best_range(counts: Array, importance: Array, zero: Array, steps: Array) -> Array:
    code = jnp.arange(CODES)
    whole = jnp.maximum(jnp.max(jnp.where(counts > 0, jnp.abs(code - zero), 0)), 1)
    candidates = jax.vmap(lambda shrink: _grid(zero, shrink * whole / steps, steps))(jnp.asarray(SHRINKS))
    errors = jnp.sum(importance * (code - candidates) ** 2, axis=1)
    return candidates[jnp.argmin(errors)].astype(jnp.uint8)


def _grid(zero: Array, step: Array, steps: Array) -> Array:
    """Each code's nearest among zero and `steps` steps to either side, rounded to a code."""
    index = jnp.clip(jnp.round((jnp.arange(CODES) - zero) / step), -steps, steps)
    return jnp.clip(zero + jnp.round(index * step), 0, CODES - 1)


@final
class UniformSymmetric(Quantizer):
    """Even steps to either side of zero."""

    levels = tuple(range(3, 128, 2))

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of codes that are evenly spaced about zero."""
        zero = np.full(len(histogram.counts), histogram.zero)
        return _fit(histogram.counts, histogram.importance, zero)


QUANTIZER = UniformSymmetric()
