"""The threshold is the best one."""

import numpy as np
import pytest

from bqsearch.quantizers.ternary import QUANTIZER
from bqsearch.testing.quantizers import histogram_of, weighted_errors


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_does_better(seed: int) -> None:
    """Li & Liu's form: weights beyond a threshold become plus or minus their mean magnitude, here rounded to a code."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, 256, 30).astype(np.uint8)
    importance = rng.exponential(1.0, 30)
    distance = codes.astype(float) - 128
    errors = []
    for threshold in range(128):
        beyond = np.abs(distance) > threshold
        alpha = np.rint(np.average(np.abs(distance), weights=importance * beyond)) if beyond.any() else 0
        errors.append(importance @ (distance - alpha * beyond * np.sign(distance)) ** 2)
    assert weighted_errors(QUANTIZER, histogram_of(codes, importance)) == pytest.approx(min(errors))


def test_golden() -> None:
    codes = np.array([128 - 40, 128 - 3, 128, 128 + 5, 128 + 36, 128 + 44], np.uint8)
    assert QUANTIZER.fit(histogram_of(codes))[0, 0][codes].tolist() == [88, 128, 128, 128, 168, 168]


def test_a_level_beyond_the_codes_is_the_last() -> None:
    codes = np.array([0, 20, 220], np.uint8)
    assert QUANTIZER.fit(histogram_of(codes, zero=20))[0, 0][codes].tolist() == [0, 20, 220]
