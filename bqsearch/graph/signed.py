"""uint8 network -> int8 network, for runtimes that have no uint8 kernels.

Activations move by 128 and stay what they were. Weights become symmetric codes: where a channel's codes lie within 127
of their zero point they stay what they were too, else they are rounded again, to a scale of the channel's own (TFLite
8-bit quantization specification: weights int8, zero point 0, per axis).
"""

from dataclasses import replace

import numpy as np

from bqsearch.errors import UnsupportedError
from bqsearch.graph.ir import Graph, Quantization, Tensor
from bqsearch.graph.ops import Layer, layers, source
from bqsearch.types import Array

_SHIFT = 128
_MOST = 127  # of a symmetric code's magnitude


def is_unsigned(graph: Graph) -> bool:
    """Whether any layer computes in uint8."""
    return any(graph.tensors[layer.weights].dtype == "uint8" for layer in layers(graph))


def to_signed(graph: Graph) -> Graph:
    """The same network in int8.

    Raises:
        UnsupportedError: Two layers share weights or biases, or a layer's weights are not constant.
    """
    changes: dict[int, Tensor] = {}
    for layer in layers(graph):
        if layer.shared:
            raise UnsupportedError(
                f"layer {layer.name!r} shares its weights: the conversion to int8 cannot split them, "
                f"so choose a board with bqsearch's own runtime, as hifive1"
            )
        changes |= _signed_layer(graph, layer)
    for index, tensor in enumerate(graph.tensors):
        if tensor.dtype == "uint8" and index not in changes:
            changes[index] = _shifted(tensor)
    return graph.with_tensors(changes)


def _shifted(tensor: Tensor) -> Tensor:
    """Every code less 128, and its zero point too."""
    quantization = tensor.quantization
    if quantization is not None:
        quantization = replace(quantization, zero_points=quantization.zero_points - _SHIFT)
    data = None if tensor.data is None else (tensor.data ^ np.uint8(_SHIFT)).view(np.int8)
    return replace(tensor, dtype="int8", quantization=quantization, data=data)


def _signed_layer(graph: Graph, layer: Layer) -> dict[int, Tensor]:
    weights = graph.tensors[layer.weights]
    if weights.dtype != "uint8":
        return {}
    assert weights.data is not None
    assert weights.quantization is not None
    steps = weights.data.astype(np.int64) - int(weights.quantization.zero_points[0])
    ratio = _ratios(steps, layer)
    codes = np.rint(steps / _along(ratio, layer)).astype(np.int8)
    scales = (float(weights.quantization.scales[0]) * ratio).astype(np.float32)
    quantization = Quantization(scales=scales, zero_points=np.zeros(len(scales), np.int64), axis=layer.channel_axis)
    changes = {layer.weights: replace(weights, dtype="int8", data=codes, quantization=quantization)}
    if layer.bias is not None:
        changes[layer.bias] = _rescaled_bias(graph, layer, scales, ratio)
    return changes


def _ratios(steps: Array, layer: Layer) -> Array:
    """New scale over old, by channel: 1 where the codes fit as they are."""
    others = tuple(a for a in range(steps.ndim) if a != layer.channel_axis)
    return np.maximum(np.abs(steps).max(axis=others) / _MOST, 1.0)


def _along(ratio: Array, layer: Layer) -> Array:
    shape = [1] * len(layer.shape)
    shape[layer.channel_axis] = len(ratio)
    return ratio.reshape(shape)


def _rescaled_bias(graph: Graph, layer: Layer, scales: Array, ratio: Array) -> Tensor:
    """The bias in units of the input's scale times the weights' new ones."""
    assert layer.bias is not None
    bias, op = graph.tensors[layer.bias], graph.ops[layer.op]
    inputs = graph.tensors[source(op)].quantization
    assert bias.data is not None
    assert inputs is not None
    quantization = Quantization(scales=inputs.scales[0] * scales, zero_points=np.zeros(len(scales), np.int64), axis=0)
    return replace(bias, data=np.rint(bias.data / ratio).astype(np.int32), quantization=quantization)
