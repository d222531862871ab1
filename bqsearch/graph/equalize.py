"""Float network -> the same float network, its channels' ranges evened out, so that int8 loses less.

Cross-layer equalization (Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.1): what lies between two layers is often positively
homogeneous, f(s x) = s f(x) for s > 0, so a channel can leave the first layer divided by s and enter the second one
multiplied by it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import Layer, activations, layers, source
from bqsearch.types import Array, Floats, Ints

_SWEEPS = 20  # over all pairs; a layer in the middle of a chain is moved by both its neighbors
_SMALL = 1e-3  # a sweep whose factors are all within 0.1 % of 1 is the last one
_DEAD = 1e-6  # of the layer's largest range: weight decay leaves channels of 1e-30, whose biases would become huge
_IMAGE_AXES = (1, 2)  # height and width of NHWC
_INPUT_AXIS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1}  # input-channel dimension of the weights
_HOMOGENEOUS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)

_Rule: TypeAlias = Callable[[Graph, Op, Ints], Ints | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """Two layers with nothing but positively homogeneous operators between them.

    Attributes:
        first: The layer whose output channels are divided.
        second: The layer whose input channels are multiplied.
        channels: `(n,)` for each index along the second's weights' input dimension: the first's output channel there.
    """

    first: Layer
    second: Layer
    channels: Ints

    @property
    def constants(self) -> tuple[int, ...]:
        """Tensor indices of what the pair changes."""
        bias = () if self.first.bias is None else (self.first.bias,)
        return (self.first.weights, *bias, self.second.weights)


def equalize(graph: Graph) -> tuple[Graph, int]:
    """Even out the ranges of the channels between layers; what the network computes stays, up to float rounding.

    Takes a network of float32 constants, so after `passes.fold_float16`. Other layers are left alone: those with codes
    for weights, shared weights, several readers, an output that the caller sees, or another activation than RELU.

    Returns:
        The network, and how many pairs of layers were evened out; the very same network if there are none.
    """
    pairs = _pairs(graph)
    if not pairs:
        return graph, 0
    values = _values(graph, pairs)
    for _ in range(_SWEEPS):
        if max(_balance(pair, values) for pair in pairs) < _SMALL:
            break
    return graph.with_data({index: value.astype(np.float32) for index, value in values.items()}), len(pairs)


def _values(graph: Graph, pairs: Iterable[_Pair]) -> dict[int, Floats]:
    """A float64 copy of each constant that changes, so that many small steps round once."""
    found: dict[int, Floats] = {}
    for index in {index for pair in pairs for index in pair.constants}:
        data = graph.tensors[index].data
        assert data is not None
        found[index] = data.astype(np.float64)
    return found


def _balance(pair: _Pair, values: Mapping[int, Floats]) -> float:
    """Give both layers the same range in each channel, in place: the largest |ln s| that this took."""
    first, second = pair.first, pair.second
    axis = _INPUT_AXIS[second.operator]
    scales = _scales(
        _ranges(values[first.weights], first.channel_axis, np.arange(first.channels), first.channels),
        _ranges(values[second.weights], axis, pair.channels, first.channels),
    )
    values[first.weights][...] /= _along(scales, first.channel_axis, len(first.shape))
    if first.bias is not None:
        values[first.bias][...] /= scales
    values[second.weights][...] *= _along(scales[pair.channels], axis, len(second.shape))
    return float(np.abs(np.log(scales)).max())


def _ranges(weights: Floats, axis: int, channels: Ints, count: int) -> Floats:
    """`(count,)` largest magnitude by channel, where index i along `axis` belongs to channel `channels[i]`."""
    found = np.zeros(count)
    np.maximum.at(found, channels, np.abs(weights).max(axis=tuple(a for a in range(weights.ndim) if a != axis)))
    return found


def _scales(first: Floats, second: Floats) -> Floats:
    """s = sqrt(r1 / r2), so that both ranges become sqrt(r1 r2) (section 4.1); 1 where a channel is as good as dead."""
    used = (first > _DEAD * first.max()) & (second > _DEAD * second.max())
    scales = np.ones_like(first)
    scales[used] = np.sqrt(first[used] / second[used])
    return scales


def _along(values: Floats, axis: int, rank: int) -> Floats:
    """Values by channel, shaped to meet weights of some rank."""
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])


def _pairs(graph: Graph) -> list[_Pair]:
    known = {layer.op: layer for layer in layers(graph) if layer.operator in _INPUT_AXIS}
    found = (_pair(graph, layer, known) for layer in known.values())
    return [pair for pair in found if pair is not None]


def _pair(graph: Graph, first: Layer, known: Mapping[int, Layer]) -> _Pair | None:
    """The layer and the one that alone reads it, if every operator on the way keeps channels apart and scales."""
    if not _is_first(graph, first):
        return None
    tensor = graph.ops[first.op].outputs[0]
    channels: Ints | None = np.broadcast_to(np.arange(first.channels), graph.tensors[tensor].shape)
    while channels is not None and (reader := _only_reader(graph, tensor)) is not None:
        if reader in known:
            return _joined(graph, first, known[reader], channels)
        op = graph.ops[reader]
        channels = _follow(graph, op, channels)
        tensor = op.outputs[0]
    return None


def _joined(graph: Graph, first: Layer, second: Layer, channels: Ints) -> _Pair | None:
    """The pair, if the second's weights are its own and each of its input channels is one of the first's."""
    entering = _entering(second, channels)
    if entering is None or not _may_change(graph, second, (second.weights,)):
        return None
    return _Pair(first=first, second=second, channels=entering)


def _is_first(graph: Graph, layer: Layer) -> bool:
    """Whether the layer's output channels can be scaled: its own constants, and an activation that scales along."""
    op = graph.ops[layer.op]
    own = (layer.weights,) if layer.bias is None else (layer.weights, layer.bias)
    return _reads_constants(graph, op) and _scales_along(op) and _may_change(graph, layer, own)


