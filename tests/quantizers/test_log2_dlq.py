"""The published example, and what the table does at its ends."""

import numpy as np
import pytest

from bqsearch.quantizers.log2_dlq import QUANTIZER, exponents, log2_dlq, log2_dlq_indices
from bqsearch.testing.quantizers import histogram_of


def test_published_example() -> None:
    weight = np.array([0.056])
    assert np.log2(weight)[0] == pytest.approx(-4.158, abs=5e-4)
    assert log2_dlq_indices(weight).tolist() == [9]
    assert exponents(4)[9] == pytest.approx(-4.2)
    assert log2_dlq(weight)[0] == pytest.approx(0.054409, abs=5e-7)


@pytest.mark.parametrize(
    ("weight", "rounded"), [(1.0, 1.0), (7.0, 1.0), (-3.0, -1.0), (1e-9, 2**-7), (-1e-9, -(2**-7)), (0.0, 0.0)]
)
def test_ends(weight: float, rounded: float) -> None:
    assert log2_dlq(np.array([weight])).tolist() == [rounded]


def test_sixteen_magnitudes_of_both_signs_and_zero() -> None:
    weights = np.linspace(-1.5, 1.5, 100_001)
    assert len(np.unique(log2_dlq(weights))) == QUANTIZER.levels[3] == 33
    assert log2_dlq(weights.reshape(-1, 1)).shape == (100_001, 1)


def test_codes_are_those_nearest_to_the_rounded_weights() -> None:
    codes = np.array([28, 122, 128, 129, 228], np.uint8)
    table = QUANTIZER.fit(histogram_of(codes, scale=0.01))[0, 3]
    assert table[codes].tolist() == [28, 128 - 5, 128, 128 + 1, 228]  # 0.06 becomes 0.0544
    coarse = QUANTIZER.fit(histogram_of(codes, scale=0.01))[0, 0]  # 1, 2^-7 = 0.0078, both signs, and zero
    assert coarse[codes].tolist() == [28, 127, 128, 129, 228]
