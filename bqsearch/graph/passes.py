"""Graph -> Graph rewrites. Each keeps what the network computes, or says what it changes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import UnsupportedError
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import source
from bqsearch.types import Shape


def fuse_padding(graph: Graph) -> Graph:
    """Fold a PAD into the VALID convolution behind it where the pair is a SAME convolution.

    Keras writes stride-2 blocks so; unfused, the padded copy would set the RAM peak. Results stay the same:
    both pad with the code that stands for zero.
    """
    for index, op in enumerate(graph.ops):
        if op.code == "PAD" and _is_same_padding(graph, op):
            (reader,) = graph.consumers[op.outputs[0]]
            conv = graph.ops[reader]
            fused = replace(
                conv,
                inputs=(op.inputs[0], *conv.inputs[1:]),
                options={**conv.options, "padding": schema.Padding.SAME},
            )
            ops = tuple(fused if i == reader else o for i, o in enumerate(graph.ops) if i != index)
            return fuse_padding(prune(replace(graph, ops=ops)))
    return graph


def fold_float16(graph: Graph) -> Graph:
    """Turn constants that a DEQUANTIZE widens from float16 into float32 constants."""
    changes: dict[int, Tensor] = {}
    folded = set()
    for index, op in enumerate(graph.ops):
        narrow = graph.tensors[op.inputs[0]]
        if op.code == "DEQUANTIZE" and narrow.data is not None and narrow.dtype == "float16":
            widened = graph.tensors[op.outputs[0]]
            changes[op.outputs[0]] = replace(widened, data=narrow.data.astype(np.float32), dtype="float32")
            folded.add(index)
    if not folded:
        return graph
    ops = tuple(op for index, op in enumerate(graph.ops) if index not in folded)
    return prune(replace(graph.with_tensors(changes), ops=ops))


def integer_io(graph: Graph) -> Graph:
    """Drop a QUANTIZE of the input and a DEQUANTIZE of the output: integers go in and come out.

    The caller quantizes with the new input tensor's scale and zero point, as a board does. A SOFTMAX or LOG_SOFTMAX in
    floats behind a DEQUANTIZE goes too, and is the caller's: it puts no class before another.
    """
    graph = _without_float_softmax(graph)
    first, last = graph.ops[0], graph.ops[-1]
    alone = first.inputs == graph.inputs and graph.consumers.get(graph.inputs[0]) == (0,)
    if first.code == "QUANTIZE" and alone and _keeps_values(graph, first):
        graph = replace(graph, ops=graph.ops[1:], inputs=first.outputs)
    if last.code == "DEQUANTIZE" and last.outputs == graph.outputs:
        graph = replace(graph, ops=graph.ops[:-1], outputs=last.inputs)
    return prune(graph)


def _without_float_softmax(graph: Graph) -> Graph:
    cut = logits(graph)
    producer = cut.producers.get(cut.outputs[0])
    return cut if producer is not None and cut.ops[producer].code == "DEQUANTIZE" else graph


def _keeps_values(graph: Graph, op: Op) -> bool:
    """Whether a QUANTIZE reads real values, or only moves uint8 codes to int8 ones or back."""
    before, after = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if before.dtype == "float32":
        return True
    if before.quantization is None or after.quantization is None or {before.dtype, after.dtype} != {"int8", "uint8"}:
        return False
    moved = int(before.quantization.zero_points[0]) - int(after.quantization.zero_points[0])
    return bool(before.quantization.scales[0] == after.quantization.scales[0]) and abs(moved) == 128


def logits(graph: Graph) -> Graph:
    """Drop a final SOFTMAX or LOG_SOFTMAX: the output is what it read. Tensors keep their indices."""
    last = graph.ops[-1]
    if last.code not in ("SOFTMAX", "LOG_SOFTMAX") or last.outputs != graph.outputs or len(graph.ops) == 1:
        return graph
    return replace(graph, ops=graph.ops[:-1], outputs=last.inputs)


def expose(graph: Graph, tensors: Iterable[int]) -> Graph:
    """Add activations to the outputs, so that any runtime hands them out."""
    extra = tuple(t for t in dict.fromkeys(tensors) if t not in graph.outputs and t not in graph.inputs)
    return replace(graph, outputs=graph.outputs + extra)


def upto(graph: Graph, tensor: int) -> Graph:
    """The part of a network that computes one activation, which is its only output; other outputs and operators go."""
    needed, kept = {tensor}, []
    for op in reversed(graph.ops):
        if needed & set(op.outputs):
            needed |= set(op.inputs)
            kept.append(op)
    return prune(replace(graph, ops=tuple(reversed(kept)), outputs=(tensor,)))


def with_batch(graph: Graph, batch: int) -> Graph:
    """The same network over `batch` inputs at a time: every activation's first dimension grows from 1.

    Raises:
        UnsupportedError: An activation's first dimension is not 1, or an operator mixes the inputs of a batch.
    """
    changes: dict[int, Tensor] = {}
    for index, tensor in enumerate(graph.tensors):
        if tensor.data is None and _is_used(graph, index):
            if not tensor.shape or tensor.shape[0] != 1:
                raise UnsupportedError(f"tensor {tensor.name!r} of shape {tensor.shape} has no batch dimension of 1")
            changes[index] = replace(tensor, shape=(batch, *tensor.shape[1:]))
    ops = tuple(_batched(graph, op, batch, changes) for op in graph.ops)
    return replace(graph.with_tensors(changes), ops=ops)


def prune(graph: Graph) -> Graph:
    """Drop the tensors that nothing names any more, and renumber the rest."""
    used = sorted({i for op in graph.ops for i in (*op.inputs, *op.outputs)} | {*graph.inputs, *graph.outputs} - {-1})
    used = [i for i in used if i >= 0]
    number = {old: new for new, old in enumerate(used)} | {-1: -1}
    return Graph(
        name=graph.name,
        tensors=tuple(graph.tensors[i] for i in used),
        ops=tuple(_renumbered(op, number) for op in graph.ops),
        inputs=tuple(number[i] for i in graph.inputs),
        outputs=tuple(number[i] for i in graph.outputs),
    )


def _renumbered(op: Op, number: Mapping[int, int]) -> Op:
    return replace(op, inputs=tuple(number[i] for i in op.inputs), outputs=tuple(number[i] for i in op.outputs))


def _is_used(graph: Graph, index: int) -> bool:
    return index in graph.producers or index in graph.consumers or index in graph.inputs


def _is_same_padding(graph: Graph, pad: Op) -> bool:
    """Whether `pad` feeds one VALID convolution which SAME padding would give the same margins."""
    readers = graph.consumers.get(pad.outputs[0], ())
    if len(readers) != 1 or pad.outputs[0] in graph.outputs:
        return False
    conv, margins = graph.ops[readers[0]], graph.tensors[pad.inputs[1]].data
    if conv.code not in ("CONV_2D", "DEPTHWISE_CONV_2D") or conv.options["padding"] != schema.Padding.VALID:
        return False
    if margins is None or graph.tensors[pad.inputs[0]].quantization is None:
        return False
    return margins.tolist() == _same_margins(graph.tensors[pad.inputs[0]].shape, conv, graph.tensors[conv.inputs[1]])


def _same_margins(shape: Shape, conv: Op, weights: Tensor) -> list[list[int]]:
    """TFLite's SAME padding of an NHWC input: the odd pixel goes behind."""
    margins = [[0, 0]]
    for axis, letter in ((1, "H"), (2, "W")):
        stride, dilation = conv.options[f"stride{letter}"], conv.options[f"dilation{letter}Factor"]
        reach = (weights.shape[axis] - 1) * dilation + 1
        outputs = -(-shape[axis] // stride)
        total = max((outputs - 1) * stride + reach - shape[axis], 0)
        margins.append([total // 2, total - total // 2])
    return [*margins, [0, 0]]


def _batched(graph: Graph, op: Op, batch: int, changes: dict[int, Tensor]) -> Op:
    """The operator over a batch; a constant that holds its output's shape goes into `changes`."""
    if not _keeps_batch(graph, op):
        raise UnsupportedError(f"{op.code} mixes the inputs of a batch")
    shape = (batch, *graph.tensors[op.outputs[0]].shape[1:])
    if op.code == "RESHAPE" and len(op.inputs) > 1 and op.inputs[1] >= 0:
        changes[op.inputs[1]] = _shape_constant(graph, op, 1, shape)
    if op.code == "TRANSPOSE_CONV":
        changes[op.inputs[0]] = _shape_constant(graph, op, 0, shape)
    if op.code == "RESHAPE" and "newShape" in op.options:
        return replace(op, options={**op.options, "newShape": shape})
    return op


def _shape_constant(graph: Graph, op: Op, position: int, shape: Shape) -> Tensor:
    constant = graph.tensors[op.inputs[position]]
    if constant.data is None or constant.size != len(shape) or len(graph.consumers[op.inputs[position]]) > 1:
        raise UnsupportedError(f"{op.code} to a computed or shared shape cannot be batched")
    return replace(constant, data=np.asarray(shape, constant.dtype).reshape(constant.shape))


def _keeps_batch(graph: Graph, op: Op) -> bool:
    """Whether each of a batch's inputs is treated on its own: the operator's rule says so."""
    rule = _BATCH_RULES.get(op.code)
    return rule is not None and rule(graph, op) and (op.code in _MANY_SOURCES or _reads_one_activation(graph, op))


def _reads_one_activation(graph: Graph, op: Op) -> bool:
    """Weights or axes that are computed would be others for each input."""
    return [i for i in op.inputs if i >= 0 and graph.tensors[i].data is None] == [source(op)]


def _always(graph: Graph, op: Op) -> bool:
    del graph, op
    return True


def _has_rows(graph: Graph, op: Op) -> bool:
    """What works along the last dimension must not find the batch there."""
    return len(graph.tensors[source(op)].shape) > 1


def _broadcasts(graph: Graph, op: Op) -> bool:
    """Activations have the output's rank, so that their batches meet; constants are the same for every input."""
    rank, inputs = len(graph.tensors[op.outputs[0]].shape), [graph.tensors[i] for i in op.inputs]
    activations, constants = [t for t in inputs if t.data is None], [t for t in inputs if t.data is not None]
    return (
        len(activations) > 0
        and all(len(t.shape) == rank for t in activations)
        and all(len(t.shape) < rank or t.shape[0] == 1 for t in constants)
    )


def _spares_axes(graph: Graph, op: Op) -> bool:
    axes, rank = graph.tensors[op.inputs[1]].data, len(graph.tensors[op.inputs[0]].shape)
    return axes is not None and all(int(a) % rank != 0 for a in axes.reshape(-1))


def _concatenates(graph: Graph, op: Op) -> bool:
    """A constant part would have to be there for each input."""
    activations = all(graph.tensors[i].data is None for i in op.inputs)
    return activations and bool(op.options["axis"] % len(graph.tensors[op.outputs[0]].shape) != 0)


def _squeezes(graph: Graph, op: Op) -> bool:
    squeezed, rank = op.options["squeezeDims"] or (), len(graph.tensors[op.inputs[0]].shape)
    return bool(squeezed) and all(a % rank != 0 for a in squeezed)


def _pads(graph: Graph, op: Op) -> bool:
    margins = graph.tensors[op.inputs[1]].data
    return margins is not None and not margins[0].any()


def _splits(graph: Graph, op: Op) -> bool:
    axis, rank = graph.tensors[op.inputs[0]].data, len(graph.tensors[op.inputs[1]].shape)
    return axis is not None and int(axis.reshape(-1)[0]) % rank != 0


def _slices(graph: Graph, op: Op) -> bool:
    """The first dimension is taken whole, by masks and not by bounds that would have to grow with the batch."""
    strides, options = graph.tensors[op.inputs[3]].data, op.options
    moved = options["ellipsisMask"] | options["newAxisMask"] | (options["shrinkAxisMask"] & 1)
    whole = options["beginMask"] & options["endMask"] & 1
    return strides is not None and bool(whole) and not moved and int(strides.reshape(-1)[0]) == 1


_ELEMENTWISE = (
    *("ABS", "CEIL", "COS", "DEQUANTIZE", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC"),
    *("NEG", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE"),
    "TANH",
)
_IMAGE_BY_IMAGE = (
    *("AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
    "TRANSPOSE_CONV",
)
_BROADCASTING = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "SQUARED_DIFFERENCE", "SUB")

_MANY_SOURCES = ("CONCATENATION", *_BROADCASTING)

_BATCH_RULES: dict[str, Callable[[Graph, Op], bool]] = {  # what is not here is not batched
    **dict.fromkeys((*_ELEMENTWISE, *_IMAGE_BY_IMAGE, "FULLY_CONNECTED", "RESHAPE"), _always),
    **dict.fromkeys(_BROADCASTING, _broadcasts),
    **dict.fromkeys(("LOG_SOFTMAX", "SOFTMAX"), _has_rows),
    "CONCATENATION": _concatenates,
    "MEAN": _spares_axes,
    "PAD": _pads,
    "SPLIT": _splits,
    "SQUEEZE": _squeezes,
    "STRIDED_SLICE": _slices,
}
