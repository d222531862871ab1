"""Exact segmentation of the 256 codes into intervals, for all level counts from one dynamic program.

`best[k][j] = min_i best[k-1][i-1] + cost[i][j]`: the cheapest cover of the codes up to j by k intervals, as in
Wang & Song, "Ckmeans.1d.dp" (R Journal 3/2, 2011).
"""

import jax
import jax.numpy as jnp
from jax import Array

from bqsearch.quantizers.base import CODES, LEVELS

MOST = max(LEVELS)


def tables(cost: Array, values: Array, counts: Array, lowest: tuple[Array, Array] | None = None) -> Array:
    """The best table for each of `LEVELS`.

    Args:
        cost: `(256, 256)`: what replacing codes i..j (i <= j) by `values[i, j]` costs.
        values: `(256, 256)` replacements.
        counts: `(256,)` occurrences; intervals cover from the first to the last code that occurs, and may reach beyond.
        lowest: `cost` and `values` of the lowest interval, where they are others.

    Returns:
        `(len(LEVELS), 256)` uint8.
    """
    lowest_cost, lowest_values = lowest or (cost, values)
    seen = jnp.cumsum(counts)
    start = jnp.where(seen == counts, 0.0, jnp.inf)  # a first interval may begin where no code lies below
    ahead, first = _extend(start, lowest_cost)
    _, others = jax.lax.scan(lambda before, _: _extend(before, cost), ahead, length=MOST - 1)
    best, origins = (jnp.concatenate([f[None], o]) for f, o in zip(first, others, strict=True))
    covered = jnp.where(seen == seen[-1], best, jnp.inf)
    enough = _fewest(jnp.min(covered, axis=1))
    last = jnp.argmin(covered, axis=1)
    rows = enough[jnp.asarray(LEVELS) - 1]
    return jax.vmap(lambda row: _backtrack(row, last[row], origins, lowest_values, values))(rows)


def _extend(before: Array, cost: Array) -> tuple[Array, tuple[Array, Array]]:
    """One more interval; `before[i]` is the cheapest cover of all codes below i."""
    code = jnp.arange(CODES)
    totals = before[:, None] + jnp.where(code[:, None] <= code[None, :], cost, jnp.inf)
    best = jnp.min(totals, axis=0)
    return jnp.concatenate([jnp.array([jnp.inf]), best[:-1]]), (best, jnp.argmin(totals, axis=0))


def _fewest(costs: Array) -> Array:
    """For each row k, the first row up to k whose cost no row up to k undercuts."""
    index = jnp.arange(len(costs))
    return jax.vmap(lambda k: jnp.argmin(jnp.where(index <= k, costs, jnp.inf)))(index)


def _backtrack(row: Array, last: Array, origins: Array, lowest: Array, values: Array) -> Array:
    """The table of the cover by `row + 1` intervals that ends at code `last`."""
    code = jnp.arange(CODES)

    def step(offset: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        table, end = state
        level = row - offset
        begin = origins[jnp.maximum(level, 0), jnp.maximum(end, 0)]
        inside = (code >= begin) & (code <= end) & (level >= 0)
        value = jnp.where(level == 0, lowest[begin, end], values[begin, end])
        return jnp.where(inside, value, table), jnp.where(level >= 0, begin - 1, end)

    table, _ = jax.lax.fori_loop(0, MOST, step, (code.astype(values.dtype), last))
    return table.astype(jnp.uint8)
