"""`binquant`: the operator of Bin & Quant (ICASSP 2020), as published, on raw 8-bit codes.

Ascending real edges R[0..k]; codes with R[x] <= v <= R[x+1] become the truncated midpoint of the two edges, the lower
bin taking a code on an edge, and codes outside of all bins stay. The edges start at minimum, mean - deviation, mean,
mean + deviation, maximum (population deviation); further levels halve a bin at its middle. The published search finds
the bin by scoring the network once for each; this fit, which runs without data, halves the bin of greatest weighted
squared error; `halved_table` gives the maps of a search that chooses them itself. Two and three levels, which the
publication does not have, leave out the inner edges that are too many.
"""

from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bqsearch.errors import PlanError
from bqsearch.quantizers.base import CODES, LEVELS, Histogram, Quantizer, kernel
from bqsearch.types import Bytes, Floats, Ints

_SIZE = max(LEVELS) + 1  # edges of the finest map; unused ones are infinite


def start_edges(counts: Array) -> Array:
    """The five start edges, ascending where the mean lies a deviation inside of the range, `(5,)`."""
    code = jnp.arange(CODES)
    total = jnp.maximum(jnp.sum(counts), 1)
    mean = jnp.sum(counts * code) / total
    deviation = jnp.sqrt(jnp.sum(counts * (code - mean) ** 2) / total)
    low = jnp.min(jnp.where(counts > 0, code, CODES))
    high = jnp.max(jnp.where(counts > 0, code, -1))
    return jnp.stack([low, mean - deviation, mean, mean + deviation, high])


def apply_edges(edges: Array) -> tuple[Array, Array]:
    """The operator for `(n,)` edges, infinite ones unused: a `(256,)` table, and each code's bin (n where none)."""
    code = jnp.arange(CODES)
    lower, upper = edges[:-1, None], edges[1:, None]
    inside = (lower <= code) & (code <= upper) & jnp.isfinite(upper)
    bins = jnp.where(inside.any(axis=0), jnp.argmax(inside, axis=0), len(edges))
    return _midpoints(edges, bins), bins


def _apply_ascending(edges: Array) -> tuple[Array, Array]:
    """The same for edges that ascend, by binary search."""
    code = jnp.arange(CODES, dtype=edges.dtype)
    above = jnp.searchsorted(edges, code)  # the first edge that is not below the code
    bins = jnp.where(edges[0] == code, 0, above - 1)
    covered = (bins >= 0) & (above < len(edges)) & jnp.isfinite(edges[jnp.minimum(above, len(edges) - 1)])
    bins = jnp.where(covered, bins, len(edges))
    return _midpoints(edges, bins), bins


def _midpoints(edges: Array, bins: Array) -> Array:
    """The `(256,)` table of codes in these bins."""
    code = jnp.arange(CODES)
    middle = jnp.floor((edges[:-1] + jnp.where(jnp.isfinite(edges[1:]), edges[1:], 0.0)) / 2)
    middle = jnp.clip(middle, 0, CODES - 1)  # an edge a deviation below the mean may lie below all codes
    binned = middle[jnp.minimum(bins, len(edges) - 2)]
    return jnp.where(bins < len(edges), binned, code).astype(jnp.uint8)


def _halve(edges: Array, table: Array, bins: Array, importance: Array) -> Array:
    """One more edge, in the middle of the bin of greatest error."""
    error = importance * (jnp.arange(CODES) - table.astype(jnp.float64)) ** 2
    worst = jnp.argmax(jnp.zeros(_SIZE - 1).at[bins].add(error, mode="drop"))
    return jnp.sort(edges.at[-1].set((edges[worst] + edges[worst + 1]) / 2))


@kernel
def _fit(counts: Array, importance: Array) -> Array:
    first = start_edges(counts)
    few = [_padded(first[jnp.asarray(kept)]) for kept in ([0, 2, 4], [0, 1, 3, 4])]

    def step(edges: Array, _: None) -> tuple[Array, Array]:
        table, bins = _apply_ascending(edges)
        return _halve(edges, table, bins, importance), table

    start = _padded(first)  # may not ascend; with one more edge sorted in, all do
    table, bins = apply_edges(start)
    _, many = jax.lax.scan(step, _halve(start, table, bins, importance), length=len(LEVELS) - len(few) - 1)
    return jnp.concatenate([jnp.stack([apply_edges(e)[0] for e in few]), table[None], many])


def _padded(edges: Array) -> Array:
    return jnp.concatenate([edges, jnp.full(_SIZE - len(edges), jnp.inf)])


_start = kernel(start_edges)
_apply = kernel(lambda edges: apply_edges(edges)[0])


def halved_edges(counts: Ints, halves: tuple[int, ...]) -> Floats:
    """The edges after halving these bins of the start edges, one after the other, `(5 + len(halves),)`.

    Args:
        counts: `(256,)` occurrences of the codes.
        halves: Each the number of a bin, from 0, among those there are by then.

    Raises:
        PlanError: There is no such bin, or there would be more than 128.
    """
    edges = _start(counts[None])[0].tolist()
    for half in halves:
        if not 0 <= half < len(edges) - 1:
            raise PlanError(f"cannot halve bin {half} of {len(edges) - 1}: bins are counted from 0, lowest codes first")
        if len(edges) == _SIZE:
            raise PlanError(f"cannot halve {len(halves)} bins: Bin & Quant stops at {_SIZE - 1}, take fewer halves")
        edges = sorted([*edges, (edges[half] + edges[half + 1]) / 2])
    return np.array(edges, np.float64)


def halved_table(counts: Ints, halves: tuple[int, ...]) -> Bytes:
    """The `(256,)` map of the bins between `halved_edges`."""
    edges = halved_edges(counts, halves)
    padded = np.concatenate([edges, np.full(_SIZE - len(edges), np.inf)])
    return _apply(padded[None])[0]


@final
class BinQuant(Quantizer):
    """Bins between edges, as published."""

    def fit(self, histogram: Histogram) -> Bytes:
        """Tables of the published operator over halved bins."""
        return _fit(histogram.counts, histogram.importance)


QUANTIZER = BinQuant()
