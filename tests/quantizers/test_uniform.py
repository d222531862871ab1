"""Levels are evenly spaced, and clipping pays."""

import numpy as np
import pytest

from bqsearch.quantizers import uniform
from bqsearch.quantizers.base import CODES, LEVELS
from bqsearch.testing.quantizers import histogram_of, sample_tensors
from bqsearch.types import Array

FULL = histogram_of(np.arange(256, dtype=np.uint8))


@pytest.mark.parametrize("levels", [3, 4, 8, 11, 16, 32])
def test_levels_are_evenly_spaced_within_rounding(levels: int) -> None:
    values = np.unique(uniform.QUANTIZER.fit(FULL)[0, LEVELS.index(levels)]).astype(int)
    steps = np.diff(values)
    assert len(values) == levels
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("bits", range(1, 8))
def test_n_bits_give_two_to_the_n_levels(bits: int) -> None:
    assert len(np.unique(uniform.QUANTIZER.fit(FULL)[0, LEVELS.index(2**bits)])) == 2**bits


def test_a_tensor_that_lies_on_a_grid_is_kept() -> None:
    codes = np.array([0, 85, 170, 255], np.uint8)
    assert uniform.QUANTIZER.fit(histogram_of(codes))[0, LEVELS.index(4)][codes].tolist() == codes.tolist()


def whole_range_error(codes: Array, levels: int) -> float:
    low, high = float(codes.min()), float(codes.max())
    step = max(high - low, 1e-9) / (levels - 1)
    grid = np.rint(low + np.rint((codes - low) / step) * step)
    return float(((codes - grid) ** 2).mean())


@pytest.mark.parametrize("name", sample_tensors(2))
def test_the_chosen_range_is_never_worse_than_the_whole(name: str) -> None:
    codes = sample_tensors(2)[name]
    tables = uniform.QUANTIZER.fit(histogram_of(codes))[0]
    for levels in (2, 5, 16, 64):
        error = float(((tables[LEVELS.index(levels)][codes].astype(float) - codes) ** 2).mean())
        assert error <= whole_range_error(codes.astype(float), levels) + 1e-9


def test_an_outlier_is_clipped() -> None:
    codes = np.concatenate([np.random.default_rng(0).integers(100, 132, 5000), [255]]).astype(np.uint8)
    table = uniform.QUANTIZER.fit(histogram_of(codes))[0, LEVELS.index(8)]
    assert table[255] < 200
    assert float(((table[codes].astype(float) - codes) ** 2).mean()) < whole_range_error(codes.astype(float), 8) / 2


def test_codes_beyond_the_range_go_to_its_ends() -> None:
    codes = np.arange(100, 141, dtype=np.uint8)
    for table in uniform.QUANTIZER.fit(histogram_of(codes))[0]:
        ends = table[codes].min(), table[codes].max()
        assert (table[0], table[CODES - 1]) == ends
