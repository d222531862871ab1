"""No integer edges do better under the published operator, as a search through all of them shows."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from bqsearch.quantizers import binquant_optimal, kmeans
from bqsearch.quantizers.base import CODES, LEVELS, Histogram
from bqsearch.testing.quantizers import histogram_of, sample_tensors, weighted_errors
from bqsearch.types import Array


def least_error(histogram: Histogram, edges: range, bins: int) -> float:
    """The least weighted error over all ascending integer edges that cover the codes."""
    first, inner = bin_errors(histogram, edges, True), bin_errors(histogram, edges, False)
    chosen = np.array(list(combinations_with_replacement(range(len(edges)), bins + 1)))
    used = np.flatnonzero(histogram.used)
    chosen = chosen[(edges[0] + chosen[:, 0] <= used[0]) & (edges[0] + chosen[:, -1] >= used[-1])]
    total = first[chosen[:, 0], chosen[:, 1]]
    for left, right in zip(chosen.T[1:-1], chosen.T[2:], strict=True):
        total = total + inner[left, right]
    return float(total.min())


def bin_errors(histogram: Histogram, edges: range, first: bool) -> Array:
    """What a bin between two edges costs; only the lowest bin takes its lower edge too."""
    found = np.full((len(edges), len(edges)), np.inf)
    code = np.arange(CODES)
    for i, low in enumerate(edges):
        for j, high in enumerate(edges[i:], start=i):
            inside = (code >= low if first else code > low) & (code <= high)
            found[i, j] = float((histogram.importance[0] * (code - (low + high) // 2) ** 2)[inside].sum())
    return found


@pytest.mark.parametrize("edges", [range(0, 20), range(236, 256), range(90, 110)], ids=["lowest", "highest", "middle"])
@pytest.mark.parametrize("seed", range(8))
def test_no_other_edges_do_better(edges: range, seed: int) -> None:
    rng = np.random.default_rng(seed)
    room = list(edges)[:9] if edges[0] == 0 else list(edges)[-9:] if edges[-1] == 255 else list(edges)[6:14]
    codes = rng.choice(np.array(room, np.uint8), 30)
    histogram = histogram_of(codes, rng.uniform(0.1, 3, 30))
    found = weighted_errors(binquant_optimal.QUANTIZER, histogram)
    for levels in (2, 3, 4):
        assert found[LEVELS.index(levels)] == pytest.approx(least_error(histogram, edges, levels), abs=1e-9)


@pytest.mark.parametrize("name", sample_tensors(1))
def test_more_levels_never_cost_more_and_the_optimal_codebook_never_loses(name: str) -> None:
    histogram = histogram_of(sample_tensors(1)[name])
    found = weighted_errors(binquant_optimal.QUANTIZER, histogram)
    assert (np.diff(found) <= 1e-9).all()
    assert (weighted_errors(kmeans.QUANTIZER, histogram) <= found + 1e-9).all()
