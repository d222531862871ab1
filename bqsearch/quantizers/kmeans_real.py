"""Optimal codebooks of real values, for all level counts at once: `kmeans` where centroids need not be codes.

The dynamic program of Wang & Song (R Journal 3/2, 2011) over sorted distinct values, `best[k][j] = min_i best[k-1][i-1]
+ cost[i][j]`. The least i rises with j, so each row is divided and conquered, in O(n log n) (Grønlund et al.,
arXiv:1701.07204); all intervals of a depth are worked out in one go.
"""

from dataclasses import dataclass

import numpy as np

from bqsearch.errors import ModelError
from bqsearch.types import Array, Floats, Ints

MOST_VALUES = 20_000  # distinct ones beyond which values are first merged in as many bins of equal width


@dataclass(frozen=True, kw_only=True, eq=False)
class RealCodebooks:
    """Codebooks for 1, 2, ... levels.

    Attributes:
        centroids: For each level count, its real levels, ascending: as many, or fewer where there are fewer values.
        errors: `(len(centroids),)` float64 weighted squared errors; of merged values, where there are too many.
    """

    centroids: tuple[Floats, ...]
    errors: Floats


def optimal_codebook(values: Floats, weights: Floats | None, levels: int) -> RealCodebooks:
    """The codebooks of least weighted squared error, each value being replaced by its nearest centroid.

    Exact up to `MOST_VALUES` different values. More are merged in bins of that fraction of the range, each of which
    stands for its mean, so that centroids are those of values moved by less than a bin.

    Args:
        values: `(n,)` real, n at least 1.
        weights: `(n,)` not negative, or None for equal ones; values of weight zero do not count, unless all are.
        levels: The greatest level count.

    Raises:
        ModelError: There are no values, or one of them or of the weights is not finite, or a weight is negative.
    """
    points = _Points.of(*_merged(*_distinct(*_checked(values, weights))))
    ends = _partitions(points, min(levels, len(points.values)))
    books = [points.means(begins) for begins in ends]
    errors = [points.error(begins) for begins in ends]
    missing = levels - len(books)
    return RealCodebooks(
        centroids=(*books, *books[-1:] * missing), errors=np.array([*errors, *errors[-1:] * missing], np.float64)
    )


def _checked(values: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    values = np.asarray(values, np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    sound = len(values) and np.isfinite(values).all() and np.isfinite(weights).all() and (weights >= 0).all()
    if not sound:
        raise ModelError("a codebook needs values, finite ones, of finite weights from 0 on: look for NaN or infinity")
    return (values, weights) if weights.any() else (values, np.ones(len(values)))


def _distinct(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Values in ascending order, once each, and the sums of their weights."""
    found, index = np.unique(values[weights > 0], return_inverse=True)
    return found, np.bincount(index, weights=weights[weights > 0]).astype(np.float64)


def _merged(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    if len(values) <= MOST_VALUES:
        return values, weights
    width = (values[-1] - values[0]) / MOST_VALUES
    bins = np.minimum(((values - values[0]) / width).astype(np.int64), MOST_VALUES - 1)
    mass = np.bincount(bins, weights=weights).astype(np.float64)
    total = np.bincount(bins, weights=weights * values)
    return total[mass > 0] / mass[mass > 0], mass[mass > 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Points:
    """Ascending values with weights, and sums over all of the first i of them, about their mean (for the digits)."""

    values: Floats
    weights: Floats
    middle: float
    sums: tuple[Floats, Floats, Floats]

    @classmethod
    def of(cls, values: Floats, weights: Floats) -> "_Points":
        middle = float(np.average(values, weights=weights))
        sums = [np.concatenate([[0.0], np.cumsum(weights * (values - middle) ** power)]) for power in range(3)]
        return cls(values=values, weights=weights, middle=middle, sums=(sums[0], sums[1], sums[2]))

    def cost(self, first: Array, last: Array) -> Floats:
        """Squared error of clusters of the values `first` to `last`."""
        mass, linear, square = (s[last + 1] - s[first] for s in self.sums)
        return np.maximum(square - linear**2 / np.maximum(mass, np.finfo(np.float64).tiny), 0.0)

    def means(self, begins: Ints) -> Floats:
        """Of the clusters that begin there."""
        mass = np.add.reduceat(self.weights, begins)
        return self.middle + np.add.reduceat(self.weights * (self.values - self.middle), begins) / mass

    def error(self, begins: Ints) -> float:
        """Of the clusters that begin there, summed."""
        sizes = np.diff(np.append(begins, len(self.values)))
        return float(np.sum(self.weights * (self.values - np.repeat(self.means(begins), sizes)) ** 2))


def _partitions(points: _Points, most: int) -> list[Ints]:
    """Where the clusters begin, for 1 to `most` of them."""
    last = len(points.values) - 1
    best = points.cost(np.zeros(last + 1, np.int64), np.arange(last + 1))
    origins = [np.zeros(last + 1, np.int32)]
    for clusters in range(1, most):
        best, origin = _extend(points, best, clusters)
        origins.append(origin)
    return [_trace(origins[: count + 1], last) for count in range(most)]


def _trace(origins: list[Array], last: int) -> Ints:
    begins = []
    for origin in reversed(origins):
        begins.append(int(origin[last]))
        last = begins[-1] - 1
    return np.array(begins[::-1])


def _extend(points: _Points, before: Floats, clusters: int) -> tuple[Floats, Array]:
    """One more cluster than `clusters`: the least cost up to each value, and where the last cluster begins.

    Values are taken from coarse to fine, so that the best beginnings of both neighbors bound a value's own.
    """
    count = len(before)
    best, origin = np.full(count, np.inf), np.full(count, clusters, np.int32)
    step = 1 << (count - clusters).bit_length()
    while step := step // 2:
        ends = np.arange(clusters + step - 1, count, 2 * step)
        low = np.where(ends - step >= clusters, origin[ends - step], clusters)
        high = np.where(ends + step < count, origin[np.minimum(ends + step, count - 1)], ends)
        best[ends], origin[ends] = _least(points, before, ends, low, np.minimum(high, ends))
    return best, origin


def _least(points: _Points, before: Floats, ends: Ints, low: Ints, high: Ints) -> tuple[Floats, Array]:
    """For each end, the least total over the beginnings from `low` to `high`, and the first that has it."""
    sizes = high - low + 1
    starts = np.cumsum(sizes) - sizes
    begin = np.arange(sizes.sum()) + np.repeat(low - starts, sizes)
    total = before[begin - 1] + points.cost(begin, np.repeat(ends, sizes))
    least = np.minimum.reduceat(total, starts)
    hits = np.flatnonzero(total == np.repeat(least, sizes))
    return least, begin[hits[np.searchsorted(hits, starts)]]
