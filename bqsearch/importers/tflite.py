"""A .tflite flatbuffer -> Graph. The file is untrusted: everything is checked before it is believed."""

import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph.flatbuffer import BUILTIN_CODES, DTYPES, IDENTIFIER, OPTION_TYPES
from bqsearch.graph.ir import Graph, Op, Quantization, Tensor
from bqsearch.graph.ops import SUPPORTED
from bqsearch.types import Array, Shape

_CODE_NAMES = {code: name for name, code in BUILTIN_CODES.items()}
_DTYPE_NAMES = {code: name for name, code in DTYPES.items()}
_TYPE_NAMES = {code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
_OPTION_NAMES = {code: name for name, code in OPTION_TYPES.items()}
_MALFORMED = (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError, MemoryError)
MAX_ELEMENTS = 1 << 31


def load(path: Path) -> Graph:
    """Read a .tflite file.

    Raises:
        ModelError: The file cannot be read, is no .tflite, is truncated or does not hold together.
        UnsupportedError: It uses an operator or type that bqsearch does not support.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
    return parse(content, str(path))


def parse(content: bytes, origin: str = "the model") -> Graph:
    """Turn the bytes of a .tflite file into a Graph; `origin` names them in errors. Raises as `load` does."""
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise ModelError(f"{origin} is not a TFLite file: bytes 4 to 8 must be {IDENTIFIER!r}, not {content[4:8]!r}")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        subgraphs = model.subgraphs or []
        if len(subgraphs) != 1:
            raise UnsupportedError(f"{origin} has {len(subgraphs)} subgraphs; bqsearch supports models with one")
        return _graph(model, subgraphs[0], _buffers(model, content, origin), origin)
    except _MALFORMED as error:
        raise ModelError(f"{origin} is truncated or corrupt ({type(error).__name__}: {error})") from error


def _buffers(model: Any, content: bytes, origin: str) -> list[Any]:
    """Each buffer's bytes, None where it has none; some writers put them behind the flatbuffer, by offset and size."""
    found = []
    for index, buffer in enumerate(_list(model.buffers)):
        start, end = int(buffer.offset), int(buffer.offset) + int(buffer.size)
        if end > len(content):
            raise ModelError(f"{origin} is truncated: buffer {index} ends at byte {end}, the file at {len(content)}")
        found.append(np.frombuffer(content, np.uint8)[start:end] if start > 1 else buffer.data)
    return found


def _graph(model: Any, subgraph: Any, buffers: list[Any], origin: str) -> Graph:
    tensors = tuple(_tensor(t, buffers, i, origin) for i, t in enumerate(_list(subgraph.tensors)))
    codes = [(_code(entry), int(entry.version)) for entry in _list(model.operatorCodes)]
    ops = tuple(_op(entry, codes, tensors, i, origin) for i, entry in enumerate(_list(subgraph.operators)))
    graph = Graph(
        name=_text(subgraph.name),
        tensors=tensors,
        ops=ops,
        inputs=_indices(subgraph.inputs, tensors, f"{origin}: graph inputs"),
        outputs=_indices(subgraph.outputs, tensors, f"{origin}: graph outputs"),
    )
    _check_order(graph, origin)
    return graph


def _list(values: Any) -> Any:
    return [] if values is None else values


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _code(entry: Any) -> int:
    """Older files carry only the deprecated field, newer ones both: the larger one is right."""
    return max(int(entry.builtinCode), int(entry.deprecatedBuiltinCode))


def _indices(values: Any, tensors: tuple[Tensor, ...], where: str, optional: bool = False) -> tuple[int, ...]:
    indices = tuple(int(v) for v in _list(values))
    for index in indices:
        if not (-1 if optional else 0) <= index < len(tensors):
            raise ModelError(f"{where}: tensor index {index} is outside 0..{len(tensors) - 1}")
    return indices


def _tensor(entry: Any, buffers: list[Any], index: int, origin: str) -> Tensor:
    name = _text(entry.name)
    where = f"{origin}: tensor {index} ({name!r})"
    if entry.type not in _DTYPE_NAMES:
        type_name = _TYPE_NAMES.get(entry.type, str(entry.type))
        raise UnsupportedError(f"{where} has type {type_name}; supported: {', '.join(sorted(DTYPES))}")
    shape = tuple(int(d) for d in _list(entry.shape))
    if any(d < 0 for d in shape) or prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"{where} has shape {shape}: dimensions must be 0 or more, at most 2^31 elements in all")
    dtype = _DTYPE_NAMES[entry.type]
    return Tensor(
        name=name,
        shape=shape,
        dtype=dtype,
        quantization=_quantization(entry.quantization, shape, where),
        data=_constant(buffers, int(entry.buffer), shape, dtype, where),
    )


def _constant(buffers: list[Any], buffer: int, shape: tuple[int, ...], dtype: str, where: str) -> Array | None:
    if not 0 <= buffer < len(buffers):
        raise ModelError(f"{where} names buffer {buffer}, but the file has {len(buffers)} buffers")
    content = buffers[buffer]
    if content is None or len(content) == 0:
        return None
    expected = prod(shape) * np.dtype(dtype).itemsize
    if len(content) != expected:
        raise ModelError(f"{where} has {len(content)} B of data; shape {shape} of {dtype} needs {expected} B")
    data = np.frombuffer(np.asarray(content, np.uint8).tobytes(), dtype).reshape(shape)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise ModelError(f"{where} holds NaN or infinite values")
    return data


