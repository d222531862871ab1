"""What each operator is: the supported set, its multiply-accumulates, and the layers that hold weights."""

import re
from dataclasses import dataclass
from math import prod

from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.types import Shape


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the cost model and the compressor need to know of an operator.

    Attributes:
        work: Which per-unit cost applies: `"conv"`, `"depthwise"`, `"dense"` (multiply-accumulates),
            `"element"` (elements read) or `"free"` (no work: the output is the input, seen differently).
        weights: Position of the weights among the inputs, None if the operator has none.
        bias: Position of the bias among the inputs.
        channel_axis: The weights' output-channel dimension.
    """

    work: str
    weights: int | None = None
    bias: int | None = None
    channel_axis: int = 0


_ELEMENT = Kind(work="element")
_FREE = Kind(work="free")

SUPPORTED: dict[str, Kind] = {
    "CONV_2D": Kind(work="conv", weights=1, bias=2),
    "DEPTHWISE_CONV_2D": Kind(work="depthwise", weights=1, bias=2, channel_axis=3),
    "FULLY_CONNECTED": Kind(work="dense", weights=1, bias=2),
    "ADD": _ELEMENT,
    "AVERAGE_POOL_2D": _ELEMENT,
    "CONCATENATION": _ELEMENT,
    "DEQUANTIZE": _ELEMENT,
    "HARD_SWISH": _ELEMENT,
    "LOGISTIC": _ELEMENT,
    "LOG_SOFTMAX": _ELEMENT,
    "MAX_POOL_2D": _ELEMENT,
    "MEAN": _ELEMENT,
    "MUL": _ELEMENT,
    "PAD": _ELEMENT,
    "QUANTIZE": _ELEMENT,
    "RELU": _ELEMENT,
    "RELU6": _ELEMENT,
    "RESHAPE": _FREE,
    "RSQRT": _ELEMENT,
    "SOFTMAX": _ELEMENT,
    "SQUEEZE": _FREE,
    "SUB": _ELEMENT,
    "TANH": _ELEMENT,
}


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
    return output.size * prod(weights.shape[1:])


def elements(graph: Graph, op: Op) -> int:
    """Activation elements that an operator reads; 0 for operators that do no work."""
    if SUPPORTED[op.code].work != "element":
        return 0
    return sum(tensor.size for tensor in activations(graph, op))


def activations(graph: Graph, op: Op) -> list[Tensor]:
    """The non-constant tensors that an operator reads."""
    return [graph.tensors[i] for i in op.inputs if i >= 0 and graph.tensors[i].data is None]


def _has_constant_weights(graph: Graph, op: Op) -> bool:
    position = SUPPORTED[op.code].weights
    return position is not None and graph.tensors[op.inputs[position]].data is not None


def _layer(graph: Graph, index: int, op: Op, name: str) -> Layer:
    kind = SUPPORTED[op.code]
    assert kind.weights is not None
    assert kind.bias is not None
    weights = op.inputs[kind.weights]
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
    parts = [_telling(graph.tensors[op.inputs[1]].name) for op in ops]
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
