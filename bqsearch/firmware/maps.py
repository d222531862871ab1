"""Operators that map each code by itself, as tables of 256 codes."""

from collections.abc import Callable, Mapping

import numpy as np

from bqsearch.errors import UnsupportedError
from bqsearch.firmware.arithmetic import (
    divided,
    input_radius,
    inverse_root,
    logistic,
    multiplier_of,
    round_half_away,
    scaled,
)
from bqsearch.firmware.quantized import code_range, quantized, scale_of, zero_of
from bqsearch.graph.ir import Tensor
from bqsearch.types import Bytes

_Rule = Callable[[int], int]
_KEPT = 20  # bits behind the point that an inverse root keeps until it is scaled


def table_of(code: str, source: Tensor, output: Tensor) -> Bytes:
    """The result of each code, `(256,)` raw bytes by the code's byte.

    Raises:
        UnsupportedError: The operator cannot have such a table.
    """
    if source.dtype != output.dtype or source.dtype not in ("int8", "uint8"):
        raise UnsupportedError(f"{code} turns {source.dtype} into {output.dtype}: the C runtime keeps 8-bit types")
    rule = _RULES[code](source, output)
    low, high = code_range(output)
    codes = np.arange(256, dtype=np.uint8).view(source.dtype)
    return np.array([min(max(rule(int(c)), low), high) for c in codes]).astype(output.dtype).view(np.uint8)


def rescaled(source: Tensor, output: Tensor) -> Bytes | None:
    """What concatenation makes of a uint8 input's codes, in TensorFlow Lite's float arithmetic; None for no change."""
    if (scale_of(source), zero_of(source)) == (scale_of(output), zero_of(output)):
        return None
    scale = np.float32(scale_of(source)) * (np.float32(1.0) / np.float32(scale_of(output)))
    offset = np.float32(-zero_of(source)) * scale
    codes = np.arange(256).astype(np.float32) * scale + offset
    return np.clip([round_half_away(float(c)) + zero_of(output) for c in codes], 0, 255).astype(np.uint8)


def _quantize(source: Tensor, output: Tensor) -> _Rule:
    multiplier, shift = multiplier_of(scale_of(source) / scale_of(output))
    return lambda code: scaled(code - zero_of(source), multiplier, shift) + zero_of(output)


def _relu(source: Tensor, output: Tensor) -> _Rule:
    rule, least = _quantize(source, output), quantized(0.0, output)
    return lambda code: max(rule(code), least)


def _relu6(source: Tensor, output: Tensor) -> _Rule:
    if source.dtype == "uint8":
        rule, least, most = _quantize(source, output), quantized(0.0, output), quantized(6.0, output)
        return lambda code: min(max(rule(code), least), most)
    zero, six = zero_of(source), quantized(6.0, source)
    return lambda code: min(max(code, zero), six)


def _logistic(source: Tensor, output: Tensor) -> _Rule:
    zero = zero_of(source)
    if source.dtype == "uint8":
        inverse = np.float32(1.0) / np.float32(scale_of(output))

        def by_float(code: int) -> int:
            real = np.float32(scale_of(source)) * np.float32(code - zero)
            share = np.float32(1.0) / (np.float32(1.0) + np.exp(-real))
            return round_half_away(float(share * inverse)) + zero_of(output)

        return by_float
    multiplier, left = multiplier_of(scale_of(source) * (1 << 27))
    radius = input_radius(4, left)

    def by_fixed_point(code: int) -> int:
        if abs(code - zero) >= radius:
            return -128 if code < zero else 127
        return divided(logistic(scaled(code - zero, multiplier, left)), 23) - 128

    return by_fixed_point


def _rsqrt(source: Tensor, output: Tensor) -> _Rule:
    if source.dtype != "int8" or zero_of(source) != -128:
        raise UnsupportedError("the C runtime has RSQRT of int8 codes that stand for 0 and more only")
    divisor = np.sqrt(np.float32(scale_of(source))) * np.float32(scale_of(output))
    multiplier, shift = multiplier_of(1.0 / float(divisor))

    def by_fixed_point(code: int) -> int:
        value = code - zero_of(source)
        if value == 0:
            return 127
        mantissa, left = inverse_root(value)
        return scaled(scaled(1, mantissa, left + _KEPT), multiplier, shift - _KEPT) + zero_of(output)

    return by_fixed_point


_RULES: Mapping[str, Callable[[Tensor, Tensor], _Rule]] = {
    "LOGISTIC": _logistic,
    "QUANTIZE": _quantize,
    "RELU": _relu,
    "RELU6": _relu6,
    "RSQRT": _rsqrt,
}
MAPPED = tuple(_RULES)
