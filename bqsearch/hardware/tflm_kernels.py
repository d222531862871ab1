"""What each of TensorFlow Lite Micro's kernels takes of the arena, for any size of pointer.

Structs are written as their fields, in order: `p` a pointer or `size_t`, `d` a double, `i` an int, float or enum, `h`
16 bits, `b` one byte. Fields are aligned naturally, as on x86-64, Armv7-M and RISC-V; where a compiler shortens enums,
as `-fshort-enums` does, structs are smaller and the figures an upper bound. The fields were read from tensorflow/
tflite-micro (`core/c/common.h`, `builtin_op_data.h`, `micro/kernels/*.h`), and every size was compared with what the
reference kernels of the wheel `tflite-micro` 0.dev20261023 ask for; runs of `i` stand for any fields of 4 bytes.
Optimized kernels (CMSIS-NN, Xtensa, ...) ask for scratch of their own, which is not here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

from bqsearch.graph.decode import DECODE
from bqsearch.graph.ir import Graph, Op, Tensor

Requests: TypeAlias = Callable[[Graph, Op, int], tuple[int, ...]]  # graph, operator, bytes of a pointer -> bytes each

_INT = 4  # bytes
_QUANTIZED = ("int8", "uint8", "int16")


def _none(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
    del graph, op, pointer
    return ()


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One kernel's requests.

    Attributes:
        params: Fields of the options that the interpreter parses from the file.
        data: Fields of what `Init` allocates.
        compressed: Fields at the end of `data` where the build defines `USE_TFLM_COMPRESSION`.
        prepared: Bytes of each lasting buffer that `Prepare` allocates.
        scratch: Bytes of each buffer that stands while the operator runs.
    """

    params: str = ""
    data: str = ""
    compressed: str = ""
    prepared: Requests = _none
    scratch: Requests = _none