def _may_change(graph: Graph, layer: Layer, constants: Iterable[int]) -> bool:
    """Whether these are finite real values that only this layer reads."""
    return all(
        _is_finite(graph.tensors[index])
        and graph.consumers[index] == (layer.op,)
        and index not in (*graph.inputs, *graph.outputs)
        for index in constants
    )


def _is_finite(constant: Tensor) -> bool:
    return constant.data is not None and constant.dtype == "float32" and bool(np.isfinite(constant.data).all())


def _scales_along(op: Op) -> bool:
    """Whether the fused activation, if any, is positively homogeneous."""
    return op.options.get("fusedActivationFunction", schema.ActivationFunctionType.NONE) in _HOMOGENEOUS


def _reads_constants(graph: Graph, op: Op) -> bool:
    """Whether all inputs but the one that it works on are constants."""
    return len(activations(graph, op)) == 1 and graph.tensors[source(op)].data is None


def _only_reader(graph: Graph, tensor: int) -> int | None:
    """Index of the operator that alone reads a float32 tensor, beside constants, None if the caller sees it too."""
    readers = graph.consumers.get(tensor, ())
    if len(readers) != 1 or tensor in graph.outputs or graph.tensors[tensor].dtype != "float32":
        return None
    return readers[0] if _reads_constants(graph, graph.ops[readers[0]]) else None


def _entering(layer: Layer, channels: Ints) -> Ints | None:
    """For each index along the weights' input dimension: which channel enters there, None if it is not always the same.

    Args:
        layer: Reads a tensor that `channels` describes.
        channels: Of the tensor's shape: which channel each element belongs to.
    """
    width = layer.shape[_INPUT_AXIS[layer.operator]]
    if layer.operator != "FULLY_CONNECTED" and channels.shape[-1:] != (width,):
        return _multiplied(channels, width) if layer.operator == "DEPTHWISE_CONV_2D" else None
    return _same_rows(channels, width)


def _multiplied(channels: Ints, width: int) -> Ints | None:
    """Of a depthwise convolution with a multiplier m: output channel o works on input channel o // m."""
    found = _same_rows(channels, channels.shape[-1])
    return None if found is None or width % len(found) else np.repeat(found, width // len(found))


def _same_rows(channels: Ints, width: int) -> Ints | None:
    """`(width,)` channels, if the elements taken row by row give the same ones over and over."""
    if channels.size % width:
        return None
    rows = channels.reshape(-1, width)
    return rows[0] if (rows == rows[0]).all() else None


def _follow(graph: Graph, op: Op, channels: Ints) -> Ints | None:
    """Which channel each element of an operator's output belongs to, None if that is not sure.

    Args:
        graph: The network.
        op: Reads a tensor that `channels` describes, beside constants only.
        channels: Of that tensor's shape: which channel each element belongs to.
    """
    rule = _RULES.get(op.code)
    return None if rule is None or not _scales_along(op) else rule(graph, op, channels)


def _elementwise(graph: Graph, op: Op, channels: Ints) -> Ints | None:
    return channels if _output(graph, op).shape == channels.shape else None


def _moved(graph: Graph, op: Op, channels: Ints) -> Ints | None:
    """The same elements in the same order."""
    output = _output(graph, op)
    return channels.reshape(output.shape) if output.size == channels.size else None


def _image(graph: Graph, op: Op, channels: Ints) -> Ints | None:
    """Pools and resizings work along height and width."""
    output = _output(graph, op)
    return _mixed(channels, _IMAGE_AXES, output) if channels.ndim == len(output.shape) == 4 else None


def _mean(graph: Graph, op: Op, channels: Ints) -> Ints | None:
    axes = {int(a) % channels.ndim for a in _constant(graph, op).reshape(-1)}
    return _mixed(channels, axes, _output(graph, op))


def _pad(graph: Graph, op: Op, channels: Ints) -> Ints | None:
    """Zeros belong to any channel."""
    axes = np.flatnonzero(_constant(graph, op).any(axis=1))
    return _mixed(channels, axes.tolist(), _output(graph, op))


def _mixed(channels: Ints, axes: Collection[int], output: Tensor) -> Ints | None:
    """What works along some axes keeps channels apart if none of them changes along these."""
    kept = channels
    for axis in axes:
        kept = kept.take([0], axis)
    if not (kept == channels).all():
        return None
    if len(output.shape) < kept.ndim:
        kept = kept.squeeze(tuple(axes))
    return np.broadcast_to(kept, output.shape)


def _output(graph: Graph, op: Op) -> Tensor:
    return graph.tensors[op.outputs[0]]


def _constant(graph: Graph, op: Op) -> Array:
    """The values of the second input."""
    data = graph.tensors[op.inputs[1]].data
    assert data is not None
    return data


_RULES: dict[str, _Rule] = {  # positively homogeneous, and each output element comes from one channel
    **dict.fromkeys(("LEAKY_RELU", "PRELU", "RELU"), _elementwise),
    **dict.fromkeys(("EXPAND_DIMS", "RESHAPE", "SQUEEZE"), _moved),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _image),
    "MEAN": _mean,
    "PAD": _pad,
}
