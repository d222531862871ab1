"""Real codebooks are those of an independent solver, and of every partition of few values."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from bqsearch.errors import ModelError
from bqsearch.quantizers import kmeans_real
from bqsearch.quantizers.kmeans_real import optimal_codebook
from bqsearch.types import Array, Floats


def squared_error(values: Floats, centroids: Floats, weights: Array | float = 1.0) -> float:
    return float((((values[:, None] - centroids) ** 2).min(axis=1) * weights).sum())


@pytest.mark.parametrize("seed", range(100))
def test_as_kmeans1d(seed: int) -> None:
    kmeans1d = pytest.importorskip("kmeans1d", reason="kmeans1d is not installed: it is in the dev extra")
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.normal() * 5, 10 ** rng.uniform(-3, 3), rng.integers(12, 400))
    found = optimal_codebook(values, None, 12)
    for levels in range(1, 13):
        _, centroids = kmeans1d.cluster(values.tolist(), levels)
        error = squared_error(values, np.array(centroids))
        assert found.centroids[levels - 1] == pytest.approx(np.array(centroids), rel=1e-9)
        assert found.errors[levels - 1] == pytest.approx(error, rel=1e-9, abs=1e-12 * values.var())


@pytest.mark.parametrize("seed", range(20))
def test_no_partition_does_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = np.sort(rng.normal(size=9)), rng.exponential(1.0, 9)
    found = optimal_codebook(values, weights, 9)
    for levels in range(1, 10):
        books = [
            np.array([np.average(values[i:j], weights=weights[i:j]) for i, j in pairwise((0, *cuts, 9))])
            for cuts in combinations(range(1, 9), levels - 1)
        ]
        least = min(squared_error(values, book, weights) for book in books)
        assert found.errors[levels - 1] == pytest.approx(least, abs=1e-12)
        assert squared_error(values, found.centroids[levels - 1], weights) == pytest.approx(least, abs=1e-12)


def test_fewer_values_than_levels() -> None:
    found = optimal_codebook(np.array([3.0, 1.0, 3.0]), None, 4)
    assert [book.tolist() for book in found.centroids] == [[pytest.approx(7 / 3)], [1, 3], [1, 3], [1, 3]]
    assert found.errors.tolist() == pytest.approx([8 / 3, 0, 0, 0])


def test_values_of_weight_zero_do_not_count() -> None:
    found = optimal_codebook(np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.0, 0.0]), 2)
    assert found.centroids[1].tolist() == [0, 1]
    assert optimal_codebook(np.array([2.0, 4.0]), np.zeros(2), 1).centroids[0].tolist() == [3]


def test_a_light_value_among_heavy_ones_divides_nothing_by_zero() -> None:
    found = optimal_codebook(np.arange(5.0), np.array([1.0, 1e-30, 1.0, 1e-30, 1.0]), 5)
    assert all(np.isfinite(book).all() for book in found.centroids)
    assert found.centroids[2] == pytest.approx(np.array([0, 2, 4]))


def test_values_far_from_zero_keep_their_digits() -> None:
    values = 1e6 + np.repeat([0.0, 1e-3, 5e-3, 6e-3], 50)
    assert optimal_codebook(values, None, 2).centroids[1] == pytest.approx(1e6 + np.array([5e-4, 5.5e-3]), abs=1e-8)


def test_very_many_values_are_merged_finely() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=60_000)
    merged = optimal_codebook(values, None, 8)
    bin_width = np.ptp(values) / kmeans_real.MOST_VALUES
    lloyd = merged.centroids[7]
    for _ in range(20):  # from there the exact values gain next to nothing
        nearest = np.abs(values[:, None] - lloyd).argmin(axis=1)
        lloyd = np.array([values[nearest == k].mean() for k in range(8)])
    assert np.abs(lloyd - merged.centroids[7]).max() < 2 * bin_width
    assert squared_error(values, merged.centroids[7]) == pytest.approx(squared_error(values, lloyd), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "weights"),
    [([], None), ([1.0, np.nan], None), ([1.0, np.inf], None), ([1.0], [np.nan]), ([1.0, 2.0], [1.0, -1.0])],
)
def test_what_is_refused(values: list[float], weights: list[float] | None) -> None:
    with pytest.raises(ModelError, match="a codebook needs values, finite ones"):
        optimal_codebook(np.array(values), None if weights is None else np.array(weights), 2)
