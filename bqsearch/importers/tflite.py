"""A .tflite flatbuffer -> Graph. The file is untrusted: everything is checked before it is believed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph import shapes
from bqsearch.graph.flatbuffer import BUILTIN_CODES, DTYPES, IDENTIFIER, OPTION_TYPES
from bqsearch.graph.ir import Graph, Op, Quantization, Tensor
from bqsearch.graph.ops import SUPPORTED, Kind
from bqsearch.importers import options
from bqsearch.importers.constants import Constants
from bqsearch.importers.reader import Reader, Table
from bqsearch.types import Array, Shape

_CODE_NAMES = {code: name for name, code in BUILTIN_CODES.items()}
_DTYPE_NAMES = {code: name for name, code in DTYPES.items()}
_TYPE_NAMES = {code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
_OPTION_NAMES = {code: name for name, code in OPTION_TYPES.items()}
_ACTIVATIONS = range(schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.SIGN_BIT + 1)
MAX_BYTES = 1 << 29
MAX_ELEMENTS = 1 << 31
MAX_RANK = 8
MAX_ENDS = 4096  # tensors that one operator, or the graph, may read or write
_LONGEST_NAME = 100  # in messages


def load(path: Path) -> Graph:
    """Read a .tflite file.

    Raises:
        ModelError: The file cannot be read, is no .tflite, is truncated or does not hold together.
        UnsupportedError: It uses an operator or type that bqsearch does not support.
    """
    if path.exists() and not path.is_file():  # reading a pipe or a device might never end
        raise ModelError(f"cannot read the model {path}: it is not a file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
    return parse(content, str(path))


def parse(content: bytes, origin: str = "the model") -> Graph:
    """Turn the bytes of a .tflite file into a Graph; `origin` names them in errors. Raises as `load` does.

    Constants are views into `content`; tensors that name the same bytes with one dtype and shape have one array.
    """
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise ModelError(f"{origin} is not a TFLite file: bytes 4 to 8 must be {IDENTIFIER!r}, not {content[4:8]!r}")
    if len(content) > MAX_BYTES:
        raise UnsupportedError(f"{origin} is larger than {MAX_BYTES:,} B, the most that bqsearch reads")
    reader = Reader(content, origin)
    model = reader.root()
    subgraphs = model.tables(2)
    codes = [_Code(entry) for entry in model.tables(1)]
    _check_uncompressed(model, codes, origin)
    if len(subgraphs) != 1:
        raise UnsupportedError(f"{origin} has {len(subgraphs)} subgraphs; bqsearch supports models with one")
    return _graph(subgraphs[0], codes, Constants(reader, model.tables(4)), origin)


class _Code:
    """One entry of the file's list of operators: name, version and, for a custom one, its own code."""

    def __init__(self, entry: Table) -> None:
        # Older files carry only the deprecated field, newer ones both: the larger one is right.
        code = max(entry.scalar(0, "b"), entry.scalar(3, "i"))
        self.name, self.version = _CODE_NAMES.get(code, f"code {code}"), int(entry.scalar(2, "i", 1))
        self.custom = entry.text(1) if self.name == "CUSTOM" else ""


def _check_uncompressed(model: Table, codes: Sequence[_Code], origin: str) -> None:
    """What TensorFlow Lite Micro decodes at run time cannot be compressed again: the codes' values are not there."""
    marks = {code.custom for code in codes} | {entry.text(0) for entry in model.tables(6)}
    for mark in ("TFLM_DECODE", "COMPRESSION_METADATA"):
        if mark in marks:
            raise UnsupportedError(
                f"{origin} is compressed for TensorFlow Lite Micro already ({mark}); give bqsearch the model that it "
                f"was made from"
            )


def _graph(subgraph: Table, codes: Sequence[_Code], constants: Constants, origin: str) -> Graph:
    tensors = tuple(_tensor(entry, constants, i, origin) for i, entry in enumerate(subgraph.tables(0)))
    ops = tuple(_op(entry, codes, tensors, i, origin) for i, entry in enumerate(subgraph.tables(3)))
    graph = Graph(
        name=subgraph.text(4),
        tensors=tensors,
        ops=ops,
        inputs=_indices(subgraph, 1, tensors, f"{origin}: graph inputs"),
        outputs=_indices(subgraph, 2, tensors, f"{origin}: graph outputs"),
    )
    _check_ends(graph, origin)
    _check_order(graph, origin)
    return graph


