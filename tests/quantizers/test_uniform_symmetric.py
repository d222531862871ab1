"""Levels lie evenly about zero, and no range of the grid does better."""

import numpy as np
import pytest

from bqsearch.quantizers import uniform_symmetric
from bqsearch.quantizers.base import CODES
from bqsearch.testing.quantizers import histogram_of, sample_tensors, weighted_errors

QUANTIZER = uniform_symmetric.QUANTIZER


@pytest.mark.parametrize("zero", [128, 0, 90])
@pytest.mark.parametrize("name", sample_tensors(8))
def test_no_range_of_the_grid_does_better(name: str, zero: int) -> None:
    codes = sample_tensors(8)[name]
    histogram = histogram_of(codes, np.random.default_rng(0).uniform(0, 1, len(codes)), zero=zero)
    distance = np.arange(CODES) - zero
    whole = max(np.abs(distance[histogram.used[0]]).max(), 1)
    found = weighted_errors(QUANTIZER, histogram)
    for row in (0, 1, 3, 20, 62):
        steps = QUANTIZER.levels[row] // 2
        sizes = [shrink * whole / steps for shrink in np.linspace(1, 0.25, 48)]
        grids = [np.rint(np.clip(np.rint(distance / size), -steps, steps) * size) for size in sizes]
        errors = [((np.clip(zero + g, 0, 255) - np.arange(CODES)) ** 2) @ histogram.importance[0] for g in grids]
        assert found[row] == pytest.approx(min(errors), abs=1e-9)


@pytest.mark.parametrize("zero", [128, 127])
def test_levels_are_symmetric_and_hold_zero(zero: int) -> None:
    codes = np.arange(zero - 100, zero + 101, dtype=np.uint8)
    for levels, table in zip(QUANTIZER.levels, QUANTIZER.fit(histogram_of(codes, zero=zero))[0], strict=True):
        values = np.unique(table[codes]).astype(int) - zero
        assert 0 in values
        assert len(values) <= levels
        assert values.tolist() == (-values[::-1]).tolist()


def test_a_symmetric_grid_is_kept() -> None:
    codes = np.array([28, 78, 128, 178, 228], np.uint8)
    assert QUANTIZER.fit(histogram_of(codes))[0, QUANTIZER.levels.index(5)][codes].tolist() == codes.tolist()
