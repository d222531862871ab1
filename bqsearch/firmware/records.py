"""Steps of a schedule as records of bq_kernels.h."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from bqsearch.errors import UnsupportedError
from bqsearch.firmware import ctext
from bqsearch.firmware.arithmetic import input_radius, multiplier_of, round_half_away
from bqsearch.firmware.layers import FirmwareLayer, firmware_layers
from bqsearch.firmware.maps import MAPPED, rescaled, table_of
from bqsearch.firmware.quantized import activation_range, code_range, scale_of, zero_of
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import SUPPORTED, source
from bqsearch.hardware.linked import SUFFIX, VARIANT
from bqsearch.hardware.schedule import ALIGNMENT, Schedule, Step
from bqsearch.hardware.scratch import DENSE_BLOCK, aligned, carried_rows, decoder_bytes
from bqsearch.packing.container import Coded
from bqsearch.types import Shape

_SAME = 0
_HEADROOM = 20  # bits that ADD shifts its inputs to the left


@dataclass(frozen=True, kw_only=True)
class Record:
    """One step in C.

    Attributes:
        name: Of its constant.
        texts: Definitions of the arrays that it points to, and its own.
    """

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Network:
    """What all records are made from."""

    graph: Graph
    schedule: Schedule
    layers: Mapping[int, FirmwareLayer]
    in_ram: frozenset[int]
    shared: dict[str, str] = field(default_factory=dict)  # arrays that are defined, by their text

    def offset(self, tensor: int) -> int:
        """Where a tensor lies: if it is another one seen anew and has no place of its own, where that one does."""
        while tensor not in self.schedule.offsets:
            producer = self.graph.producers.get(tensor)
            if producer is None or not _is_free(self.graph.ops[producer]):
                raise UnsupportedError(f"tensor {self.graph.tensors[tensor].name!r} has no place in the schedule")
            tensor = source(self.graph.ops[producer])
        return self.schedule.offsets[tensor]

    def tensor(self, index: int) -> Tensor:
        return self.graph.tensors[index]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    """A record's kind and fields, and the arrays that it points to."""

    kind: str
    fields: Mapping[str, object]
    arrays: tuple[str, ...] = ()


def records_of(
    graph: Graph, coded: Mapping[int, Coded], schedule: Schedule, in_ram: frozenset[int] = frozenset()
) -> list[Record]:
    """The records of a network, in order of execution; see `emit.emit_graph`."""
    if any(tensor.shape[:1] != (1,) for tensor in (graph.input, graph.output)):
        raise UnsupportedError("the C runtime runs one input at a time: the batch dimension must be 1")
    network = _Network(graph=graph, schedule=schedule, layers=firmware_layers(graph, coded), in_ram=in_ram)
    made = [(step, _step(network, step)) for step in schedule.steps]
    return [_record(step, found) for step, found in made if found is not None]


def _record(step: Step, made: _Made) -> Record:
    name = f"step_{step.ops[0]}"
    return Record(name=name, texts=(*made.arrays, ctext.constant(made.kind, name, made.fields)))


def _is_free(op: Op) -> bool:
    return SUPPORTED[op.code].work == "free"


def _step(network: _Network, step: Step) -> _Made | None:
    codes = [network.graph.ops[i].code for i in step.ops]
    if len(codes) > 1 or (codes == ["DEPTHWISE_CONV_2D"] and step.kind == "strips"):
        return _chain(network, step)
    rule = _RULES.get(codes[0])
    if rule is None:
        raise UnsupportedError(f"the C runtime has no kernel for {codes[0]}; it has {', '.join(sorted(_RULES))}")
    return rule(network, step)


def _one(network: _Network, step: Step) -> tuple[Op, Tensor, Tensor, dict[str, object]]:
    """The step's only operator, its activation, its output, and the fields of both offsets."""
    op = network.graph.ops[step.ops[0]]
    read = source(op)
    if network.tensor(read).data is not None:
        raise UnsupportedError(
            f"{op.code} reads a constant ({network.tensor(read).name!r}), which the C runtime cannot"
        )
    ends: dict[str, object] = {"input": network.offset(read), "output": network.offset(op.outputs[0])}
    return op, network.tensor(read), network.tensor(op.outputs[0]), ends


