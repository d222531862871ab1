"""The operator does what was published, to the digits that were published."""

import math
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest

from bqsearch.errors import PlanError
from bqsearch.graph.ops import layers
from bqsearch.importers.tflite import load
from bqsearch.quantizers import binquant, kmeans
from bqsearch.quantizers.base import CODES, LEVELS
from bqsearch.testing.quantizers import histogram_of, sample_tensors
from bqsearch.types import Array


def start_edges(codes: Array) -> Array:
    with jax.enable_x64(True):
        return np.asarray(binquant.start_edges(histogram_of(codes).counts[0]))


def apply_edges(edges: list[float]) -> Array:
    with jax.enable_x64(True):
        return np.asarray(binquant.apply_edges(np.array(edges, np.float64))[0])


def published(code: int, edges: list[float]) -> int:
    """Bins in order; each replaces the members that are still as they were."""
    for low, high in pairwise(edges):
        if low <= code <= high:
            return max(int((low + high) / 2), 0)
    return code


def published_search(codes: Array) -> list[Array]:
    """Tables for 4 levels and up: the bin of greatest squared error is halved, the lower one on a tie."""
    edges, found = start_edges(codes).tolist(), []
    counts = np.bincount(codes, minlength=CODES)
    for _ in range(4, 40):
        table = [published(code, edges) for code in range(CODES)]
        found.append(np.array(table))
        errors = [0] * (len(edges) - 1)
        for code in range(CODES):
            bins = [x for x in range(len(edges) - 1) if edges[x] <= code <= edges[x + 1]]
            if bins:
                errors[bins[0]] += int(counts[code]) * (code - table[code]) ** 2
        worst = errors.index(max(errors))
        edges = sorted([*edges, (edges[worst] + edges[worst + 1]) / 2])
    return found


def test_start_edges_by_hand() -> None:
    codes = np.array([10, 20, 30, 40, 50], np.uint8)
    deviation = math.sqrt((20**2 + 10**2 + 0 + 10**2 + 20**2) / 5)  # of the population
    assert start_edges(codes).tolist() == pytest.approx([10, 30 - deviation, 30, 30 + deviation, 50])


def test_bins_by_hand() -> None:
    table = apply_edges([10, 15.5, 20, 31])
    assert table[9] == 9  # outside
    assert table[[10, 15]].tolist() == [12, 12]  # 12.75 loses its fraction
    assert table[[16, 20]].tolist() == [17, 17]  # 17.75; the code on the edge goes to the lower bin
    assert table[[21, 31]].tolist() == [25, 25]
    assert table[[32, 255]].tolist() == [32, 255]


def test_unused_edges_make_no_bins() -> None:
    assert np.array_equal(apply_edges([10, 20, 31]), apply_edges([10, 20, 31, math.inf, math.inf]))


@pytest.mark.parametrize("seed", range(20))
def test_operator_on_random_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.sort(np.where(rng.random(12) < 0.5, rng.integers(0, 256, 12), rng.uniform(0, 255, 12))).tolist()
    assert apply_edges(edges).tolist() == [published(code, edges) for code in range(CODES)]


@pytest.mark.parametrize("name", sample_tensors(5))
def test_fits_are_those_of_the_plain_search(name: str) -> None:
    codes = sample_tensors(5)[name]
    tables = binquant.QUANTIZER.fit(histogram_of(codes))[0, LEVELS.index(4) : LEVELS.index(40)]
    assert np.array_equal(tables, published_search(codes))


def test_two_and_three_levels_leave_inner_edges_out() -> None:
    codes = sample_tensors(6)["bell"]
    low, below, mean, above, high = start_edges(codes).tolist()
    tables = binquant.QUANTIZER.fit(histogram_of(codes))[0]
    assert np.array_equal(tables[0], apply_edges([low, mean, high]))
    assert np.array_equal(tables[1], apply_edges([low, below, above, high]))


