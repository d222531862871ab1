"""Exact segmentation of the 256 codes into intervals, for all level counts from one dynamic program.

`best[k][j] = min_i best[k-1][i-1] + cost[i][j]`: the cheapest cover of the codes up to j by k intervals, as in
Wang & Song, "Ckmeans.1d.dp" (R Journal 3/2, 2011).
"""

import jax
import jax.numpy as jnp
from jax import Array

from bqsearch.quantizers.base import CODES, LEVELS


def clusters(importance: Array) -> tuple[Array, Array]:
    """Squared error and centroid, `(256, 256)` each, of the clusters of codes i..j.

    A centroid is the integer nearest to the cluster's mean, since codes are what the runtime stores.
    """
    code = jnp.arange(CODES, dtype=importance.dtype)
    mass, first, second = (interval_sums(importance * code**power) for power in range(3))
    middle = (code[:, None] + code[None, :]) / 2
    centroid = jnp.clip(jnp.round(jnp.where(mass > 0, first / jnp.where(mass > 0, mass, 1.0), middle)), 0, CODES - 1)
    error = second - 2 * centroid * first + centroid**2 * mass
    return jnp.maximum(error, 0.0), centroid


def interval_sums(values: Array) -> Array:
    """Sums of `(256,)` values over the codes i..j, `(256, 256)`."""
    ends = jnp.cumsum(values)
    return ends[None, :] - (ends - values)[:, None]


def tables(
    cost: Array,
    values: Array,
    counts: Array,
    levels: tuple[int, ...] = LEVELS,
    begins_at: Array | None = None,
    lowest: tuple[Array, Array] | None = None,
) -> Array:
    """The best table for each level count.

    Args:
        cost: `(256, 256)`: what replacing codes i..j (i <= j) by `values[i, j]` costs.
        values: `(256, 256)` replacements.
        counts: `(256,)` occurrences; intervals cover from the first to the last code that occurs, and may reach beyond.
        levels: Level counts, one for each table.
        begins_at: `(256,)` bool, the codes that intervals may begin at, where not all: the fewer, the faster.
        lowest: `cost` and `values` of the lowest interval, where they are others.

    Returns:
        `(len(levels), 256)` uint8.
    """
    code = jnp.arange(CODES)
    lowest_cost, lowest_values = lowest or (cost, values)
    costs, lowest_cost = (jnp.where(code[:, None] <= code[None, :], c, jnp.inf) for c in (cost, lowest_cost))
    tried = jnp.ones(CODES, bool) if begins_at is None else begins_at
    seen = jnp.cumsum(counts)
    first = _extend(jnp.where(seen == counts, 0.0, jnp.inf), lowest_cost, tried)  # may begin where no code lies below

    def more(before: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        best, begins = _extend(before, costs, tried)
        return _shifted(best), (best, begins)

    _, further = jax.lax.scan(more, _shifted(first[0]), length=max(levels) - 1)
    best, begins = (jnp.concatenate([f[None], m]) for f, m in zip(first, further, strict=True))
    covered = jnp.where(seen == seen[-1], best, jnp.inf)
    last = jnp.argmin(covered, axis=1)
    rows = _fewest(jnp.min(covered, axis=1))[jnp.asarray(levels) - 1]
    return jax.vmap(lambda row: fill(_trace(begins, row, last[row]), last[row], lowest_values, values))(rows)


def _extend(before: Array, costs: Array, tried: Array) -> tuple[Array, Array]:
    """One more interval: for each code, the cheapest cover of those up to it, and where its last interval begins.

    `before[i]` is the cheapest cover of all codes below i; `tried` tells which i to try. A loop over them, as it is
    several times faster on a CPU than a minimum along an axis.
    """
    candidates = jnp.nonzero(tried, size=CODES)[0].astype(jnp.int32)

    def try_begin(place: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        begin = candidates[place]
        total = before[begin] + costs[begin]
        better = total < found[0]
        return jnp.where(better, total, found[0]), jnp.where(better, begin, found[1])

    nothing = jnp.full(CODES, jnp.inf), jnp.zeros(CODES, jnp.int32)
    return jax.lax.fori_loop(jnp.int32(0), jnp.sum(tried, dtype=jnp.int32), try_begin, nothing)


def _shifted(best: Array) -> Array:
    """From covers of the codes up to j to covers of the codes below i."""
    return jnp.concatenate([jnp.array([jnp.inf]), best[:-1]])


def _fewest(costs: Array) -> Array:
    """For each row k, the first row up to k whose cost no row up to k undercuts."""
    index = jnp.arange(len(costs))
    return jax.vmap(lambda k: jnp.argmin(jnp.where(index <= k, costs, jnp.inf)))(index)


def _trace(begins: Array, row: Array, last: Array) -> Array:
    """Where the `row + 1` intervals of the cover up to code `last` begin, `(len(begins),)`, `CODES` where unused."""

    def step(end: Array, level: Array) -> tuple[Array, Array]:
        begin = jnp.where(level <= row, begins[level, jnp.maximum(end, 0)], CODES)
        return jnp.where(level <= row, begin - 1, end), begin

    return jax.lax.scan(step, last.astype(begins.dtype), jnp.arange(len(begins)), reverse=True)[1]


def fill(begins: Array, last: Array, lowest: Array, values: Array) -> Array:
    """The table of intervals with these beginnings, `CODES` where unused; codes outside of all stay."""
    code = jnp.arange(CODES)
    starts = jnp.zeros(CODES, bool).at[begins].set(True, mode="drop")
    begin = jax.lax.cummax(jnp.where(starts, code, -1))
    following = jax.lax.cummin(jnp.where(starts, code, CODES), reverse=True)
    end = jnp.minimum(jnp.concatenate([following[1:], jnp.array([CODES])]) - 1, last)
    value = jnp.where(begin == jnp.min(begins), lowest[begin, end], values[begin, end])
    return jnp.where((begin >= 0) & (code <= last), value, code).astype(jnp.uint8)