def _brief(name: str) -> str:
    """A name for a message: some converters join dozens of names into one."""
    return repr(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…")


def _indices(
    table: Table, field: int, tensors: Sequence[Tensor], where: str, optional: bool = False
) -> tuple[int, ...]:
    found = table.vector(field, "<i4")
    if found is None:
        return ()
    if len(found) > MAX_ENDS:
        raise ModelError(f"{where} names {len(found):,} tensors; at most {MAX_ENDS:,} may be named")
    indices = tuple(found.tolist())
    for index in indices:
        if not (-1 if optional else 0) <= index < len(tensors):
            raise ModelError(f"{where}: tensor index {index} is outside 0..{len(tensors) - 1}")
    return indices


def _tensor(entry: Table, constants: Constants, index: int, origin: str) -> Tensor:
    name, code = entry.text(3), entry.scalar(1, "b")
    where = f"{origin}: tensor {index} ({_brief(name)})"
    if code not in _DTYPE_NAMES:
        type_name = _TYPE_NAMES.get(code, str(code))
        raise UnsupportedError(f"{where} has type {type_name}; supported: {', '.join(sorted(DTYPES))}")
    if entry.has(6) or entry.scalar(10, "I"):
        raise UnsupportedError(f"{where} is sparse or lies in another file, which bqsearch does not support")
    shape, dtype = _shape(entry.vector(0, "<i4"), where), _DTYPE_NAMES[code]
    return Tensor(
        name=name,
        shape=shape,
        dtype=dtype,
        quantization=_quantization(entry.table(4), shape, where),
        data=constants.get(entry.scalar(2, "I"), shape, dtype, where),
    )


def _shape(found: Array | None, where: str) -> Shape:
    rank = 0 if found is None else len(found)
    if rank > MAX_RANK:
        raise UnsupportedError(f"{where} has {rank} dimensions; bqsearch supports {MAX_RANK}")
    shape = () if found is None else tuple(found.tolist())
    if any(d < 0 for d in shape) or prod(shape) > MAX_ELEMENTS:
        raise ModelError(f"{where} has shape {shape}: dimensions must be 1 or more, at most 2^31 elements in all")
    if 0 in shape:
        raise UnsupportedError(f"{where} has shape {shape}: bqsearch does not support tensors without elements")
    return shape


def _quantization(entry: Table | None, shape: Shape, where: str) -> Quantization | None:
    if entry is None:
        return None
    if entry.scalar(4, "B") != schema.QuantizationDetails.NONE:
        raise UnsupportedError(f"{where} has block-wise or custom quantization, which bqsearch does not support")
    scales, zero_points = entry.vector(2, "<f4"), entry.vector(3, "<i8")
    if scales is None or len(scales) == 0:
        return None
    if zero_points is None or len(zero_points) == 1:
        zero_points = np.repeat(np.zeros(1, np.int64) if zero_points is None else zero_points, len(scales))
    if not (np.isfinite(scales).all() and (scales >= 0).all()) or len(zero_points) != len(scales):
        raise ModelError(f"{where} has malformed quantization: {len(scales)} scales, {len(zero_points)} zero points")
    axis = _axis(entry.scalar(6, "i"), shape, len(scales), where) if len(scales) > 1 else 0
    return Quantization(scales=scales, zero_points=zero_points, axis=axis)


def _axis(axis: int, shape: Shape, channels: int, where: str) -> int:
    """Some converters give a bias its weights' quantized dimension; with one fitting dimension there is no doubt."""
    if 0 <= axis < len(shape) and shape[axis] == channels:
        return axis
    fitting = [i for i, d in enumerate(shape) if d == channels]
    if len(fitting) != 1:
        raise ModelError(f"{where} has {channels} scales along dimension {axis}, which shape {shape} does not fit")
    return fitting[0]


def _op(entry: Table, codes: Sequence[_Code], tensors: Sequence[Tensor], index: int, origin: str) -> Op:
    number = entry.scalar(0, "I")
    if number >= len(codes):
        raise ModelError(f"{origin}: operator {index} names operator code {number} of {len(codes)}")
    code = codes[number]
    where = f"{origin}: operator {index} ({code.name})"
    inputs = _indices(entry, 1, tensors, where, optional=True)
    outputs = _indices(entry, 2, tensors, where)
    if code.name not in SUPPORTED:
        raise _unsupported(code, [tensors[i].name for i in outputs], where)
    kind = SUPPORTED[code.name]
    held = _options(entry, kind, where)
    op = Op(
        code=code.name,
        inputs=inputs,
        outputs=outputs,
        options={} if held is None else options.read(held, kind.options, where),
        options_type="" if held is None else kind.options,
        version=code.version,
    )
    _check_op(op, tensors, where)
    return op


def _unsupported(code: _Code, outputs: Sequence[str], where: str) -> UnsupportedError:
    named = [f"custom code {_brief(code.custom)}"] if code.name == "CUSTOM" else []
    written = [f"which writes tensor {_brief(outputs[0])}"] if outputs else []
    what = ", ".join([where, *named, *written]) + ("," if named or written else "")
    known = ", ".join(sorted(SUPPORTED))
    return UnsupportedError(f"{what} is not supported; supported operators: {known}")


def _options(entry: Table, kind: Kind, where: str) -> Table | None:
    """The operator's options table, None where it is left out or says nothing; another operator's is refused."""
    held, found = entry.table(4), _OPTION_NAMES.get(entry.scalar(3, "B"), "")
    if entry.scalar(11, "B"):
        raise UnsupportedError(f"{where} has options of a later schema, which bqsearch does not support")
    if held is None or not found:
        held, found = None, "no options"
    if (kind.needs_options and held is None) or (held is not None and kind.options not in ("", found)):
        raise ModelError(f"{where} has {found} in place of {kind.options}")
    return held if kind.options else None


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Put the operator's place before the reason of an error."""
    try:
        yield
    except ModelError as error:
        raise type(error)(f"{where} {error}") from error


def _check_op(op: Op, tensors: Sequence[Tensor], where: str) -> None:
    kind = SUPPORTED[op.code]
    needed = op.inputs[: kind.inputs]
    if len(needed) < kind.inputs or min(needed) < 0 or not op.outputs:
        raise ModelError(f"{where} has {len(op.inputs)} inputs and {len(op.outputs)} outputs: too few")
    activation = op.options.get("fusedActivationFunction", 0)
    if activation not in _ACTIVATIONS:
        raise ModelError(f"{where} has activation function {activation}, which is none of TFLite's")
    with _located(where):
        shapes.check(op, tensors)
        if kind.weights is not None:
            _check_layer(op, kind, tensors)


def _check_layer(op: Op, kind: Kind, tensors: Sequence[Tensor]) -> None:
    """Weights, bias and scales must be of one layer; the weights' shape has been checked."""
    assert kind.weights is not None
    assert kind.bias is not None
    weights, source = tensors[op.inputs[kind.weights]], tensors[op.inputs[kind.data]]
    channels, of_weights = weights.shape[kind.channel_axis], weights.quantization
    if of_weights is not None and of_weights.per_channel and of_weights.axis != kind.channel_axis:
        raise ModelError(
            f"has weights {_brief(weights.name)} with a scale for each step of dimension {of_weights.axis}; their "
            f"output channels are dimension {kind.channel_axis}"
        )
    for end in (source, tensors[op.outputs[0]]):
        if end.data is None and end.quantization is not None and end.quantization.per_channel:
            raise ModelError(f"has tensor {_brief(end.name)} with {len(end.quantization.scales)} scales; it needs one")
    if len(op.inputs) > kind.bias and op.inputs[kind.bias] >= 0:
        bias = tensors[op.inputs[kind.bias]]
        if bias.size != channels:
            raise ModelError(f"has a bias {_brief(bias.name)} of shape {bias.shape} for {channels} output channels")


def _check_ends(graph: Graph, origin: str) -> None:
    if not graph.inputs or not graph.outputs or not graph.ops:
        raise ModelError(f"{origin} needs at least one input, one output and one operator")
    held = [i for i in graph.inputs if graph.tensors[i].data is not None]
    if held or len(set(graph.inputs)) < len(graph.inputs):
        fault = f"tensor {held[0]}, is a constant" if held else "names a tensor twice"
        raise ModelError(f"{origin}: the graph's input, {fault}")


def _check_order(graph: Graph, origin: str) -> None:
    """Each tensor is there before it is read, and written once; then the graph has no cycle."""
    ready = {*graph.inputs, -1, *(i for i, t in enumerate(graph.tensors) if t.data is not None)}
    for index, op in enumerate(graph.ops):
        where = f"{origin}: operator {index} ({op.code})"
        for tensor in op.inputs:
            if tensor not in ready:
                raise ModelError(f"{where} reads tensor {tensor} before it is written")
        for tensor in op.outputs:
            if tensor in ready:
                raise ModelError(f"{where} writes tensor {tensor} again")
            ready.add(tensor)
    unwritten = [i for i in graph.outputs if i not in ready]
    if unwritten:
        raise ModelError(f"{origin}: the graph's output, tensor {unwritten[0]}, is never written")
