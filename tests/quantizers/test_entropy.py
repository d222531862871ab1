"""No partition does better at the price, as a search through all of them shows; prices are those of the theory."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest

from bqsearch.quantizers import entropy, kmeans
from bqsearch.quantizers.base import CODES, LEVELS, Histogram
from bqsearch.testing.quantizers import histogram_of, sample_tensors
from bqsearch.types import Array

FIT = entropy.QUANTIZER.fit


def prices(histogram: Histogram) -> Array:
    return entropy.QUANTIZER.priced_fit(histogram)[1]


def cost(table: Array, histogram: Histogram, price: float) -> float:
    """Squared error and price times bits of a map of the first group."""
    error = (table.astype(np.float64) - np.arange(CODES)) ** 2 @ histogram.importance[0]
    sizes = np.bincount(table, weights=histogram.counts[0])
    sizes = sizes[sizes > 0]
    return float(error + price * (8 * len(sizes) - (sizes * np.log2(sizes / sizes.sum())).sum()))


def least_cost(histogram: Histogram, price: float) -> float:
    """Over all partitions of the used codes and integer centroids."""
    codes = np.flatnonzero(histogram.used)
    counts, weights = histogram.counts[0, codes], histogram.importance[0, codes]
    distances = (codes[:, None] - np.arange(CODES)) ** 2 * weights[:, None]
    total = counts.sum()

    def part(i: int, j: int) -> float:
        size = counts[i:j].sum()
        return float(distances[i:j].sum(axis=0).min() + price * (8 - size * np.log2(size / total)))

    parts = {(i, j): part(i, j) for i, j in combinations(range(len(codes) + 1), 2)}
    return min(
        sum(parts[ends] for ends in pairwise((0, *cuts, len(codes))))
        for k in range(len(codes))
        for cuts in combinations(range(1, len(codes)), k)
    )


@pytest.mark.parametrize("seed", range(30))
def test_no_partition_costs_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alphabet = rng.choice(CODES, rng.integers(2, 11), replace=False).astype(np.uint8)
    codes = np.concatenate([alphabet, rng.choice(alphabet, 300)])
    histogram = histogram_of(codes, rng.exponential(1.0, len(codes)))
    for row in (0, 1, 2, 6, 14, 126):
        price = prices(histogram)[0, row]
        assert cost(FIT(histogram)[0, row], histogram, price) == pytest.approx(least_cost(histogram, price), rel=1e-9)


def first_prices(histogram: Histogram) -> Array:
    used = np.flatnonzero(histogram.used)
    mean = histogram.importance.sum() / histogram.counts.sum()
    return math.log(2) / 6 * ((used[-1] - used[0]) / np.array(LEVELS)) ** 2 * mean


@pytest.mark.parametrize("name", ["bell", "flat", "skewed", "two values", "fewer values than levels"])
def test_prices_start_from_the_theory_and_only_rise(name: str) -> None:
    histogram = histogram_of(sample_tensors(0)[name], np.linspace(1, 2, len(sample_tensors(0)[name])))
    ratio = prices(histogram)[0] / first_prices(histogram)
    assert (ratio >= 1 - 1e-12).all()
    assert np.mean(ratio > 1 + 1e-12) < 0.1


def test_evenly_spread_weights_get_the_levels_asked_for() -> None:
    """Or nearly: an odd number of codes is better served by a centroid that is a code."""
    tables = FIT(histogram_of(np.arange(256, dtype=np.uint8).repeat(100)))[0]
    for levels in range(2, 33):
        assert 0.85 * levels <= len(np.unique(tables[LEVELS.index(levels)])) <= levels


def test_a_price_rises_where_too_many_levels_would_come_out() -> None:
    codes = np.array([0, 100, 101, 255], np.uint8).repeat(1000)
    histogram = histogram_of(codes)
    assert prices(histogram)[0, 0] > first_prices(histogram)[0]
    assert len(np.unique(FIT(histogram)[0, 0][codes])) <= 2


@pytest.mark.parametrize("levels", [8, 16, 64])
def test_a_bell_takes_fewer_bits_than_the_best_codebook_of_the_same_error(levels: int) -> None:
    histogram = histogram_of(sample_tensors(0)["bell"])
    table = FIT(histogram)[0, LEVELS.index(levels)]
    error = cost(table, histogram, 0.0)
    rivals = [t for t in kmeans.QUANTIZER.fit(histogram)[0] if cost(t, histogram, 0.0) <= error]
    bits = [cost(t, histogram, 1.0) - cost(t, histogram, 0.0) for t in (table, *rivals)]
    assert bits[0] < min(bits[1:])


def test_weights_of_no_importance_get_one_level() -> None:
    histogram = histogram_of(np.arange(256, dtype=np.uint8), np.zeros(256))
    assert all(len(np.unique(table)) == 1 for table in FIT(histogram)[0])
    assert (prices(histogram) == 1.0).all()
