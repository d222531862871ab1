"""Graph -> .tflite bytes, with nothing in them that a runtime does not read.

Equal vectors, tables and strings are written once. Constants come last in the file, each at a multiple of `ALIGNMENT`,
so that the bytes of a file are the sum of its parts.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.ir import Graph, Op, Quantization, Tensor

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


def serialize(
    graph: Graph,
    *,
    signature: bool = False,
    short_zero_points: bool = False,
    metadata: Mapping[str, bytes] | None = None,
) -> bytes:
    """The graph as a .tflite flatbuffer.

    Args:
        graph: Constants that are one array share a buffer. Operators whose code is none of TFLite's become custom ones.
        signature: Name the network's ends `input_0`, `output_0`, ... in the signature `SIGNATURE`.
        short_zero_points: Write one zero point for all channels where they are equal, which TensorFlow Lite Micro reads
            and LiteRT does not.
        metadata: Buffers by name.
    """
    writer = _Writer(short_zero_points)
    writer.builder.Finish(writer.model(graph, signature, metadata or {}), IDENTIFIER)
    return bytes(writer.builder.Output())


def unaligned_bytes(
    graph: Graph, *, short_zero_points: bool = False, metadata: Mapping[str, bytes] | None = None
) -> int:
    """Bytes of the same file without its root, a sum over its parts; `file_bytes` of it is the file's size."""
    writer = _Writer(short_zero_points)
    writer.model(graph, False, metadata or {})
    return int(writer.builder.Offset())


