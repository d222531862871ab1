"""Fixed-point arithmetic by hand and against real numbers; bit for bit, the kernels' tests show it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.firmware.arithmetic import (
    divided,
    high_product,
    input_radius,
    inverse_root,
    logistic,
    multiplier_of,
    round_half_away,
    scaled,
    wrapped,
)

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@pytest.mark.parametrize(
    ("real", "expected"),
    [(0.0, (0, 0)), (1.0, (1 << 30, 1)), (0.5, (1 << 30, 0)), (0.75, (3 << 29, 0)), (2.0**-40, (0, 0))],
)
def test_multipliers_by_hand(real: float, expected: tuple[int, int]) -> None:
    assert multiplier_of(real) == expected


def test_a_multiplier_just_below_a_power_of_two() -> None:
    assert multiplier_of(math.nextafter(1.0, 0.0)) == (1 << 30, 1)


@given(st.floats(1e-6, 1e6))
def test_multipliers_have_31_bits(real: float) -> None:
    multiplier, shift = multiplier_of(real)
    assert 1 << 30 <= multiplier < 1 << 31
    assert math.isclose(multiplier * 2.0 ** (shift - 31), real, rel_tol=2**-30)


@pytest.mark.parametrize(
    ("value", "right", "expected"), [(5, 1, 3), (-5, 1, -3), (6, 2, 2), (-6, 2, -2), (-5, 2, -1), (7, 0, 7)]
)
def test_halves_go_away_from_zero(value: int, right: int, expected: int) -> None:
    assert divided(value, right) == expected


@given(st.integers(-(1 << 24), 1 << 24), st.floats(1e-5, 0.9))
def test_scaled_is_near_the_real_product(value: int, real: float) -> None:
    assert abs(scaled(value, *multiplier_of(real)) - value * real) <= 0.75 + abs(value) * 2**-29  # two roundings


@given(st.integers(2, (1 << 31) - 1))
def test_inverse_roots_are_near_the_real_ones(value: int) -> None:
    mantissa, shift = inverse_root(value)
    assert math.isclose(mantissa * 2.0 ** (shift - 31), value**-0.5, rel_tol=2**-15)


def test_products_and_wraps() -> None:
    assert high_product(1 << 30, 1 << 30) == 1 << 29
    assert high_product(-1, 1 << 30) == 0  # a half goes up
    assert high_product(-(1 << 31), -(1 << 31)) == (1 << 31) - 1
    assert wrapped((1 << 31) + 5) == -(1 << 31) + 5
    assert [round_half_away(v) for v in (0.5, -0.5, 1.4, -1.6)] == [1, -1, 1, -2]
    assert input_radius(5, 26) == 31


@given(st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_logistic(value: int) -> None:
    """With 27 bits behind the point."""
    assert math.isclose(logistic(value) / (1 << 31), 1 / (1 + math.exp(-value / (1 << 27))), abs_tol=1e-6)
