"""Quantization of activations, as TensorFlow Lite's kernels take it."""

import numpy as np

from bqsearch.errors import UnsupportedError
from bqsearch.firmware.arithmetic import round_half_away
from bqsearch.graph.ir import Op, Quantization, Tensor

_LINEAR, _RELU, _RELU_N1_TO_1, _RELU6 = 0, 1, 2, 3


def quantization_of(tensor: Tensor) -> Quantization:
    """An activation's quantization.

    Raises:
        UnsupportedError: It has none, or one for each channel, or is not of 8 bits.
    """
    found = tensor.quantization
    if found is None or found.per_channel or tensor.dtype not in ("int8", "uint8"):
        raise UnsupportedError(f"tensor {tensor.name!r} ({tensor.dtype}) is no 8-bit activation with one scale")
    return found


def scale_of(tensor: Tensor) -> float:
    """An activation's scale."""
    return float(quantization_of(tensor).scales[0])


def zero_of(tensor: Tensor) -> int:
    """An activation's zero point."""
    return int(quantization_of(tensor).zero_points[0])


def quantized(real: float, tensor: Tensor) -> int:
    """The code of a real value, beyond the type's range as it may be; the quotient is a float32 number."""
    return zero_of(tensor) + round_half_away(float(np.float32(real) / np.float32(scale_of(tensor))))


def code_range(tensor: Tensor) -> tuple[int, int]:
    """The type's lowest and highest code."""
    limits = np.iinfo(tensor.dtype)
    return int(limits.min), int(limits.max)


def activation_range(op: Op, output: Tensor) -> tuple[int, int]:
    """The lowest and highest code that an operator's fused activation lets through.

    Raises:
        UnsupportedError: An activation that the C runtime does not have.
    """
    low, high = code_range(output)
    activation = op.options.get("fusedActivationFunction", _LINEAR)
    if activation not in (_LINEAR, _RELU, _RELU_N1_TO_1, _RELU6):
        raise UnsupportedError(f"the C runtime has no fused activation {activation}")
    if activation in (_RELU, _RELU6):
        low = max(low, quantized(0.0, output))
    if activation == _RELU_N1_TO_1:
        low, high = max(low, quantized(-1.0, output)), min(high, quantized(1.0, output))
    if activation == _RELU6:
        high = min(high, quantized(6.0, output))
    return low, high