def file_bytes(unaligned: int) -> int:
    """Size of a file of so many bytes without its root: root offset, identifier and alignment come to them."""
    return -(-(unaligned + 8) // ALIGNMENT) * ALIGNMENT


def data_bytes(nbytes: int) -> int:
    """What a constant of `nbytes` takes in a file: its length, and its place at a multiple of `ALIGNMENT`."""
    return -(-(nbytes + 4) // ALIGNMENT) * ALIGNMENT


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


def _codes(graph: Graph) -> list[tuple[str, int]]:
    """Operator codes, custom ones last: neither another order of the operators nor a decoder moves an index."""
    return sorted({(op.code, op.version) for op in graph.ops}, key=lambda code: (code[0] not in BUILTIN_CODES, code))


class _Writer:
    """One file under construction. FlatBuffers grow from their end: what is written first comes last."""

    def __init__(self, short_zero_points: bool) -> None:
        self.short_zero_points = short_zero_points
        self.builder = flatbuffers.Builder(1 << 16)
        self._written: dict[Hashable, int] = {}

    def model(self, graph: Graph, signature: bool, metadata: Mapping[str, bytes]) -> int:
        """Write everything, and return where the model's table is."""
        constants = {i: t.data for i, t in enumerate(graph.tensors) if t.data is not None}
        keys: dict[int, Hashable] = {i: id(d) for i, d in constants.items()}
        contents: dict[Hashable, bytes] = {keys[i]: np.ascontiguousarray(d).tobytes() for i, d in constants.items()}
        contents |= {("metadata", name): content for name, content in metadata.items()}
        number = {key: 1 + position for position, key in enumerate(contents)}
        vectors = self._data([b"", *contents.values()])
        for tensor in graph.tensors:
            self._zero_points(tensor.quantization)
        buffers = self._offsets([self._table("Buffer", {"Data": vector}) for vector in vectors])
        codes = _codes(graph)
        tensors = [self._tensor(t, number[keys[i]] if i in keys else 0) for i, t in enumerate(graph.tensors)]
        operators = [self._operator(op, codes.index((op.code, op.version))) for op in graph.ops]
        parts: dict[str, Any] = {
            "Version": 3,
            "Buffers": buffers,
            "OperatorCodes": self._offsets([self._operator_code(*code) for code in codes]),
            "Subgraphs": self._offsets([self._subgraph(graph, tensors, operators)]),
        }
        if signature:
            parts["SignatureDefs"] = self._offsets([self._signature(graph)])
        if metadata:
            named = [self._metadata(name, number["metadata", name]) for name in metadata]
            parts["Metadata"] = self._offsets(named)
        return self._table("Model", parts)

    def _once(self, key: Hashable, write: Callable[[], int]) -> int:
        """The offset of what `write` writes, unless its equal is there."""
        if key not in self._written:
            self._written[key] = write()
        return self._written[key]

    def _table(self, kind: str, fields: Mapping[str, Any]) -> int:
        """A table of the schema; fields that are None or the default take no room."""
        self.builder.Prep(4, 0)  # else padding would be a part of the table, and its layout shared with fewer others
        getattr(schema, f"{kind}Start")(self.builder)
        for name, value in fields.items():
            if value is not None:
                getattr(schema, f"{kind}Add{name}")(self.builder, value)
        return int(getattr(schema, f"{kind}End")(self.builder))

    def _shared_table(self, kind: str, fields: Mapping[str, Any]) -> int:
        return self._once((kind, *fields.items()), lambda: self._table(kind, fields))

    def _vector(self, values: Iterable[int | float], dtype: str, of: str = "") -> int:
        """Equal vectors are written once; operands are kept apart from shapes, so that either adds up by itself."""
        array = np.fromiter(values, dtype)
        return self._once((of, dtype, array.tobytes()), lambda: int(self.builder.CreateNumpyVector(array)))

    def _offsets(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _text(self, text: str) -> int | None:
        return self._once(("text", text), lambda: int(self.builder.CreateString(text))) if text else None

    def _data(self, contents: list[bytes]) -> list[int | None]:
        """All constants side by side, so that alignment pads nothing between them and all else."""
        self.builder.PrependUint32(0)  # now each vector takes `data_bytes`, the first one too
        return [self._aligned_vector(content) if content else None for content in contents]

    def _aligned_vector(self, content: bytes) -> int:
        builder = self.builder
        builder.StartVector(1, len(content), ALIGNMENT)
        builder.head = builder.head - len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        return int(builder.EndVector())

    def _zero_points(self, quantization: Quantization | None) -> int | None:
        if quantization is None:
            return None
        points = quantization.zero_points
        equal = self.short_zero_points and bool((points == points[0]).all())
        return self._vector(points[:1] if equal else points, "int64")

    def _quantization(self, quantization: Quantization | None) -> int | None:
        if quantization is None:
            return None
        fields = {
            "Scale": self._vector(quantization.scales, "float32"),
            "ZeroPoint": self._zero_points(quantization),
            "QuantizedDimension": quantization.axis,
        }
        return self._shared_table("QuantizationParameters", fields)

    def _tensor(self, tensor: Tensor, buffer: int) -> int:
        fields = {
            "Shape": self._vector(tensor.shape, "int32"),
            "Name": self._text(tensor.name),
            "Quantization": self._quantization(tensor.quantization),
            "Buffer": buffer,
            "Type": DTYPES[tensor.dtype],
            "HasRank": None if tensor.shape else True,
        }
        return self._table("Tensor", fields)

    def _operator_code(self, code: str, version: int) -> int:
        builtin = BUILTIN_CODES.get(code, schema.BuiltinOperator.CUSTOM)
        fields = {
            "BuiltinCode": builtin,
            "DeprecatedBuiltinCode": min(builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES),
            "CustomCode": self._text(code) if builtin == schema.BuiltinOperator.CUSTOM else None,
            "Version": version,
        }
        return self._table("OperatorCode", fields)

    def _operator(self, op: Op, code: int) -> int:
        fields = {
            "Inputs": self._vector(op.inputs, "int32", "operands"),
            "Outputs": self._vector(op.outputs, "int32", "operands"),
            "BuiltinOptions": self._options(op),
            "OpcodeIndex": code,
            "BuiltinOptionsType": OPTION_TYPES[op.options_type] if op.options_type else 0,
        }
        return self._table("Operator", fields)

    def _options(self, op: Op) -> int | None:
        if not op.options_type:
            return None
        options = getattr(schema, f"{op.options_type}T")()
        for field, value in op.options.items():
            setattr(options, field, np.array(value, np.int32) if isinstance(value, tuple) else value)
        key = (op.options_type, *sorted(op.options.items()))
        self.builder.Prep(4, 0)
        return self._once(key, lambda: int(options.Pack(self.builder)))

    def _subgraph(self, graph: Graph, tensors: list[int], operators: list[int]) -> int:
        fields = {
            "Tensors": self._offsets(tensors),
            "Operators": self._offsets(operators),
            "Inputs": self._vector(graph.inputs, "int32", "operands"),
            "Outputs": self._vector(graph.outputs, "int32", "operands"),
            "Name": self._text(graph.name),
        }
        return self._table("SubGraph", fields)

    def _signature(self, graph: Graph) -> int:
        fields = {
            "Inputs": self._offsets([self._end(f"input_{i}", tensor) for i, tensor in enumerate(graph.inputs)]),
            "Outputs": self._offsets([self._end(f"output_{i}", tensor) for i, tensor in enumerate(graph.outputs)]),
            "SignatureKey": self._text(SIGNATURE),
        }
        return self._table("SignatureDef", fields)

    def _end(self, name: str, tensor: int) -> int:
        return self._table("TensorMap", {"Name": self._text(name), "TensorIndex": tensor})

    def _metadata(self, name: str, buffer: int) -> int:
        return self._table("Metadata", {"Name": self._text(name), "Buffer": buffer})
