"""What each operator is: the supported set, its multiply-accumulates, and the layers that hold weights."""

import re
from dataclasses import dataclass, replace
from math import prod

from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.types import Shape


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the others need to know of an operator.

    Attributes:
        work: Which per-unit cost applies: `"conv"`, `"depthwise"`, `"dense"` (multiply-accumulates),
            `"element"` (elements read) or `"free"` (no work: the output is the input, seen differently).
        inputs: How many inputs it has at least.
        data: Position among the inputs of the activation that it works on.
        weights: Position of the weights among the inputs, None if the operator has none.
        bias: Position of the bias among the inputs.
        channel_axis: The weights' output-channel dimension.
        options: Name of its options table, `"Conv2DOptions"`; empty if it has none.
        needs_options: Whether the file must hold that table: its defaults would not do.
        opaque: Whether it is only carried along: nobody looks into its options, and its output's shape is believed.
    """

    work: str
    inputs: int = 1
    data: int = 0
    weights: int | None = None
    bias: int | None = None
    channel_axis: int = 0
    options: str = ""
    needs_options: bool = False
    opaque: bool = False


def _element(options: str = "", inputs: int = 1, needs_options: bool = False, data: int = 0) -> Kind:
    return Kind(work="element", inputs=inputs, data=data, options=options, needs_options=needs_options)


def _opaque(options: str = "", inputs: int = 1) -> Kind:
    return Kind(work="element", inputs=inputs, options=options, opaque=True)


_CONVOLUTION = Kind(work="conv", inputs=2, weights=1, bias=2, options="Conv2DOptions", needs_options=True)

_SHAPED: dict[str, Kind] = {
    "CONV_2D": _CONVOLUTION,
    "DEPTHWISE_CONV_2D": replace(_CONVOLUTION, work="depthwise", channel_axis=3, options="DepthwiseConv2DOptions"),
    "TRANSPOSE_CONV": replace(_CONVOLUTION, inputs=3, data=2, bias=3, options="TransposeConvOptions"),
    "FULLY_CONNECTED": Kind(work="dense", inputs=2, weights=1, bias=2, options="FullyConnectedOptions"),
    "ADD": _element("AddOptions", 2),
    "AVERAGE_POOL_2D": _element("Pool2DOptions", needs_options=True),
    "CONCATENATION": _element("ConcatenationOptions", needs_options=True),
    "DEQUANTIZE": _element("DequantizeOptions"),
    "HARD_SWISH": _element("HardSwishOptions"),
    "LEAKY_RELU": _element("LeakyReluOptions"),
    "LOGISTIC": _element(),
    "LOG_SOFTMAX": _element("LogSoftmaxOptions"),
    "MAX_POOL_2D": _element("Pool2DOptions", needs_options=True),
    "MEAN": _element("ReducerOptions", 2),
    "MUL": _element("MulOptions", 2),
    "PAD": _element("PadOptions", 2),
    "PRELU": _element(inputs=2),
    "QUANTIZE": _element("QuantizeOptions"),
    "RELU": _element(),
    "RELU6": _element(),
    "RESHAPE": Kind(work="free", options="ReshapeOptions"),
    "RESIZE_BILINEAR": _element("ResizeBilinearOptions", 2),
    "RESIZE_NEAREST_NEIGHBOR": _element("ResizeNearestNeighborOptions", 2),
    "RSQRT": _element(),
    "SOFTMAX": _element("SoftmaxOptions"),
    "SPLIT": _element("SplitOptions", 2, needs_options=True, data=1),
    "SQUEEZE": Kind(work="free", options="SqueezeOptions", needs_options=True),
    "STRIDED_SLICE": _element("StridedSliceOptions", 4, needs_options=True),
    "SUB": _element("SubOptions", 2),
    "TANH": _element(),
}

# Carried along untouched. Each is a pure function of its inputs, with options that are numbers: no state, control flow,
# subgraphs, strings, resources or randomness, no weights that compression would be asked for (as BATCH_MATMUL's), and
# no shape that depends on values (as WHERE's).
_CARRIED: dict[str, Kind] = {
    "ABS": _opaque("AbsOptions"),
    "ARG_MAX": _opaque("ArgMaxOptions", 2),
    "ARG_MIN": _opaque("ArgMinOptions", 2),
    "BATCH_TO_SPACE_ND": _opaque("BatchToSpaceNDOptions", 3),
    "CAST": _opaque("CastOptions"),
    "CEIL": _opaque(),
    "COS": _opaque("CosOptions"),
    "DEPTH_TO_SPACE": _opaque("DepthToSpaceOptions"),
    "DIV": _opaque("DivOptions", 2),
    "ELU": _opaque(),
    "EXP": _opaque("ExpOptions"),
    "EXPAND_DIMS": _opaque("ExpandDimsOptions", 2),
    "FLOOR": _opaque(),
    "FLOOR_DIV": _opaque("FloorDivOptions", 2),
    "GATHER": _opaque("GatherOptions", 2),
    "GELU": _opaque("GeluOptions"),
    "L2_NORMALIZATION": _opaque("L2NormOptions"),
    "LOCAL_RESPONSE_NORMALIZATION": _opaque("LocalResponseNormalizationOptions"),
    "LOG": _opaque(),
    "MAXIMUM": _opaque("MaximumMinimumOptions", 2),
    "MINIMUM": _opaque("MaximumMinimumOptions", 2),
    "MIRROR_PAD": _opaque("MirrorPadOptions", 2),
    "NEG": _opaque("NegOptions"),
    "PACK": _opaque("PackOptions"),
    "PADV2": _opaque("PadV2Options", 3),
    "POW": _opaque("PowOptions", 2),
    "REDUCE_MAX": _opaque("ReducerOptions", 2),
    "REDUCE_MIN": _opaque("ReducerOptions", 2),
    "REDUCE_PROD": _opaque("ReducerOptions", 2),
    "RELU_0_TO_1": _opaque(),
    "RELU_N1_TO_1": _opaque(),
    "REVERSE_V2": _opaque("ReverseV2Options", 2),
    "ROUND": _opaque(),
    "SIN": _opaque(),
    "SLICE": _opaque("SliceOptions", 3),
    "SPACE_TO_BATCH_ND": _opaque("SpaceToBatchNDOptions", 3),
    "SPACE_TO_DEPTH": _opaque("SpaceToDepthOptions"),
    "SPLIT_V": _opaque("SplitVOptions", 3),
    "SQRT": _opaque(),
    "SQUARE": _opaque("SquareOptions"),
    "SQUARED_DIFFERENCE": _opaque("SquaredDifferenceOptions", 2),
    "SUM": _opaque("ReducerOptions", 2),
    "TILE": _opaque("TileOptions", 2),
    "TRANSPOSE": _opaque("TransposeOptions", 2),
    "UNPACK": _opaque("UnpackOptions"),
}

SUPPORTED: dict[str, Kind] = _SHAPED | _CARRIED


def source(op: Op) -> int:
    """Tensor index of the activation that an operator works on."""
    return op.inputs[SUPPORTED[op.code].data]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator with constant weights.

    Attributes:
        name: Unique, short, taken from the file's names.
        op: Index of the operator.
        operator: Its code, `"CONV_2D"`.
        weights: Tensor index of the weights.
        bias: Tensor index of the constant bias, None if there is none.
        channel_axis: The weights' output-channel dimension.
        shape: Of the weights.
        shared: Whether other operators read the same weights, or the bias.
    """

    name: str
    op: int
    operator: str
    weights: int
    bias: int | None
    channel_axis: int
    shape: Shape
    shared: bool

    @property
    def size(self) -> int:
        """Number of weights."""
        return prod(self.shape)

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.shape[self.channel_axis]


