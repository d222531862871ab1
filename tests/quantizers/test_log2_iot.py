"""The publication's numbers, with its quirks."""

import math

import numpy as np
import pytest

from bqsearch.quantizers.log2_iot import QUANTIZER, log2_iot
from bqsearch.testing.quantizers import histogram_of


@pytest.mark.parametrize(
    ("weight", "rounded"),
    [
        (0.3, 0.25),
        (0.49, 0.25),  # always down, where the paper would round up
        (0.5, 0.5),
        (0.999, 0.5),
        (-0.3, -0.25),
        (1.0, 1.0),
        (1.3, 1.0),
        (1.34, 2**0.3),  # above 1 it rounds, and FSR - 1 = 0.3 cuts 2^1
        (1e-9, 2**-6.7),  # FSR - 2^3 is no integer, and nothing becomes 0
        (-1e-9, -(2**-6.7)),
        (0.0, 2**-6.7),
    ],
)
def test_golden(weight: float, rounded: float) -> None:
    assert log2_iot(np.array([weight]), 3, 1.3)[0] == pytest.approx(rounded, rel=1e-12)


def test_three_bits_have_seven_magnitudes_of_both_signs() -> None:
    weights = np.random.default_rng(0).uniform(-0.65, 0.65, 100_000)
    rounded = log2_iot(weights, 3, float(np.ptp(weights)))
    assert len(np.unique(np.abs(rounded))) == 7
    assert len(np.unique(rounded)) == 14


@pytest.mark.parametrize("spread", [0.01, 0.3, 0.9, 1.0, 1.45, 2.0, 2.7, 3.3, 5.5, 40.0])
@pytest.mark.parametrize("middle", [0.0, 0.3, 1.0, 50.0])
def test_there_are_never_more_levels_than_said(spread: float, middle: float) -> None:
    weights = np.linspace(-spread, spread, 20_001) + middle * spread
    for bits, levels in zip(range(1, 6), QUANTIZER.levels, strict=True):
        assert len(np.unique(log2_iot(weights, bits, float(np.ptp(weights))))) <= levels


def test_codes_are_those_nearest_to_the_rounded_weights() -> None:
    codes = np.array([100, 120, 128, 129, 180], np.uint8)
    table = QUANTIZER.fit(histogram_of(codes, scale=0.01))[0, 2]
    least = 2 ** (0.8 - 8)  # FSR is 0.52 + 0.28
    reals = [-0.25, -0.0625, least, 2**-7, 0.5]
    assert table[codes].tolist() == [128 + round(real / 0.01) for real in reals]
    assert math.log2(0.28) < -1
