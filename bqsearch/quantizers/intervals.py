"""Exact segmentation of the 256 codes into intervals, for all level counts from one dynamic program.

`best[k][j] = min_i best[k-1][i-1] + cost[i][j]`: the cheapest cover of the codes up to j by k intervals, as in
Wang & Song, "Ckmeans.1d.dp" (R Journal 3/2, 2011).
"""

from collections.abc import Callable

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
    code = jnp.arange(CODES)
    lowest_cost, lowest_values = lowest or (cost, values)
    costs, lowest_cost = (jnp.where(code[:, None] <= code[None, :], c, jnp.inf) for c in (cost, lowest_cost))
    seen = jnp.cumsum(counts)
    start = jnp.where(seen == counts, 0.0, jnp.inf)  # a first interval may begin where no code lies below
    best_first = jnp.min(start[:, None] + lowest_cost, axis=0)
    _, (before, best) = jax.lax.scan(lambda b, _: _extend(b, costs), _shifted(best_first), length=MOST - 1)
    before, best = jnp.concatenate([start[None], before]), jnp.concatenate([best_first[None], best])
    covered = jnp.where(seen == seen[-1], best, jnp.inf)
    enough = _fewest(jnp.min(covered, axis=1))
    last = jnp.argmin(covered, axis=1)
    rows = enough[jnp.asarray(LEVELS) - 1]

    def beginning(level: Array, end: Array) -> Array:
        return jnp.argmin(before[level] + jnp.where(level == 0, lowest_cost[:, end], costs[:, end]))

    return jax.vmap(lambda row: _fill(_begins(row, last[row], beginning), last[row], lowest_values, values))(rows)


def _extend(before: Array, costs: Array) -> tuple[Array, tuple[Array, Array]]:
    """One more interval; `before[i]` is the cheapest cover of all codes below i."""
    best = jnp.min(before[:, None] + costs, axis=0)
    return _shifted(best), (before, best)


def _shifted(best: Array) -> Array:
    """From covers of the codes up to j to covers of the codes below i."""
    return jnp.concatenate([jnp.array([jnp.inf]), best[:-1]])


def _fewest(costs: Array) -> Array:
    """For each row k, the first row up to k whose cost no row up to k undercuts."""
    index = jnp.arange(len(costs))
    return jax.vmap(lambda k: jnp.argmin(jnp.where(index <= k, costs, jnp.inf)))(index)


def _begins(row: Array, last: Array, beginning: Callable[[Array, Array], Array]) -> Array:
    """Where the `row + 1` intervals of the cover up to code `last` begin, `(MOST,)`, `CODES` where unused.

    Origins are worked out on the way back: a vectorized minimum is all that the way there needs.
    """

    def step(end: Array, offset: Array) -> tuple[Array, Array]:
        level = row - offset
        begin = jnp.where(level >= 0, beginning(jnp.maximum(level, 0), jnp.maximum(end, 0)), CODES)
        return jnp.where(level >= 0, begin - 1, end), begin

    return jax.lax.scan(step, last, jnp.arange(MOST))[1]


def _fill(begins: Array, last: Array, lowest: Array, values: Array) -> Array:
    """The table of intervals with these beginnings, `CODES` where unused; codes outside of all stay."""
    code = jnp.arange(CODES)
    starts = jnp.zeros(CODES, bool).at[begins].set(True, mode="drop")
    begin = jax.lax.cummax(jnp.where(starts, code, -1))
    following = jax.lax.cummin(jnp.where(starts, code, CODES), reverse=True)
    end = jnp.minimum(jnp.concatenate([following[1:], jnp.array([CODES])]) - 1, last)
    value = jnp.where(begin == jnp.min(begins), lowest[begin, end], values[begin, end])
    return jnp.where((begin >= 0) & (code <= last), value, code).astype(jnp.uint8)