def layers(graph: Graph) -> tuple[Layer, ...]:
    """The operators whose weights are constants, in execution order."""
    found = [(i, op) for i, op in enumerate(graph.ops) if _has_constant_weights(graph, op)]
    names = _unique(_short_names(graph, [op for _, op in found]))
    return tuple(_layer(graph, index, op, name) for (index, op), name in zip(found, names, strict=True))


def macs(graph: Graph, op: Op) -> int:
    """Multiply-accumulates of one operator for one input; 0 for operators without weights."""
    kind = SUPPORTED[op.code]
    if kind.weights is None:
        return 0
    weights = graph.tensors[op.inputs[kind.weights]]
    output = graph.tensors[op.outputs[0]]
    if kind.work == "depthwise":
        return output.size * prod(weights.shape[1:3])
    if op.code == "TRANSPOSE_CONV":  # each input element is spread over the filter, for each output channel
        return graph.tensors[source(op)].size * prod(weights.shape[:3])
    return output.size * prod(weights.shape[1:])


def elements(graph: Graph, op: Op) -> int:
    """Activation elements that an operator reads; 0 for operators that do no work."""
    if SUPPORTED[op.code].work != "element":
        return 0
    return sum(tensor.size for tensor in activations(graph, op))


def activations(graph: Graph, op: Op) -> list[Tensor]:
    """The non-constant tensors that an operator reads."""
    return [graph.tensors[i] for i in op.inputs if i >= 0 and graph.tensors[i].data is None]


