"""`entropy`: the codebook of least squared error plus price times bits, for codings that store frequent levels shorter.

Entropy-constrained scalar quantization (Chou, Lookabaugh & Gray, IEEE Trans. ASSP 37/1, 1989; over intervals: Sullivan,
IEEE Trans. IT 42/5, 1996), solved exactly: the number of intervals is free, so the best partition of the codes is a
shortest path over 257 boundaries, where an interval of n of the N weights costs

    sum importance * (code - centroid)^2 + price * (n * log2(N / n) + 8),

8 bits being its entry in the codebook. Row r has the price

    price = ln 2 / 6 * (range / levels[r])^2 * mean importance of a weight,

range from the lowest to the highest code that occurs: what a bit saves at high rate with a step of range / levels
(Gish & Pierce, IEEE Trans. IT 14/5, 1968), so that evenly spread weights get `levels[r]` levels and others fewer. Where
more would come out, the price rises until they do not.
"""

import math
from typing import final

import jax
import jax.numpy as jnp
from jax import Array

from bqsearch.quantizers import intervals
from bqsearch.quantizers.base import CODES, LEVELS, Histogram, Quantizer, kernel
from bqsearch.types import Bytes, Floats

ENTRY_BITS = 8  # of a level in the codebook
RISE = 1.1  # of a price at first; squared at each further attempt


@kernel
def _fit(counts: Array, importance: Array) -> tuple[Array, Array]:
    error, centroid = intervals.clusters(importance)
    bits = _bits(counts)
    levels = jnp.asarray(LEVELS)

    def too_many(state: tuple[Array, Array, Array]) -> Array:
        return jnp.any(_level_count(state[2]) > levels)

    def dearer(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        prices, rise, begins = state
        prices = jnp.where(_level_count(begins) > levels, prices * rise, prices)
        return prices, rise**2, _cheapest(error, bits, prices)

    first = _first_prices(counts, importance)
    start = first, jnp.float64(RISE), _cheapest(error, bits, first)
    prices, _, begins = jax.lax.while_loop(too_many, dearer, start)
    return jax.vmap(lambda b: intervals.fill(b, jnp.int64(CODES - 1), centroid, centroid), 1)(begins), prices


def _first_prices(counts: Array, importance: Array) -> Array:
    code = jnp.arange(CODES)
    low = jnp.min(jnp.where(counts > 0, code, CODES))
    high = jnp.max(jnp.where(counts > 0, code, -1))
    steps = jnp.maximum(high - low, 1) / jnp.asarray(LEVELS)
    prices = math.log(2) / 6 * steps**2 * jnp.sum(importance) / jnp.maximum(jnp.sum(counts), 1)
    return jnp.where(prices > 0, prices, 1.0)  # weights of no importance: any price, and one level


def _bits(counts: Array) -> Array:
    """What the codes i..j and their level take as one interval, `(256, 256)`."""
    members = jnp.maximum(intervals.interval_sums(counts), 0)
    share = jnp.maximum(members, 1) / jnp.maximum(jnp.sum(counts), 1)
    return ENTRY_BITS - members * jnp.log2(share)


def _cheapest(error: Array, bits: Array, prices: Array) -> Array:
    """Where the intervals of the shortest paths begin, `(256, prices)`, `CODES` where unused."""
    code = jnp.arange(CODES, dtype=jnp.int32)

    def forth(best: Array, end: Array) -> tuple[Array, Array]:
        def try_begin(begin: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
            total = best[begin] + (error[begin, end] + bits[begin, end] * prices)  # best[i]: of all codes below i
            better = total < found[0]
            return jnp.where(better, total, found[0]), jnp.where(better, begin, found[1])

        nothing = jnp.full(prices.shape, jnp.inf), jnp.zeros(prices.shape, jnp.int32)
        least, begin = jax.lax.fori_loop(jnp.int32(0), end + 1, try_begin, nothing)
        return best.at[end + 1].set(least, mode="drop"), begin

    def back(end: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        at, begin = interval
        return jnp.where(at == end, begin - 1, end), jnp.where(at == end, begin, CODES)

    start = jnp.zeros((CODES, *prices.shape))
    _, origins = jax.lax.scan(forth, start, code)
    return jax.lax.scan(back, jnp.full(prices.shape, CODES - 1, jnp.int32), (code, origins), reverse=True)[1]


def _level_count(begins: Array) -> Array:
    return jnp.sum(begins < CODES, axis=0)


@final
class Entropy(Quantizer):
    """Optimal intervals and integer centroids at a price for each bit."""

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables that no other map undercuts in weighted squared error plus price times bits."""
        return self.priced_fit(histogram)[0]

    def priced_fit(self, histogram: Histogram) -> tuple[Bytes, Floats]:
        """The same tables, and the price of each."""
        tables, prices = _fit(histogram.counts, histogram.importance)
        return tables, prices


QUANTIZER = Entropy()
