"""`binquant_optimal`: Bin & Quant's operator with the integer edges of least squared error.

The operator ties a bin's replacement to its edges (their truncated midpoint), so the best edges are found by the same
dynamic program as k-means, with the midpoint in place of the mean. Edges lie on codes; a bin takes its upper edge,
and the lowest bin its lower edge too.
"""

from typing import final

import jax.numpy as jnp
from jax import Array

from bqsearch.quantizers import intervals
from bqsearch.quantizers.base import CODES, Histogram, Quantizer, kernel
from bqsearch.types import Bytes


@kernel
def _fit(counts: Array, importance: Array) -> Array:
    code = jnp.arange(CODES)
    edge_below = jnp.maximum(code - 1, 0)  # codes i..j are the bin between edges i - 1 and j
    midpoint = (edge_below[:, None] + code[None, :]) // 2
    lowest = (code[:, None] + code[None, :]) // 2
    least = _errors(importance, lowest), lowest
    return intervals.tables(_errors(importance, midpoint), midpoint, counts, lowest=least)


def _errors(importance: Array, midpoint: Array) -> Array:
    code = jnp.arange(CODES, dtype=importance.dtype)
    ends = [jnp.cumsum(importance * code**power) for power in range(3)]
    starts = [jnp.concatenate([jnp.zeros(1), e[:-1]]) for e in ends]
    mass, first, second = (e[None, :] - s[:, None] for e, s in zip(ends, starts, strict=True))
    return jnp.maximum(second - 2 * midpoint * first + midpoint**2 * mass, 0.0)


@final
class BinQuantOptimal(Quantizer):
    """Bins between the best edges."""

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of the published operator over optimal edges."""
        return _fit(histogram.counts, histogram.importance)


QUANTIZER = BinQuantOptimal()