def _quantization(entry: Any, shape: tuple[int, ...], where: str) -> Quantization | None:
    if entry is None or entry.scale is None or len(entry.scale) == 0:
        return None
    scales = np.asarray(entry.scale, np.float32)
    zero_points = np.zeros(len(scales), np.int64) if entry.zeroPoint is None else np.asarray(entry.zeroPoint, np.int64)
    axis = int(entry.quantizedDimension)
    if len(zero_points) == 1:
        zero_points = np.repeat(zero_points, len(scales))
    if not (np.isfinite(scales).all() and (scales >= 0).all()) or len(zero_points) != len(scales):
        raise ModelError(f"{where} has malformed quantization: {len(scales)} scales, {len(zero_points)} zero points")
    if len(scales) == 1:
        axis = 0
    elif not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        axis = _repaired_axis(axis, shape, len(scales), where)
    return Quantization(scales=scales, zero_points=zero_points, axis=axis)


def _repaired_axis(axis: int, shape: tuple[int, ...], channels: int, where: str) -> int:
    """Some converters give a bias its weights' quantized dimension; with one fitting dimension there is no doubt."""
    fitting = [i for i, d in enumerate(shape) if d == channels]
    if len(fitting) != 1:
        raise ModelError(f"{where} has {channels} scales along dimension {axis}, which shape {shape} does not fit")
    return fitting[0]


def _op(entry: Any, codes: list[tuple[int, int]], tensors: tuple[Tensor, ...], index: int, origin: str) -> Op:
    if not 0 <= entry.opcodeIndex < len(codes):
        raise ModelError(f"{origin}: operator {index} names operator code {entry.opcodeIndex} of {len(codes)}")
    code, version = codes[entry.opcodeIndex]
    name = _CODE_NAMES.get(code, f"code {code}")
    where = f"{origin}: operator {index} ({name})"
    inputs = _indices(entry.inputs, tensors, where, optional=True)
    outputs = _indices(entry.outputs, tensors, where)
    if name not in SUPPORTED:
        output = f", which writes tensor {tensors[outputs[0]].name!r}," if outputs else ""
        raise UnsupportedError(f"{where}{output} is not supported; supported operators: {', '.join(sorted(SUPPORTED))}")
    options_type = _OPTION_NAMES.get(entry.builtinOptionsType, "") if entry.builtinOptions is not None else ""
    op = Op(
        code=name,
        inputs=inputs,
        outputs=outputs,
        options={k: _option(v) for k, v in vars(entry.builtinOptions).items()} if options_type else {},
        options_type=options_type,
        version=version,
    )
    _check_op(op, tensors, where)
    return op


def _option(value: Any) -> Any:
    """Options as hashable plain values."""
    return tuple(np.asarray(value).tolist()) if isinstance(value, list | np.ndarray) else value


_RANKS = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 2}
_INPUTS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "MEAN": 2, "PAD": 2}
_OPTIONS = {  # what others read out of an operator must be there
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "SQUEEZE": "SqueezeOptions",
}
_STEPS = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")


def _check_op(op: Op, tensors: tuple[Tensor, ...], where: str) -> None:
    needed = op.inputs[: _INPUTS.get(op.code, 1)]
    if len(needed) < _INPUTS.get(op.code, 1) or min(needed) < 0 or not op.outputs:
        raise ModelError(f"{where} has {len(op.inputs)} inputs and {len(op.outputs)} outputs: too few")
    if op.options_type != _OPTIONS.get(op.code, op.options_type):
        raise ModelError(f"{where} has {op.options_type or 'no options'} in place of {_OPTIONS[op.code]}")
    shapes = [tensors[i].shape for i in (*needed, op.outputs[0])]
    if op.code in _RANKS and len(shapes[1]) != _RANKS[op.code]:
        raise ModelError(f"{where} needs weights with {_RANKS[op.code]} dimensions")
    if SUPPORTED[op.code].work in ("conv", "depthwise"):
        _check_convolution(op, shapes, where)
    scalar = op.code in ("CONCATENATION", "MEAN", "SQUEEZE") and not shapes[0]
    if scalar or (op.code == "PAD" and shapes[1] != (len(shapes[0]), 2)):
        raise ModelError(f"{where} reads shapes {shapes[:-1]}, which do not go together")


def _check_convolution(op: Op, shapes: list[Shape], where: str) -> None:
    if any(len(shape) != 4 for shape in shapes):
        raise ModelError(f"{where} needs an input and an output with 4 dimensions")
    if op.code == "CONV_2D" and shapes[0][3] != shapes[1][3]:
        raise UnsupportedError(
            f"{where} is a grouped convolution ({shapes[0][3]} input channels, filters of {shapes[1][3]}), "
            f"which bqsearch does not support"
        )
    if min(op.options[step] for step in _STEPS) < 1:
        raise ModelError(f"{where} needs strides and dilations of 1 or more")


def _check_order(graph: Graph, origin: str) -> None:
    """Each tensor is there before it is read, and written once; then the graph has no cycle."""
    if not graph.inputs or not graph.outputs or not graph.ops:
        raise ModelError(f"{origin} needs at least one input, one output and one operator")
    ready = set(graph.inputs) | {-1} | {i for i, t in enumerate(graph.tensors) if t.data is not None}
    for index, op in enumerate(graph.ops):
        missing = [i for i in op.inputs if i not in ready]
        written = [i for i in op.outputs if i in ready]
        if missing or written:
            fault = (
                f"reads tensor {missing[0]} before it is written" if missing else f"writes tensor {written[0]} again"
            )
            raise ModelError(f"{origin}: operator {index} ({op.code}) {fault}")
        ready.update(op.outputs)
    unwritten = [i for i in graph.outputs if i not in ready]
    if unwritten:
        raise ModelError(f"{origin}: the graph's output, tensor {unwritten[0]}, is never written")