@cache
def sizeof(fields: str, pointer: int) -> int:
    """Bytes of a struct."""
    offset = 0
    for field in fields:
        width = _width(field, pointer)
        offset = -(-offset // width) * width + width
    align = alignof(fields, pointer)
    return -(-offset // align) * align


@cache
def alignof(fields: str, pointer: int) -> int:
    """Alignment of a struct."""
    return max(_width(field, pointer) for field in fields)


def _width(field: str, pointer: int) -> int:
    return {"p": pointer, "d": 8, "i": 4, "h": 2, "b": 1}[field]


def kernel(code: str) -> Kernel:
    """The kernel of an operator; for one that is not in the table, the most that any in it takes, without scratch."""
    return _KERNELS.get(code, _UNKNOWN)


def int_array(count: int) -> int:
    """Bytes of a `TfLiteIntArray`: its length and its elements."""
    return _INT * (1 + count)


def _input(graph: Graph, op: Op, position: int) -> Tensor:
    return graph.tensors[op.inputs[position]]


def _multipliers(axis: int) -> Requests:
    """A multiplier and a shift for each output channel, in two buffers."""

    def requests(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
        del pointer
        return (_INT * _input(graph, op, 1).shape[axis],) * 2

    return requests


def _dense_multipliers(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
    quantization = _input(graph, op, 1).quantization
    per_channel = quantization is not None and quantization.per_channel and _input(graph, op, 0).dtype in _QUANTIZED
    return _multipliers(0)(graph, op, pointer) if per_channel else ()


def _dims(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
    """A copy of the output's shape."""
    del pointer
    return (int_array(len(graph.tensors[op.outputs[0]].shape)),)


def _where_quantized(fields: str) -> Requests:
    def requests(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
        return (sizeof(fields, pointer),) if _input(graph, op, 0).dtype in _QUANTIZED else ()

    return requests


_STATES = {  # by the first byte of the ancillary tensor: DecodeStateLut, ...Huffman, ...Prune
    0: "ppp" + "pppp" + "p" + "bbb",
    1: "ppp" + "ppp" + "bb",
    2: "ppp" + "pppp" + "pp" + "bb",
}


def decoders(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
    """`TFLM_DECODE`: an array of pointers, and a decoder for each output."""
    requests = [pointer * len(op.outputs)]
    for ancillary, output in zip(op.inputs[1::2], op.outputs, strict=True):
        data = graph.tensors[ancillary].data
        assert data is not None
        requests += decoder(int(data.reshape(-1)[0]), graph.tensors[output], pointer)
    return tuple(requests)


def decoder(kind: int, output: Tensor, pointer: int) -> tuple[int, ...]:
    """One decoder: its state, and for pruned tensors with scales for each channel a copy of their zero points.

    The copy is of int8 and made only where a zero point is not 0. A decoder of unknown type is taken for the largest.
    """
    state = sizeof(_STATES.get(kind, _STATES[2]), pointer)
    quantization = output.quantization
    if kind == 2 and output.dtype == "int8" and quantization is not None and quantization.per_channel:
        return (state, len(quantization.scales)) if quantization.zero_points.any() else (state,)
    return (state,)


def _reduce_scratch(sums: bool) -> Requests:
    """Sums of quantized elements where they are needed, an index into the input, and the axes."""

    def requests(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
        del pointer
        source, axes, output = _input(graph, op, 0), _input(graph, op, 1), graph.tensors[op.outputs[0]]
        totals = (_INT * output.size,) if sums and source.dtype in _QUANTIZED else ()
        return (*totals, _INT * len(source.shape), _INT * axes.size)

    return requests


def _accumulators(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
    del pointer
    width = {"int8": 4, "int16": 8}.get(_input(graph, op, 2).dtype, 0)
    return (width * graph.tensors[op.outputs[0]].size,) if width else ()


def _two_indices(graph: Graph, op: Op, pointer: int) -> tuple[int, ...]:
    del pointer
    return (_INT * len(graph.tensors[op.outputs[0]].shape),) * 2


_CONV = Kernel(params="i" * 7, data="i" * 9 + "pp" + "iii", compressed="ii", prepared=_multipliers(0))
_POOL = Kernel(params="i" * 10, data="i" * 8)
_SUM = Kernel(params="b", data="i" * 11, scratch=_reduce_scratch(sums=True))
_EXTREME = replace(_SUM, scratch=_reduce_scratch(sums=False))
_SHAPE = Kernel(params="i" * 9)
_COPIED_DIMS = Kernel(params="i", prepared=_dims)
_PAD = Kernel(data="i" * 14)
_SCALED = Kernel(data="d" + "i" * 5)  # a double scale, then a zero point and integer multipliers
_SIGMOID = Kernel(data="iiii")

_KERNELS: dict[str, Kernel] = {
    "ABS": Kernel(data="i" * 7),
    "ADD": Kernel(params="ib", data="i" * 15),
    "ARG_MAX": Kernel(params="i"),
    "ARG_MIN": Kernel(params="i"),
    "AVERAGE_POOL_2D": _POOL,
    "BATCH_TO_SPACE_ND": Kernel(),
    "CAST": Kernel(params="ii"),
    "CEIL": Kernel(),
    "CONCATENATION": Kernel(params="ii", data="b" + "pp" + "hii", compressed="i" * 10),
    "CONV_2D": _CONV,
    "COS": Kernel(),
    DECODE: Kernel(prepared=decoders),
    "DEPTH_TO_SPACE": _COPIED_DIMS,
    "DEPTHWISE_CONV_2D": replace(_CONV, prepared=_multipliers(3)),
    "DEQUANTIZE": _SCALED,
    "DIV": Kernel(params="i", data="i" * 7),
    "ELU": Kernel(data="b" * 256),
    "EXP": Kernel(),
    "EXPAND_DIMS": Kernel(),
    "FLOOR": Kernel(),
    "FULLY_CONNECTED": Kernel(
        params="ii" + "bb" + "i" + "ip", data="i" * 9 + "pp" + "b", compressed="ii", prepared=_dense_multipliers
    ),
    "GATHER": Kernel(params="ii", prepared=_dims),
    "HARD_SWISH": Kernel(data="hhhihi"),
    "L2_NORMALIZATION": Kernel(params="i", data="i"),
    "LEAKY_RELU": Kernel(params="i", data="i" * 6),
    "LOG": Kernel(),
    "LOGISTIC": _SIGMOID,
    "LOG_SOFTMAX": Kernel(prepared=_where_quantized("i" * 5 + "pp")),
    "MAXIMUM": Kernel(),
    "MAX_POOL_2D": _POOL,
    "MEAN": _SUM,
    "MINIMUM": Kernel(),
    "MIRROR_PAD": Kernel(params="i", data="i" * 5, scratch=_two_indices),
    "MUL": Kernel(params="i", data="i" * 9),
    "NEG": Kernel(),
    "PACK": Kernel(params="ii"),
    "PAD": _PAD,
    "PADV2": _PAD,
    "PRELU": Kernel(data="i" * 7),
    "QUANTIZE": _SCALED,
    "REDUCE_MAX": _EXTREME,
    "REDUCE_MIN": _EXTREME,
    "RELU": Kernel(data="i" * 7),
    "RELU6": Kernel(data="ii"),
    "RESHAPE": _SHAPE,
    "RESIZE_BILINEAR": Kernel(params="bb"),
    "RESIZE_NEAREST_NEIGHBOR": Kernel(params="bb"),
    "ROUND": Kernel(),
    "RSQRT": Kernel(data="i" * 7),
    "SIN": Kernel(),
    "SLICE": Kernel(),
    "SOFTMAX": Kernel(params="i", data="d" + "i" * 7 + "p" * 5),
    "SPACE_TO_BATCH_ND": Kernel(data="i"),
    "SPACE_TO_DEPTH": _COPIED_DIMS,
    "SPLIT": Kernel(params="i"),
    "SPLIT_V": Kernel(params="i"),
    "SQRT": Kernel(),
    "SQUARE": Kernel(),
    "SQUARED_DIFFERENCE": Kernel(data="i" * 28),
    "SQUEEZE": _SHAPE,
    "STRIDED_SLICE": Kernel(params="i" * 5 + "b", data="i" * 21),
    "SUB": Kernel(params="ib", data="i" * 13),
    "SUM": _SUM,
    "TANH": _SIGMOID,
    "TRANSPOSE": Kernel(),
    "TRANSPOSE_CONV": Kernel(
        params="i" * 5,
        data="bhhhhhhhh" + "i" * 11 + "pp",
        compressed="ii",
        prepared=_multipliers(0),
        scratch=_accumulators,
    ),
    "UNPACK": Kernel(params="ii"),
}
_UNKNOWN = Kernel(params="i" * 10, data="b" * 256)
