"""TensorFlow Lite's fixed-point arithmetic, for what is worked out before the network runs: the same integers that its
kernels work out when they are prepared. Numbers are Python's; what the kernels keep in int32 stays in its range."""

import math

import numpy as np

_INT32 = np.iinfo(np.int32)
_ONE = 1 << 31
_EXP_OF_EIGHTH, _THIRD = 1895147668, 715827883  # exp(-1/8) and 1/3 in Q0, with all bits behind the point
_HALF_ROOT_OF_TWO = 1518500250  # in Q0
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401)  # exp(-2^i) for i from -2 on, in Q0


def multiplier_of(real: float) -> tuple[int, int]:
    """A real multiplier, 0 or more, as `(multiplier, shift)`: `multiplier * 2**(shift - 31)`."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * _ONE)
    if multiplier == _ONE:
        multiplier, shift = multiplier // 2, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def round_half_away(value: float) -> int:
    """The nearest integer, halves away from zero, as C's `round`."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def scaled(value: int, multiplier: int, shift: int) -> int:
    """`value * multiplier * 2**(shift - 31)`, rounded twice, as `bq_scaled`."""
    left = max(shift, 0)
    return divided(high_product(wrapped(value << left), multiplier), left - shift)


def high_product(a: int, b: int) -> int:
    """`2 * a * b / 2**32`, halves rounded up."""
    return min((a * b + (1 << 30)) >> 31, _INT32.max)


def divided(value: int, right: int) -> int:
    """`value / 2**right`, halves rounded away from zero."""
    mask = (1 << right) - 1
    return (value >> right) + int((value & mask) > (mask >> 1) + (value < 0))


def wrapped(value: int) -> int:
    """What int32 makes of a number that it cannot hold."""
    return (value - _INT32.min) % (1 << 32) + _INT32.min


def input_radius(integer_bits: int, left_shift: int) -> int:
    """The largest input difference whose rescaled value still has so many integer bits."""
    return math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / (1 << left_shift))


def logistic(value: int) -> int:
    """`1 / (1 + exp(-x))` in Q0, for x with 4 integer bits: gemmlowp's."""
    if value == 0:
        return 1 << 30
    positive = _reciprocal(_exp_on_negative(-abs(value)))
    return positive if value > 0 else int(_INT32.max) - positive


def inverse_root(value: int) -> tuple[int, int]:
    """`1 / sqrt(x)` of an integer from 1 up to 2^31 - 1, as `multiplier_of`: Newton's method, as TensorFlow Lite."""
    if value <= 1:
        return int(_INT32.max), 0
    right = 11
    while value >= 1 << 29:
        value, right = value // 4, right + 1
    pairs = (32 - value.bit_length() - 1) // 2 - 1
    right, value = right - pairs, value << 2 * pairs
    half, root = divided(value >> 1, 1), 1 << 28  # 3 integer bits, as 1.5 and all that follows
    for _ in range(5):
        cube = _saturated(high_product(high_product(root, root), root), 6)
        root = _saturated(high_product((1 << 28) + (1 << 27), root) - high_product(half, cube), 3)
    mantissa = high_product(root, _HALF_ROOT_OF_TWO)
    return mantissa << max(-right, 0), -max(right, 0)


def _saturated(value: int, left: int) -> int:
    limit = (1 << (31 - left)) - 1
    return int(_INT32.max) if value > limit else int(_INT32.min) if value < -limit else value << left


def _exp_of_quarter(value: int) -> int:
    around = value + (1 << 28)
    square = high_product(around, around)
    cube, fourth = high_product(square, around), divided(high_product(square, square), 2)
    rest = divided(high_product(fourth + cube, _THIRD) + square, 1)
    return _EXP_OF_EIGHTH + high_product(_EXP_OF_EIGHTH, around + rest)


def _exp_on_negative(value: int) -> int:
    """`exp(x)` in Q0, for x up to 0 with 4 integer bits."""
    quarter = 1 << 25
    part = (value & (quarter - 1)) - quarter
    rest, power = part - value, _exp_of_quarter(_saturated(part, 4))
    for bit, factor in enumerate(_POWERS):
        if rest >> (25 + bit) & 1:
            power = high_product(power, factor)
    return int(_INT32.max) if value == 0 else power


def _reciprocal(value: int) -> int:
    """`1 / (1 + x)` in Q0, for x in Q0 from 0 to 1."""
    half = (value + _ONE) // 2
    found = 1515870810 + high_product(half, -1010580540)
    for _ in range(3):
        found += _saturated(high_product(found, (1 << 29) - high_product(half, found)), 2)
    return _saturated(found, 1)