def _kernel(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in SUFFIX:
        raise UnsupportedError(f"tensor {tensor.name!r} is {tensor.dtype}: the C runtime has int8 and uint8")
    return f"bq_{name}_{SUFFIX[tensor.dtype]}"


def _free(network: _Network, step: Step) -> _Made | None:
    """Nothing to do, where the output lies in the same place."""
    _, read, _, ends = _one(network, step)
    if ends["input"] == ends["output"]:
        return None
    return _joined(f"step_{step.ops[0]}", [(int(str(ends["input"])), read.nbytes, "NULL")], 1, ends["output"], ())


def _convolution(network: _Network, step: Step) -> _Made:
    _, read, output, ends = _one(network, step)
    layer = network.layers[step.ops[0]]
    shape = _shape(layer.op, read.shape, layer.weights.shape[1:3], output.shape)
    return _convolved(network, step, layer, shape, ends)


def _convolved(
    network: _Network, step: Step, layer: FirmwareLayer, shape: dict[str, object], ends: dict[str, object]
) -> _Made:
    fields, arrays = _layer(network, layer)
    strip = step.scratch[2] if step.kind == "strips" else None
    return _Made(
        kind="bq_convolution",
        fields={
            "run": _kernel(f"conv{VARIANT[layer.arithmetic]}", layer.source),
            **ends,
            **_decoding(step),
            "strip": strip.offset if strip is not None and strip.nbytes else "BQ_NONE",
            "rows": step.rows or shape["out_height"],
            "shape": shape,
            "layer": fields,
        },
        arrays=arrays,
    )


def _decoding(step: Step) -> dict[str, object]:
    return {"filter": step.scratch[0].offset, "tables": step.scratch[1].offset}


def _depthwise(network: _Network, step: Step) -> _Made:
    _, read, output, ends = _one(network, step)
    layer = network.layers[step.ops[0]]
    grows = any(after > before for before, after in zip(read.shape[1:], output.shape[1:], strict=True))
    if ends["input"] == ends["output"] and (grows or read.shape[3] != output.shape[3]):
        raise UnsupportedError(f"a depthwise convolution of {read.shape} to {output.shape} does not fit in place")
    fields, arrays = _layer(network, layer)
    return _Made(
        kind="bq_depthwise",
        fields={
            "run": _kernel("depthwise", layer.source),
            **ends,
            **_decoding(step),
            "window": step.scratch[2].offset,
            "shape": _shape(layer.op, read.shape, layer.weights.shape[1:3], output.shape),
            "layer": fields,
        },
        arrays=arrays,
    )


def _chain(network: _Network, step: Step) -> _Made:
    found = [network.layers.get(i) for i in step.ops]
    members = [layer for layer in found if layer is not None]
    codes = [layer.layer.operator for layer in members]
    places = [i for i, code in enumerate(codes) if code == "DEPTHWISE_CONV_2D"]
    others = all(_is_pointwise(layer) for layer in members if layer.layer.operator == "CONV_2D")
    if len(members) != len(step.ops) or len(places) != 1 or len(codes) - places[0] > 2 or places[0] > 1 or not others:
        names = ", ".join(network.graph.ops[i].code for i in step.ops)
        raise UnsupportedError(f"the C runtime has no kernel for the chain {names}")
    depthwise = members[places[0]]
    expand = members[0] if places[0] else None
    project = members[-1] if depthwise is not members[-1] else None
    return _chained(network, step, expand, depthwise, project)


def _chained(
    network: _Network,
    step: Step,
    expand: FirmwareLayer | None,
    depthwise: FirmwareLayer,
    project: FirmwareLayer | None,
) -> _Made:
    first, last = expand or depthwise, project or depthwise
    if depthwise.source.shape[3] != depthwise.output.shape[3]:
        raise UnsupportedError("the C runtime has no strips for depthwise convolutions with a multiplier")
    filters, tables, window, carry, strip = step.scratch
    parts = {"expand": expand, "depthwise": depthwise, "project": project}
    layers = {name: _layer(network, layer) for name, layer in parts.items() if layer is not None}
    shared = carried_rows(network.graph, depthwise.op)
    return _Made(
        kind="bq_chain",
        fields={
            "run": _kernel("chain", depthwise.source),
            "input": network.offset(first.op.inputs[0]),
            "output": network.offset(last.op.outputs[0]),
            "filter": filters.offset,
            "depthwise_filter": filters.offset + (aligned(expand.source.shape[3]) if expand else 0),
            "tables": tables.offset,
            "depthwise_tables": tables.offset + (aligned(_table_bytes(expand)) if expand else 0),
            "window": window.offset,
            "carry": carry.offset if carry.nbytes and shared else "BQ_NONE",
            "strip": strip.offset if strip.nbytes else "BQ_NONE",
            "rows": step.rows or depthwise.output.shape[1],
            "in_channels": first.source.shape[3],
            "out_channels": last.output.shape[3],
            "shape": _shape(depthwise.op, depthwise.source.shape, depthwise.weights.shape[1:3], depthwise.output.shape),
            **{name: fields for name, (fields, _) in layers.items()},
        },
        arrays=tuple(text for _, arrays in layers.values() for text in arrays),
    )


def _is_pointwise(layer: FirmwareLayer) -> bool:
    options = layer.op.options
    return layer.weights.shape[1:3] == (1, 1) and options["strideH"] == options["strideW"] == 1


def _table_bytes(layer: FirmwareLayer) -> int:
    return decoder_bytes(layer.coded.coding, len(layer.coded.table))


def _dense(network: _Network, step: Step) -> _Made:
    _, read, output, ends = _one(network, step)
    layer = network.layers[step.ops[0]]
    units, features = layer.weights.shape
    if output.size != units:  # several rows: a pointwise convolution over them
        shape = _points(output.size // units, features, units)
        return _convolved(network, step, layer, shape, ends)
    fields, arrays = _layer(network, layer)
    return _Made(
        kind="bq_dense",
        fields={
            "run": _kernel(f"dense{VARIANT[layer.arithmetic]}", read),
            **ends,
            **_decoding(step),
            "features": features,
            "units": units,
            "block": min(features, DENSE_BLOCK),
            "layer": fields,
        },
        arrays=arrays,
    )


def _layer(network: _Network, layer: FirmwareLayer) -> tuple[dict[str, object], tuple[str, ...]]:
    """The fields of a `bq_layer`, and its arrays."""
    layer.check()
    index, coded = layer.layer.op, layer.coded
    low, high = layer.limits
    stored = {f"weights_{index}": coded.stream, **({f"table_{index}": coded.table} if coded.table else {})}
    arrays = [
        *(_stored(name, content, index in network.in_ram) for name, content in stored.items()),
        ctext.array("int32_t", f"bias_{index}", layer.bias.tolist()),
        ctext.array("int32_t", f"multiplier_{index}", [multiplier for multiplier, _ in layer.multipliers]),
        ctext.array("int8_t", f"shift_{index}", [shift for _, shift in layer.multipliers]),
    ]
    stream = {
        "coding": f"&bq_{coded.coding}",
        "bytes": f"weights_{index}",
        "table": f"table_{index}" if coded.table else "NULL",
        "byte_count": len(coded.stream),
        "table_count": len(coded.table),
        "count": coded.count,
        "inner": coded.inner,
        "groups": coded.groups,
        "zero_byte": coded.zero_byte,
        "flip": 128 if layer.weights.dtype == "int8" else 0,
    }
    fields = {
        "weights": stream,
        "bias": f"bias_{index}",
        "multiplier": f"multiplier_{index}",
        "shift": f"shift_{index}",
        "input_zero": zero_of(layer.source),
        "weight_zero": layer.weight_zero,
        "output_zero": zero_of(layer.output),
        "low": low,
        "high": high,
        "per_channel": int(len(layer.multipliers) > 1),
    }
    return fields, tuple(arrays)


def _stored(name: str, content: bytes, in_ram: bool) -> str:
    if in_ram:
        return ctext.array_in_ram("uint8_t", name, content, ALIGNMENT)
    return ctext.array("uint8_t", name, content)


def _shape(op: Op, read: Shape, filters: Shape, output: Shape) -> dict[str, object]:
    """The fields of a `bq_shape`."""
    if len(read) != 4 or read[0] != 1:
        raise UnsupportedError(f"{op.code} reads shape {read}: the C runtime takes (1, height, width, channels)")
    strides = (op.options["strideH"], op.options["strideW"])
    dilations = (op.options.get("dilationHFactor", 1), op.options.get("dilationWFactor", 1))
    pads = [0, 0]
    if op.options["padding"] == _SAME:
        sides = zip(output[1:3], strides, filters, dilations, read[1:3], strict=True)
        pads = [
            max((out - 1) * stride + (size - 1) * dilation + 1 - side, 0) // 2
            for out, stride, size, dilation, side in sides
        ]
    numbers = (*read[1:], *output[1:], *filters, *strides, *dilations, *pads)
    if max(numbers) > 0xFFFF or max(*filters, *strides, *dilations) > 0xFF:
        raise UnsupportedError(f"{op.code} of {read} to {output} is larger than the C runtime's records hold")
    return dict(zip(_SHAPE_FIELDS, numbers, strict=True))


_SHAPE_FIELDS = (
    *("height", "width", "channels", "out_height", "out_width", "out_channels"),
    *("filter_height", "filter_width", "stride_height", "stride_width", "dilation_height", "dilation_width"),
    *("pad_top", "pad_left"),
)


def _points(count: int, features: int, units: int) -> dict[str, object]:
    numbers = (count, 1, features, count, 1, units, 1, 1, 1, 1, 1, 1, 0, 0)
    return dict(zip(_SHAPE_FIELDS, numbers, strict=True))


def _pool(network: _Network, step: Step) -> _Made:
    op, read, output, ends = _one(network, step)
    strip = step.scratch[0] if step.kind == "strips" else None
    shape = _shape(op, read.shape, (op.options["filterHeight"], op.options["filterWidth"]), output.shape)
    low, high = activation_range(op, output)
    if (scale_of(read), zero_of(read)) != (scale_of(output), zero_of(output)):
        raise UnsupportedError(f"{op.code} changes the scale, which the C runtime does not")
    return _Made(
        kind="bq_pool",
        fields={
            "run": _kernel("average" if op.code == "AVERAGE_POOL_2D" else "max", read),
            **ends,
            "strip": strip.offset if strip is not None and strip.nbytes else "BQ_NONE",
            "rows": step.rows or output.shape[1],
            "shape": shape,
            "low": low,
            "high": high,
        },
    )


def _two(network: _Network, step: Step, verb: str) -> tuple[list[Tensor], Tensor, dict[str, object]]:
    """Both inputs of a step's only operator, its output, and the fields of where they lie and of the codes' range."""
    op = network.graph.ops[step.ops[0]]
    read, output = [network.tensor(i) for i in op.inputs[:2]], network.tensor(op.outputs[0])
    if any(tensor.shape != output.shape or tensor.data is not None for tensor in read):
        raise UnsupportedError(f"the C runtime {verb} activations of equal shape only")
    low, high = activation_range(op, output)
    fields: dict[str, object] = {
        "input": [network.offset(i) for i in op.inputs[:2]],
        "output": network.offset(op.outputs[0]),
        "count": output.size,
        "zero": [zero_of(tensor) for tensor in read],
        "out_zero": zero_of(output),
        "low": low,
        "high": high,
    }
    return read, output, fields


def _multiply(network: _Network, step: Step) -> _Made:
    read, output, fields = _two(network, step, "multiplies")
    multiplier, shift = multiplier_of(scale_of(read[0]) * scale_of(read[1]) / scale_of(output))
    run = _kernel("multiply", output)
    return _Made(kind="bq_product", fields={"run": run, **fields, "multiplier": multiplier, "shift": shift})


def _add(network: _Network, step: Step) -> _Made:
    read, output, fields = _two(network, step, "adds")
    scales = [scale_of(tensor) for tensor in read]
    largest = 2 * max(scales)
    inputs = [multiplier_of(scale / largest) for scale in scales]
    out_multiplier, out_shift = multiplier_of(largest / ((1 << _HEADROOM) * scale_of(output)))
    return _Made(
        kind="bq_addition",
        fields={
            "run": _kernel("add", output),
            **fields,
            "multiplier": [multiplier for multiplier, _ in inputs],
            "out_multiplier": out_multiplier,
            "shift": [shift for _, shift in inputs],
            "out_shift": out_shift,
        },
    )


def _mean(network: _Network, step: Step) -> _Made:
    op, read, output, ends = _one(network, step)
    axes = network.tensor(op.inputs[1]).data
    assert axes is not None
    named = {int(axis) % len(read.shape) for axis in axes.reshape(-1)}
    outer, count, inner = _parts(read.shape, named)
    planes = len(read.shape) == 4 and named == {1, 2} and op.options.get("keepDims", False) and read.dtype == "uint8"
    scaling = _mean_of_planes(read, output, count) if planes else _mean_of_any(read, output, count)
    sizes = {"outer": outer, "count": count, "inner": inner}
    return _Made(kind="bq_average_over", fields={"run": _kernel("mean", read), **ends, **sizes, **scaling})


def _mean_of_any(read: Tensor, output: Tensor, count: int) -> dict[str, object]:
    """The number of elements goes into the multiplier."""
    multiplier, shift = multiplier_of(scale_of(read) / scale_of(output))
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return {
        "multiplier": (multiplier << more) // count,
        "shift": shift - more,
        "input_zero": zero_of(read),
        "output_zero": zero_of(output),
    }


def _mean_of_planes(read: Tensor, output: Tensor, count: int) -> dict[str, object]:
    """TensorFlow Lite's kernel for means of uint8 over height and width that keep their dimensions, in float32 numbers:
    the input's zero point is taken off last."""
    of_read, of_output = np.float32(scale_of(read)), np.float32(scale_of(output))
    multiplier, shift = multiplier_of(float(of_read / (np.float32(count) * of_output)))
    offset = round_half_away(float(np.float32(zero_of(read)) * of_read / of_output))
    return {
        "multiplier": multiplier,
        "shift": shift,
        "input_zero": 0,
        "output_zero": zero_of(output) - offset,
    }


def _parts(shape: Shape, axes: set[int]) -> tuple[int, int, int]:
    """Elements before, along and behind the axes, which must be neighbors but for dimensions of 1."""
    axes = {axis for axis in axes if shape[axis] > 1}
    if not axes:
        return prod(shape), 1, 1
    first, last = min(axes), max(axes)
    if any(shape[i] > 1 for i in range(first, last) if i not in axes):
        raise UnsupportedError(f"the C runtime takes means over neighboring dimensions, not {sorted(axes)} of {shape}")
    return prod(shape[:first]), prod(shape[first : last + 1]), prod(shape[last + 1 :])


def _softmax(network: _Network, step: Step) -> _Made:
    op, read, output, ends = _one(network, step)
    sizes = {"rows": read.size // read.shape[-1], "depth": read.shape[-1]}
    beta = float(np.float32(op.options["beta"]))
    if read.dtype == "uint8":
        name = f"powers_{step.ops[0]}"
        powers = np.exp(np.float32(-scale_of(read) * beta) * np.arange(255, -1, -1).astype(np.float32))
        return _Made(
            kind="bq_softmax_table",
            fields={
                "run": _kernel("softmax", read),
                **ends,
                **sizes,
                "powers": name,
                "scale": scale_of(output),
                "zero": zero_of(output),
            },
            arrays=(ctext.array("float", name, [float(power) for power in powers]),),
        )
    if (scale_of(output), zero_of(output)) != (1 / 256, -128):
        raise UnsupportedError("SOFTMAX of int8 has an output scale of 1/256 and a zero point of -128")
    multiplier, shift = multiplier_of(min(beta * scale_of(read) * (1 << 26), (1 << 31) - 1.0))
    least = {"multiplier": multiplier, "shift": shift, "least": max(-input_radius(5, shift), -256)}
    return _Made(kind="bq_softmax", fields={"run": _kernel("softmax", read), **ends, **sizes, **least})


def _mapped(network: _Network, step: Step) -> _Made:
    op, read, output, ends = _one(network, step)
    name = f"map_{step.ops[0]}"
    return _Made(
        kind="bq_map",
        fields={"run": "bq_lookup", **ends, "count": read.size, "table": name},
        arrays=(ctext.array("uint8_t", name, table_of(op.code, read, output).tolist()),),
    )


def _concatenation(network: _Network, step: Step) -> _Made:
    op = network.graph.ops[step.ops[0]]
    output = network.tensor(op.outputs[0])
    axis = op.options["axis"] % len(output.shape)
    if activation_range(op, output) != code_range(output):
        raise UnsupportedError("the C runtime has no concatenation with a fused activation")
    parts, arrays = [], []
    for place, index in enumerate(op.inputs):
        tensor = network.tensor(index)
        table = rescaled(tensor, output)
        if tensor.data is not None or (table is not None and output.dtype == "int8"):
            raise UnsupportedError("the C runtime concatenates int8 activations of equal scale only, and no constants")
        name = f"map_{step.ops[0]}_{place}"
        if table is not None:
            arrays.append(ctext.array("uint8_t", name, table.tolist()))
        parts.append((network.offset(index), prod(tensor.shape[axis:]), "NULL" if table is None else name))
    outer = prod(output.shape[:axis])
    return _joined(f"step_{step.ops[0]}", parts, outer, network.offset(op.outputs[0]), tuple(arrays))


def _joined(name: str, parts: list[tuple[int, int, str]], outer: int, output: object, arrays: tuple[str, ...]) -> _Made:
    listed = [{"offset": offset, "bytes": nbytes, "table": table} for offset, nbytes, table in parts]
    return _Made(
        kind="bq_join",
        fields={
            "run": "bq_concatenation",
            "output": output,
            "outer": outer,
            "parts": f"parts_of_{name}",
            "part_count": len(parts),
        },
        arrays=(*arrays, ctext.array("bq_part", f"parts_of_{name}", listed)),
    )


def _pad(network: _Network, step: Step) -> _Made:
    op, read, output, ends = _one(network, step)
    margins = network.tensor(op.inputs[1]).data
    assert margins is not None
    before = [int(first) for first, _ in margins]
    extra = len(read.shape) - 3
    if extra > 0 and any(prod(shape[:extra]) != 1 for shape in (read.shape, output.shape)):
        raise UnsupportedError(f"the C runtime pads height, width and channels, not {read.shape} to {output.shape}")
    sizes = [[1] * -extra + list(shape)[max(extra, 0) :] for shape in (read.shape, output.shape)]
    return _Made(
        kind="bq_margins",
        fields={
            "run": "bq_pad",
            **ends,
            "size": sizes[0],
            "before": [0] * -extra + before[max(extra, 0) :],
            "out_size": sizes[1],
            "code": zero_of(output) & 0xFF,
        },
    )


_RULES: Mapping[str, Callable[[_Network, Step], _Made | None]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "MUL": _multiply,
    "PAD": _pad,
    "RESHAPE": _free,
    "SOFTMAX": _softmax,
    "SQUEEZE": _free,
    **dict.fromkeys(MAPPED, _mapped),
}
KERNELS = tuple(sorted(_RULES))
"""Operators that the C runtime has."""
