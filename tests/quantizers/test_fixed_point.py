"""The rounding is the published one, on reals and on codes."""

import numpy as np
import pytest

from bqsearch.quantizers.fixed_point import QUANTIZER, fixed_point
from bqsearch.testing.quantizers import histogram_of


@pytest.mark.parametrize(
    ("bits", "weights", "rounded"),
    [
        (1, [-2.0, -0.6, -0.5, 0.0, 0.4, 0.9], [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0]),
        (2, [-0.9, -0.75, -0.3, 0.2, 0.3, 1.0], [-1.0, -1.0, -0.5, 0.0, 0.5, 0.5]),
        (3, [0.125, 0.375, 0.8, -0.9], [0.0, 0.5, 0.75, -1.0]),  # halves go to the even integer
        (8, [0.056, 5.0, -5.0], [7 / 128, 127 / 128, -1.0]),
    ],
)
def test_golden(bits: int, weights: list[float], rounded: list[float]) -> None:
    assert fixed_point(np.array(weights), bits).tolist() == rounded


def test_codes_are_those_nearest_to_the_rounded_weights() -> None:
    codes = np.arange(256, dtype=np.uint8)
    histogram = histogram_of(codes, scale=1 / 128)  # all of int8 is -1 to 127/128: nothing moves when rounded to codes
    for bits, table in enumerate(QUANTIZER.fit(histogram)[0], start=1):
        weights = (codes.astype(float) - 128) / 128
        assert ((table.astype(float) - 128) / 128).tolist() == fixed_point(weights, bits).tolist()
        assert len(np.unique(table)) == 2**bits


def test_levels_beyond_the_codes_are_the_last_code() -> None:
    table = QUANTIZER.fit(histogram_of(np.array([0, 255], np.uint8), scale=0.7 / 128))[0, 0]
    assert table[[0, 255]].tolist() == [0, 128]  # -0.7 becomes -1, of which no code is, and 0.69 becomes 0