def test_a_midpoint_below_all_codes_is_the_lowest_code() -> None:
    codes = np.array([0] * 90 + [255] * 10, np.uint8)
    assert start_edges(codes).tolist() == pytest.approx([0, -51, 25.5, 102, 255])
    assert binquant.QUANTIZER.fit(histogram_of(codes))[0, LEVELS.index(4)][[0, 255]].tolist() == [0, 178]


def test_halves_are_counted_among_the_bins_there_are_by_then() -> None:
    counts = np.bincount([0, 100, 100, 100, 200], minlength=CODES)
    low, below, mean, above, high = binquant.halved_edges(counts, ()).tolist()
    assert [low, mean, high] == [0, 100, 200]
    assert binquant.halved_edges(counts, (0, 1, 5)).tolist() == pytest.approx(
        [low, below / 2, below * 3 / 4, below, mean, above, (above + high) / 2, high]
    )


@pytest.mark.parametrize("name", sample_tensors(7))
def test_halving_where_the_error_is_greatest_gives_the_fits(name: str) -> None:
    codes = sample_tensors(7)[name]
    histogram = histogram_of(codes)
    tables = binquant.QUANTIZER.fit(histogram)[0, LEVELS.index(4) :]
    halves: tuple[int, ...] = ()
    for table in tables[:40]:
        assert np.array_equal(binquant.halved_table(histogram.counts[0], halves), table)
        edges = binquant.halved_edges(histogram.counts[0], halves)
        errors = [0.0] * (len(edges) - 1)
        for code in range(CODES):
            bins = [x for x, (low, high) in enumerate(pairwise(edges)) if low <= code <= high]
            if bins:
                errors[bins[0]] += float(histogram.importance[0, code] * (float(table[code]) - code) ** 2)
        halves = (*halves, errors.index(max(errors)))
    assert binquant._apply.trace_count() == 1


def test_halves_that_cannot_be() -> None:
    counts = histogram_of(sample_tensors(0)["bell"]).counts[0]
    with pytest.raises(PlanError, match="cannot halve bin 5 of 5"):
        binquant.halved_edges(counts, (0, 5))
    with pytest.raises(PlanError, match="cannot halve bin -1"):
        binquant.halved_table(counts, (-1,))
    assert len(binquant.halved_edges(counts, (0,) * 124)) == 129
    with pytest.raises(PlanError, match="stops at 128"):
        binquant.halved_table(counts, (0,) * 125)


def mean_squared_error(table: Array, codes: Array) -> float:
    return float(((table[codes].astype(np.float64) - codes) ** 2).mean())


@pytest.fixture(scope="module")
def published_layer(shared_models: Path) -> Array:
    """The 16,000 weights of the published micro_speech network."""
    graph = load(shared_models / "micro_speech_uint8.tflite")
    (dense,) = [layer for layer in layers(graph) if layer.size == 16_000]
    data = graph.tensors[dense.weights].data
    assert data is not None
    return data.reshape(-1)


def test_published_start_edges(published_layer: Array) -> None:
    assert start_edges(published_layer).tolist() == [1.0, 97.78707476597417, 128.78125, 159.77542523402582, 255.0]


def test_published_error_of_four_bins(published_layer: Array) -> None:
    histogram = histogram_of(published_layer)
    for table in (
        binquant.QUANTIZER.fit(histogram)[0, LEVELS.index(4)],
        binquant.halved_table(histogram.counts[0], ()),
    ):
        assert mean_squared_error(table, published_layer) == pytest.approx(403.8, abs=0.05)


def test_optimal_codebooks_undercut_the_published_bins(published_layer: Array) -> None:
    optimal = [129.2, 89.0, 64.9, 48.9, 38.2, 30.8, 25.1, 21.0]  # 4 to 11 levels, real-valued
    tables = kmeans.QUANTIZER.fit(histogram_of(published_layer))[0]
    for levels, error in enumerate(optimal, start=4):
        found = mean_squared_error(tables[LEVELS.index(levels)], published_layer)
        assert error - 0.05 <= found <= error + 0.3