def operator_names(graph: Graph) -> tuple[str, ...]:
    """Each operator's name for people: its layer's, or its code and index."""
    named = {layer.op: layer.name for layer in layers(graph)}
    return tuple(named.get(i, f"{op.code.lower()} (operator {i})") for i, op in enumerate(graph.ops))


def _has_constant_weights(graph: Graph, op: Op) -> bool:
    return SUPPORTED[op.code].weights is not None and graph.tensors[_weights(op)].data is not None


def _weights(op: Op) -> int:
    position = SUPPORTED[op.code].weights
    assert position is not None
    return op.inputs[position]


def _layer(graph: Graph, index: int, op: Op, name: str) -> Layer:
    kind, weights = SUPPORTED[op.code], _weights(op)
    assert kind.bias is not None
    bias = op.inputs[kind.bias] if len(op.inputs) > kind.bias and op.inputs[kind.bias] >= 0 else None
    if bias is not None and graph.tensors[bias].data is None:
        bias = None
    readers = graph.consumers[weights] + (graph.consumers[bias] if bias is not None else ())
    return Layer(
        name=name,
        op=index,
        operator=op.code,
        weights=weights,
        bias=bias,
        channel_axis=kind.channel_axis,
        shape=graph.tensors[weights].shape,
        shared=set(readers) != {index},
    )


_NOISE = frozenset(
    [
        "act_quant",
        "batchnorm",
        "biasadd",
        "conv2d",
        "convolution",
        "fakequantwithminmaxvars",
        "fusedbatchnormv3",
        "kernel",
        "matmul",
        "mul",
        "mul_1",
        "readvariableop",
        "relu",
        "relu6",
        "transpose",
        "weights",
        "weights_quant",
        "read",
    ]
)


def _short_names(graph: Graph, ops: list[Op]) -> list[str]:
    """The telling parts of each weights' name, less what all names begin with, fit for files and MLflow keys."""
    parts = [_telling(graph.tensors[_weights(op)].name) for op in ops]
    while len({p[0] for p in parts if p}) == 1 and any(len(p) > 1 for p in parts):
        parts = [p[1:] or p[:1] for p in parts]
        if min(len(p) for p in parts) == 1:
            break
    joined = ["_".join(p[-2:]) for p in parts]
    return [re.sub(r"[^A-Za-z0-9_.]+", "_", j).strip("_") or op.code.lower() for j, op in zip(joined, ops, strict=True)]


def _telling(name: str) -> list[str]:
    return [part for part in name.split(";")[0].split("/") if part and part.lower() not in _NOISE]


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) == len(names):
        return names
    width = len(str(len(names) - 1))
    return [f"{i:0{width}d}_{name}" for i, name in enumerate(names)]
