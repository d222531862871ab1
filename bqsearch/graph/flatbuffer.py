"""Graph -> .tflite bytes."""

from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.ir import Graph, Op, Quantization, Tensor
from bqsearch.types import Array

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
ALIGNMENT = 16  # the schema's force_align for buffer data; TensorFlow Lite Micro reads constants in place
DTYPES: dict[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
    "int16": schema.TensorType.INT16,
    "int8": schema.TensorType.INT8,
}
BUILTIN_CODES: dict[str, int] = {
    name: code for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
OPTION_TYPES: dict[str, int] = {
    name: code for name, code in vars(schema.BuiltinOptions).items() if not name.startswith("_")
}


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A BufferT whose bytes start at a multiple of `ALIGNMENT`; the generated one aligns to one byte."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the generated code's name
        vector = None
        if self.data is not None:
            data = self.data.tobytes()
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head = builder.head - len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def serialize(graph: Graph) -> bytes:
    """The graph as a .tflite flatbuffer: a buffer for each constant tensor, and the signature `SIGNATURE`.

    The signature names the network's ends `input_0`, `input_1`, ... and `output_0`, ...
    """
    codes = list(dict.fromkeys((op.code, op.version) for op in graph.ops))
    constants = [i for i, t in enumerate(graph.tensors) if t.data is not None]
    buffer_of = {tensor: 1 + position for position, tensor in enumerate(constants)}
    model = schema.ModelT()
    model.version = 3
    model.description = "bqsearch"
    model.operatorCodes = [_operator_code(*code) for code in codes]
    model.buffers = [_buffer(None)] + [_buffer(graph.tensors[i].data) for i in constants]
    subgraph = schema.SubGraphT()
    subgraph.name = graph.name.encode()
    subgraph.tensors = [_tensor(t, buffer_of.get(i, 0)) for i, t in enumerate(graph.tensors)]
    subgraph.inputs, subgraph.outputs = _ints(graph.inputs), _ints(graph.outputs)
    subgraph.operators = [_operator(op, codes.index((op.code, op.version))) for op in graph.ops]
    model.subgraphs = [subgraph]
    model.signatureDefs = [_signature(graph)]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def buffer_spans(graph: Graph, packed: bytes, tensors: Iterable[int]) -> dict[int, slice]:
    """Where each constant tensor's bytes lie in `packed`, which `serialize(graph)` made.

    A candidate of equal shapes is then a copy of the file with these spans overwritten.
    """
    model = schema.Model.GetRootAs(packed)
    subgraph = model.Subgraphs(0)
    start = np.frombuffer(packed, np.uint8).__array_interface__["data"][0]
    spans = {}
    for tensor in tensors:
        view = model.Buffers(subgraph.Tensors(tensor).Buffer()).DataAsNumpy()
        offset = view.__array_interface__["data"][0] - start
        spans[tensor] = slice(offset, offset + graph.tensors[tensor].nbytes)
    return spans


def _ints(values: Iterable[int]) -> Array:
    return np.fromiter(values, np.int32)


def _operator_code(code: str, version: int) -> Any:
    entry = schema.OperatorCodeT()
    entry.builtinCode = BUILTIN_CODES[code]
    entry.deprecatedBuiltinCode = min(entry.builtinCode, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    entry.version = version
    return entry


def _buffer(data: Array | None) -> Any:
    buffer = _AlignedBuffer()
    buffer.data = None if data is None else np.ascontiguousarray(data)
    return buffer


def _signature(graph: Graph) -> Any:
    entry = schema.SignatureDefT()
    entry.signatureKey = SIGNATURE.encode()
    entry.inputs = [_end(f"input_{i}", tensor) for i, tensor in enumerate(graph.inputs)]
    entry.outputs = [_end(f"output_{i}", tensor) for i, tensor in enumerate(graph.outputs)]
    return entry


def _end(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry


def _quantization(quantization: Quantization) -> Any:
    entry = schema.QuantizationParametersT()
    entry.scale = quantization.scales.astype(np.float32)
    entry.zeroPoint = quantization.zero_points.astype(np.int64)
    entry.quantizedDimension = quantization.axis
    return entry


def _tensor(tensor: Tensor, buffer: int) -> Any:
    entry = schema.TensorT()
    entry.name = tensor.name.encode()
    entry.shape = _ints(tensor.shape)
    entry.type = DTYPES[tensor.dtype]
    entry.buffer = buffer
    entry.hasRank = True
    if tensor.quantization is not None:
        entry.quantization = _quantization(tensor.quantization)
    return entry


def _operator(op: Op, code: int) -> Any:
    entry = schema.OperatorT()
    entry.opcodeIndex = code
    entry.inputs, entry.outputs = _ints(op.inputs), _ints(op.outputs)
    if op.options_type:
        options = getattr(schema, f"{op.options_type}T")()
        for field, value in op.options.items():
            setattr(options, field, np.array(value, np.int32) if isinstance(value, tuple) else value)
        entry.builtinOptionsType = OPTION_TYPES[op.options_type]
        entry.builtinOptions = options
    return entry
