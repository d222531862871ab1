"""The codebook is the best one: against every partition of small alphabets, and against figures worked out before."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from bqsearch.quantizers import kmeans
from bqsearch.quantizers.base import CODES, LEVELS, Histogram
from bqsearch.testing.quantizers import histogram_of, sample_tensors, stacked, weighted_errors


def bell() -> Histogram:
    """A fixed tensor of 88,440 weights: a bell with a comb in it."""
    code = np.arange(CODES)
    counts = np.rint(1000 * np.exp(-(((code - 120) / 35) ** 2) / 2)).astype(np.int64) + np.where(code % 7 == 0, 20, 0)
    return histogram_of(code.repeat(counts).astype(np.uint8))


def least_errors(histogram: Histogram) -> list[float]:
    """By number of clusters from 2 on: the least error over all partitions of the used codes and integer centroids."""
    codes = np.flatnonzero(histogram.used)
    weights = histogram.importance[0, codes]
    distances = (codes[:, None] - np.arange(CODES)) ** 2 * weights[:, None]
    cost = {(i, j): distances[i:j].sum(axis=0).min() for i, j in combinations(range(len(codes) + 1), 2)}
    return [
        min(
            sum(cost[part] for part in pairwise((0, *cuts, len(codes))))
            for cuts in combinations(range(1, len(codes)), k)
        )
        for k in range(1, len(codes))
    ]


@pytest.mark.parametrize("seed", range(50))
def test_no_partition_does_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alphabet = rng.choice(256, rng.integers(2, 11), replace=False).astype(np.uint8)
    codes = np.concatenate([alphabet, rng.choice(alphabet, 200)])
    histogram = histogram_of(codes, rng.exponential(1.0, len(codes)))
    best = least_errors(histogram)
    for quantizer in (kmeans.QUANTIZER, kmeans.PER_CHANNEL):
        found = weighted_errors(quantizer, histogram)
        assert found[: len(best)] == pytest.approx(best, rel=1e-9, abs=1e-7)
        assert found[len(best) - 1 :] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("levels", "error"),
    [
        (2, 461.155235),
        (3, 242.941497),
        (4, 150.807689),
        (5, 102.813546),
        (8, 44.449683),
        (16, 11.949887),
        (32, 3.001538),
        (64, 0.761725),
        (128, 0.177578),
    ],
)
def test_golden_errors(levels: int, error: float) -> None:
    histogram = bell()
    found = weighted_errors(kmeans.QUANTIZER, histogram)[LEVELS.index(levels)]
    assert found / histogram.counts.sum() == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize("name", sample_tensors(3))
def test_more_levels_never_cost_more(name: str) -> None:
    histogram = histogram_of(sample_tensors(3)[name])
    assert (np.diff(weighted_errors(kmeans.QUANTIZER, histogram)) <= 1e-9).all()


def test_a_heavy_code_is_kept_where_a_light_one_gives_way() -> None:
    codes = np.array([0, 10, 200], np.uint8).repeat(100)
    light = kmeans.QUANTIZER.fit(histogram_of(codes, np.repeat([1.0, 1.0, 1.0], 100)))[0, 0]
    heavy = kmeans.QUANTIZER.fit(histogram_of(codes, np.repeat([1.0, 1e6, 1.0], 100)))[0, 0]
    assert light[[0, 10, 200]].tolist() == [5, 5, 200]
    assert heavy[[0, 10, 200]].tolist() == [10, 10, 200]


def test_centroids_are_codes_between_the_ends_of_their_clusters() -> None:
    histogram = bell()
    used = np.flatnonzero(histogram.used)
    for table in kmeans.QUANTIZER.fit(histogram)[0, [0, 5, 30, -1]]:
        assert (np.diff(table[used].astype(int)) >= 0).all()
        assert used[0] <= table[used].min()
        assert table[used].max() <= used[-1]


def test_a_million_weights_lose_no_digits() -> None:
    """At the top of the range sums of squares are the largest and the errors the smallest."""
    counts = np.zeros(CODES, np.int64)
    counts[[253, 254, 255]] = [10**9, 1, 10**9]
    histogram = Histogram(
        counts=counts[None], importance=counts[None].astype(np.float64), zero=128, scale=np.array([1.0])
    )
    assert kmeans.QUANTIZER.fit(histogram)[0, 0, [253, 255]].tolist() == [253, 255]
    assert weighted_errors(kmeans.QUANTIZER, histogram)[:2].tolist() == [1.0, 0.0]


def test_a_channels_codebooks_are_the_tensors_first() -> None:
    histogram = stacked([histogram_of(codes) for codes in sample_tensors(4).values()])
    assert kmeans.PER_CHANNEL.per_channel
    assert kmeans.PER_CHANNEL.levels == LEVELS[:15]
    assert np.array_equal(kmeans.PER_CHANNEL.fit(histogram), kmeans.QUANTIZER.fit(histogram)[:, :15])
