"""Levels are shifts, and no other codebook of them does better."""

import numpy as np
import pytest

from bqsearch.quantizers import log2
from bqsearch.quantizers.base import CODES, Histogram
from bqsearch.testing.quantizers import histogram_of, sample_tensors, weighted_errors

LADDERS = [[1, 2, 4, 8, 16, 32, 64, 128], [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]]


def least_error(histogram: Histogram, levels: int) -> float:
    """Over all consecutive magnitudes of each ladder, as many on both sides or one more on one, with or without 0."""
    found = []
    for ladder in LADDERS:
        for low in range(len(ladder)):
            for negative in range(len(ladder) - low + 1):
                for positive in (negative - 1, negative, negative + 1):
                    for zeros in ([0], []):
                        if positive >= 0 and negative + positive + len(zeros) <= levels:
                            steps = [-m for m in ladder[low : low + negative]] + ladder[low : low + positive] + zeros
                            found.append(error(histogram, steps))
    return min(found)


def error(histogram: Histogram, steps: list[int]) -> float:
    codes = np.array([histogram.zero + s for s in steps if 0 <= histogram.zero + s < CODES])
    if not len(codes):
        return np.inf
    distance = np.abs(np.arange(CODES)[:, None] - codes).min(axis=1)
    return float(distance**2 @ histogram.importance[0])


@pytest.mark.parametrize("zero", [128, 40])
@pytest.mark.parametrize("name", ["bell", "skewed", "two values", "one weight", "fewer values than levels"])
def test_no_codebook_does_better(name: str, zero: int) -> None:
    codes = sample_tensors(9)[name]
    histogram = histogram_of(codes, np.random.default_rng(1).uniform(0, 1, len(codes)), zero=zero)
    found = weighted_errors(log2.QUANTIZER, histogram)
    for row in (0, 1, 2, 5, 6, 13, 14, 15, 29):
        assert found[row] == pytest.approx(least_error(histogram, log2.QUANTIZER.levels[row]), abs=1e-9)


@pytest.mark.parametrize("zero", [128, 0, 200])
def test_levels_are_shifts_or_sums_of_two(zero: int) -> None:
    codes = np.arange(256, dtype=np.uint8)
    for table in log2.QUANTIZER.fit(histogram_of(codes, zero=zero))[0]:
        steps = np.abs(np.unique(table).astype(int) - zero)
        assert all(int(step).bit_count() <= 2 for step in steps)


def test_powers_of_two_are_kept_with_base_two() -> None:
    steps = np.array([0, *(2**n for n in range(7)), *(-(2**n) for n in range(8))])
    codes = (128 + steps).astype(np.uint8)
    table = log2.QUANTIZER.fit(histogram_of(codes))[0, log2.QUANTIZER.levels.index(16)]
    assert table[codes].tolist() == codes.tolist()  # the 16th level is -128, which has no counterpart


def test_zero_is_left_out_where_no_weight_is_near() -> None:
    codes = np.array([128 - 32, 128 + 32], np.uint8)
    assert log2.QUANTIZER.fit(histogram_of(codes))[0, 0][codes].tolist() == codes.tolist()


def test_base_sqrt_2_is_taken_where_it_fits() -> None:
    codes = np.array([128 - 48, 128 - 32, 128, 128 + 32, 128 + 48], np.uint8)
    assert log2.QUANTIZER.fit(histogram_of(codes))[0, 3][codes].tolist() == codes.tolist()
