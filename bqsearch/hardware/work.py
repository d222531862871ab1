"""Work: what the C runtime's kernels do in an inference, counted in units that take about the same instructions each.

Units are named by the loop that they are a turn of: `pair.mac_s8` is a multiply-accumulate of `bq_dot_pair` for int8.
Counting follows the kernels' sources (`firmware/source`), so the two change together.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from math import prod

from ai_edge_litert import schema_py_generated as schema

from bqsearch.compress import CompressedLayer
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import SUPPORTED, source
from bqsearch.hardware.linked import SUFFIX, VARIANT, arithmetic_of
from bqsearch.hardware.schedule import Schedule, Step
from bqsearch.hardware.scratch import DENSE_BLOCK
from bqsearch.quantizers.arithmetic import Arithmetic

_ALWAYS = "inference"  # a unit that there is one of
_UNROLLED, _UNROLLED_ALONE = 4, 8  # MACs a turn of bq_dot_pair, and of bq_dot
_NIBBLE = 4  # bits


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A layer's coded weights, as far as their decoding takes time.

    Attributes:
        coding: Of `packing.streams`.
        arithmetic: How the kernel computes with them.
        stream_bytes: Of the stream.
        table_bytes: Of the table.
        kept: Weights that are not zero.
    """

    coding: str
    arithmetic: Arithmetic
    stream_bytes: int
    table_bytes: int
    kept: int

    @classmethod
    def of(cls, entry: CompressedLayer) -> "Stream":
        """Of a layer under its choice."""
        option = entry.option
        return cls(
            coding=option.choice.coding,
            arithmetic=arithmetic_of(entry),
            stream_bytes=option.stream_bytes,
            table_bytes=option.table_bytes,
            kept=option.kept,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was counted on an emulated board, by `benchmarks/instructions.py`.

    Attributes:
        units: Instructions of each unit.
        stack: Most bytes of stack by kind of kernel: `conv`, `dense`, `depthwise`, `chain` and `other`.
    """

    units: Mapping[str, float]
    stack: Mapping[str, int]

    def deepest(self, graph: Graph) -> int:
        """Bytes of stack that the network's kernels use at most."""
        return max(self.stack[kind] for op in graph.ops for kind in kinds(graph, op))


def load(name: str) -> Measured:
    """By the name of a board's table of code; see `linked`."""
    value = json.loads((files("bqsearch.hardware") / "instructions" / f"{name}.json").read_text("utf-8"))
    return Measured(
        units={unit: float(count) for unit, count in value["units"].items()},
        stack={kind: int(nbytes) for kind, nbytes in value["stack"].items()},
    )


def kinds(graph: Graph, op: Op) -> tuple[str, ...]:
    """Of the kernels that may execute an operator, as in `Measured.stack`."""
    if op.code == "FULLY_CONNECTED":
        return ("dense",) if _is_row(graph, op) else ("conv",)
    return {"CONV_2D": ("conv",), "DEPTHWISE_CONV_2D": ("depthwise", "chain")}.get(op.code, ("other",))


@dataclass(frozen=True, kw_only=True)
class Window:
    """A filter's way over its input.

    Attributes:
        size: Height and width of the filter.
        stride: Likewise.
        dilation: Likewise.
        read: Height and width of the input.
        made: Of the output.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    read: tuple[int, int]
    made: tuple[int, int]
    same: bool

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns that an output code reads."""
        rows, columns = ((s - 1) * d + 1 for s, d in zip(self.size, self.dilation, strict=True))
        return rows, columns

    @property
    def padding(self) -> tuple[int, int]:
        """Rows above the input, and columns left of it."""
        if not self.same:
            return 0, 0
        sides = zip(self.made, self.stride, self.reach, self.read, strict=True)
        rows, columns = (max((made - 1) * stride + reach - read, 0) // 2 for made, stride, reach, read in sides)
        return rows, columns

    def inside(self, axis: int, place: int) -> int:
        """Rows or columns of the filter that lie over the input, for one row or column of the output."""
        start = place * self.stride[axis] - self.padding[axis]
        taps = (start + i * self.dilation[axis] for i in range(self.size[axis]))
        return sum(0 <= tap < self.read[axis] for tap in taps)

    @cached_property
    def lines(self) -> int:
        """Rows of the filter that lie over the input, all output rows together."""
        return sum(self.inside(0, row) for row in range(self.made[0]))

    @cached_property
    def columns(self) -> tuple[int, int, int]:
        """Of an output row the pairs that bq_conv computes together, the single codes, and the columns that those have
        over the input."""
        last = self.read[1] - (self.size[1] - 1) * self.dilation[1] - self.stride[1]
        pairs = singles = covered = column = 0
        while column < self.made[1]:
            start = column * self.stride[1] - self.padding[1]
            if 0 <= start < last and column + 1 < self.made[1]:
                pairs, column = pairs + 1, column + 2
            else:
                singles, covered, column = singles + 1, covered + self.inside(1, column), column + 1
        return pairs, singles, covered


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """Counts of one network.

    Attributes:
        graph: The network.
    """

    graph: Graph
    _known: dict[tuple[object, ...], Counter[str]] = field(default_factory=dict, repr=False)

    def counts(self, schedule: Schedule, streams: Mapping[int, Stream]) -> Counter[str]:
        """Units of an inference.

        Args:
            schedule: What is executed.
            streams: Of each operator with weights.
        """
        total = Counter({_ALWAYS: 1})
        for step in schedule.steps:
            total += self.of_step(step, {op: streams[op] for op in step.ops if op in streams})
        return total

    def of_step(self, step: Step, streams: Mapping[int, Stream]) -> Counter[str]:
        """Units of one step, with the streams of its layers."""
        variants, direct = tuple(stream.arithmetic for stream in streams.values()), _is_direct(step)
        key = (step.ops, step.kind, step.rows, direct, variants)
        if key not in self._known:
            self._known[key] = self._step(step, variants, direct)
        total = Counter(self._known[key])
        for op, stream in streams.items():
            total += self._decoding(self.graph.ops[op], stream, self._strips(step))
        return total

    def products(self, schedule: Schedule, streams: Mapping[int, Stream]) -> int:
        """Multiplications of a weight and an input in an inference; shifts and signs take none but in chains, whose
        kernel multiplies by any weight.

        Args:
            schedule: What is executed.
            streams: Of each operator with weights.
        """
        chained = {op for step in schedule.steps if len(step.ops) > 1 for op in step.ops}
        return sum(
            self._macs(self.graph.ops[op])
            for op, stream in streams.items()
            if stream.arithmetic == "multiply" or op in chained
        )

    def _macs(self, op: Op) -> int:
        weights, output = self.graph.tensors[op.inputs[1]], self.graph.tensors[op.outputs[0]]
        taps = weights.shape[1:3] if op.code == "DEPTHWISE_CONV_2D" else weights.shape[1:]
        return output.size * prod(taps)

    def _step(self, step: Step, variants: tuple[Arithmetic, ...], direct: bool) -> Counter[str]:
        ops = [self.graph.ops[index] for index in step.ops]
        suffix = SUFFIX[self._output(ops[-1]).dtype]
        if any(op.code == "DEPTHWISE_CONV_2D" for op in ops):
            whole = len(ops) == 1 and step.kind != "strips"
            found = self._depthwise(ops[0]) if whole else self._chain(ops, step, direct)
        elif ops[0].code == "CONV_2D" or (ops[0].code == "FULLY_CONNECTED" and not _is_row(self.graph, ops[0])):
            found = self._convolution(ops[0], step, variants[0], direct)
        elif ops[0].code == "FULLY_CONNECTED":
            found = self._dense(ops[0], variants[0])
        else:
            found = self._other(ops[0], step, direct)
        return Counter({f"{unit}_{suffix}": count for unit, count in found.items() if count})

    def _strips(self, step: Step) -> int:
        """How many there are; each decodes the weights of all its operators."""
        if step.rows is None:
            return 1
        ops = [self.graph.ops[index] for index in step.ops]
        paced = next((op for op in ops if op.code == "DEPTHWISE_CONV_2D"), ops[0])
        return -(-self._output(paced).shape[1] // step.rows)

    def _output(self, op: Op) -> Tensor:
        return self.graph.tensors[op.outputs[0]]

    def _input(self, op: Op) -> Tensor:
        return self.graph.tensors[source(op)]

    def _window(self, op: Op) -> Window:
        options = op.options
        pooling = "filterHeight" in options
        size = (
            (options["filterHeight"], options["filterWidth"])
            if pooling
            else self.graph.tensors[op.inputs[1]].shape[1:3]
        )
        return Window(
            size=(int(size[0]), int(size[1])),
            stride=(int(options["strideH"]), int(options["strideW"])),
            dilation=(int(options.get("dilationHFactor", 1)), int(options.get("dilationWFactor", 1))),
            read=_sides(self._input(op)),
            made=_sides(self._output(op)),
            same=options["padding"] == schema.Padding.SAME,
        )

    def _convolution(self, op: Op, step: Step, variant: Arithmetic, direct: bool) -> Counter[str]:
        filters = self.graph.tensors[op.inputs[1]].shape
        channels, depth = filters[0], filters[-1]
        of, strips = VARIANT[variant], self._strips(step)
        found = Counter({"operator": 1, "strip": strips, "channel": channels * strips})
        found["strip.byte"] = self._output(op).size if step.kind == "strips" and not direct else 0
        if variant != "multiply":
            found[f"prepare{of}"] = channels * prod(filters[1:]) * strips
        if op.code == "FULLY_CONNECTED":
            return found + _pixels(of, self._output(op).size // channels, depth, channels)
        window = self._window(op)
        if window.size == (1, 1) and window.stride == (1, 1):
            pixels = prod(window.made) // strips
            for _ in range(strips):
                found += _pixels(of, pixels, depth, channels)
            return found
        return found + _scaled(_filter(of, window, depth), channels)

    def _dense(self, op: Op, variant: Arithmetic) -> Counter[str]:
        units, features = self.graph.tensors[op.inputs[1]].shape
        whole, rest = divmod(features, DENSE_BLOCK)
        of = VARIANT[variant]
        found = Counter({"operator": 1, "unit": units, "block": units * (whole + (rest > 0))})
        found += _scaled(_alone(of, DENSE_BLOCK), units * whole)
        if rest:
            found += _scaled(_alone(of, rest), units)
        if variant != "multiply":
            found[f"prepare{of}"] = units * features
        return found

    def _depthwise(self, op: Op) -> Counter[str]:
        window = self._window(op)
        rows = _fetched(window, 0, window.made[0])
        found = Counter({"fetch.channel": 1}) + _rows(window) + _taken(window, *rows)
        return Counter({"operator": 1}) + _scaled(found, self._output(op).shape[3])

    def _chain(self, ops: list[Op], step: Step, direct: bool) -> Counter[str]:
        place = next(i for i, op in enumerate(ops) if op.code == "DEPTHWISE_CONV_2D")
        expand, depthwise, project = ops[:place], ops[place], ops[place + 1 :]
        window = self._window(depthwise)
        channels = self._input(depthwise).shape[3]
        shared = max(window.reach[0] - window.stride[0], 0) if step.scratch[3].nbytes else 0
        strips = self._strips(step)
        found = Counter({"operator": 1, "strip": strips, "chain.channel": channels * strips})
        found += _scaled(_rows(window), channels)
        height = step.rows or window.made[0]
        for begin in range(0, window.made[0], height):
            end = min(begin + height, window.made[0])
            kept = shared if begin else 0
            fetched, over = _fetched(window, begin, end, kept)
            moved = kept + (shared if end < window.made[0] else 0)
            found["chain.moved"] += channels * moved
            found["chain.byte"] += channels * moved * window.read[1]
            if expand:
                depth = self._input(expand[0]).shape[3]
                found += _scaled(_pixels("", window.read[1], depth, 1), channels * over)
                found["fetch.row"] += channels * fetched
            else:
                found += _scaled(_taken(window, fetched, over), channels)
            if project:
                pixels, made = (end - begin) * window.made[1], self._output(project[0]).shape[3]
                found += Counter({"channel": made}) + _pixels("", pixels, channels, made)
            elif not direct:
                found["strip.byte"] += (end - begin) * window.made[1] * channels
        return found

    def _other(self, op: Op, step: Step, direct: bool) -> Counter[str]:
        output, read = self._output(op), self._input(op)
        name = op.code.lower()
        found = Counter({"operator": 1})
        if op.code in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            window = self._window(op)
            columns = sum(window.inside(1, column) for column in range(window.made[1]))
            found[f"{name}.tap"] = window.lines * columns * output.shape[3]
            found[f"{name}.line"] = window.lines * window.made[1] * output.shape[3]
            found[name] = output.size
            found["strip.byte"] = output.size if step.kind == "strips" and not direct else 0
        elif op.code == "MEAN":
            found[f"{name}.tap"], found[name] = read.size, output.size
        elif op.code == "SOFTMAX":
            found[f"{name}.row"], found[name] = read.size // read.shape[-1], read.size
        elif op.code == "PAD":
            found["pad.byte"], found["pad.pixel"] = output.size, read.size // read.shape[-1]
            found["pad.copied"] = read.size
        elif op.code == "CONCATENATION":
            outer = prod(output.shape[: op.options["axis"] % len(output.shape)])
            found["join.part"], found["join.byte"] = outer * len(op.inputs), output.size
        elif SUPPORTED[op.code].work == "free":
            found["join.byte"] = 0 if step.kind == "in_place" else output.size
        elif op.code in ("ADD", "MUL"):
            found[name] = output.size
        else:
            found["lookup"] = output.size
        return found

    def _decoding(self, op: Op, stream: Stream, strips: int) -> Counter[str]:
        """Of one layer's stream, so many times; whatever the codes' type."""
        weights = self.graph.tensors[op.inputs[1]]
        coding = stream.coding
        if coding == "packed":
            coding = (
                "nibbles"
                if stream.stream_bytes * 8 < weights.size * (_NIBBLE + 1) and (stream.stream_bytes * 2 >= weights.size)
                else "packed"
            )
        filters = weights.shape[3] if op.code == "DEPTHWISE_CONV_2D" else weights.shape[0]
        found = Counter({f"{coding}.open": 1, f"{coding}.read": filters, f"{coding}.weight": weights.size})
        found["table.byte"] = stream.table_bytes
        if coding in ("packed", "huffman", "mask", "sparse"):
            found[f"{coding}.byte"] = stream.stream_bytes
        if coding in ("mask", "sparse"):
            found[f"{coding}.kept"] = stream.kept
        return _scaled(found, strips)


@dataclass(frozen=True, kw_only=True, eq=False)
class Instructions:
    """Of one network on one board; what a step takes is kept, for a search comes back to most of them.

    Attributes:
        work: The network's.
        units: Instructions of each unit.
    """

    work: Work
    units: Mapping[str, float]
    _known: dict[tuple[object, ...], float] = field(default_factory=dict, repr=False)

    def count(self, schedule: Schedule, streams: Mapping[int, Stream]) -> float:
        """Of an inference; arguments as in `Work.counts`."""
        return self.units[_ALWAYS] + sum(self._of_step(step, streams) for step in schedule.steps)

    def _of_step(self, step: Step, streams: Mapping[int, Stream]) -> float:
        own = {op: streams[op] for op in step.ops if op in streams}
        key = (step.ops, step.kind, step.rows, _is_direct(step), *own.items())
        if key not in self._known:
            counts = self.work.of_step(step, own)
            self._known[key] = sum(self.units[unit] * count for unit, count in counts.items())
        return self._known[key]


def _is_direct(step: Step) -> bool:
    """Whether strips are written as they are made."""
    return bool(step.scratch) and step.scratch[-1].nbytes == 0


def _is_row(graph: Graph, op: Op) -> bool:
    """Whether a dense layer has one row of features; else it is a pointwise convolution."""
    return graph.tensors[op.outputs[0]].size == graph.tensors[op.inputs[1]].shape[0]


def _sides(tensor: Tensor) -> tuple[int, int]:
    return tensor.shape[1], tensor.shape[2]


def _scaled(counts: Counter[str], times: int) -> Counter[str]:
    return Counter({unit: count * times for unit, count in counts.items()})


def _pair(of: str, taps: int, lines: int) -> Counter[str]:
    """Of bq_dot_pair."""
    rest = taps % _UNROLLED
    return Counter({f"pair.mac{of}": 2 * lines * (taps - rest), f"pair.rest{of}": 2 * lines * rest, "pair.line": lines})


def _alone(of: str, taps: int) -> Counter[str]:
    """Of bq_dot."""
    rest = taps % _UNROLLED_ALONE
    return Counter({f"dot.mac{of}": taps - rest, f"dot.rest{of}": rest, "dot": 1})


def _pixels(of: str, pixels: int, depth: int, channels: int) -> Counter[str]:
    """Of bq_pixels."""
    found = Counter({"pixels": 1, "pixels.pair": pixels // 2}) + _pair(of, depth, pixels // 2)
    if pixels % 2:
        found += _alone(of, depth) + Counter({"pixels.last": 1})
    return _scaled(found, channels)


def _filter(of: str, window: Window, depth: int) -> Counter[str]:
    """Of one filter of bq_conv over the whole input."""
    pairs, singles, covered = window.columns
    rows, taps, lines = window.made[0], window.size[1] * depth, window.lines
    dense = window.dilation[1] == 1
    found = _scaled(_pair(of, taps, 1) if dense else _scaled(_pair(of, depth, 1), window.size[1]), pairs * lines)
    alone = _scaled(_alone(of, depth), covered * lines)
    if dense and singles:
        alone = Counter({f"dot.mac{of}": covered * depth * lines, "dot": singles * lines})
    missing = (window.size[0] * rows - lines) * taps + (singles * window.size[1] - covered) * depth * lines
    found += alone
    found += Counter({"conv.row": rows, "conv.pair": pairs * rows, "conv.single": singles * rows})
    return found + Counter({"conv.line": singles * lines, f"conv.outside{of}": missing})


def _rows(window: Window) -> Counter[str]:
    """Of bq_window_row, for all output rows of a channel."""
    rows, codes = window.made[0], prod(window.made)
    if window.size == (3, 3) and window.dilation == (1, 1):
        return Counter({"window.row": rows, "window.nine": codes})
    return Counter(
        {
            "window.row": rows,
            "window.code": codes,
            "window.line": codes * window.size[0],
            "window.mac": codes * prod(window.size),
        }
    )


def _fetched(window: Window, begin: int, end: int, kept: int = 0) -> tuple[int, int]:
    """Rows that come into a channel's window for some output rows, and those among them that the input has."""
    first = begin * window.stride[0] + kept
    reached, fetched, over = first, 0, 0
    for row in range(begin, end):
        reached = max(reached, row * window.stride[0])
        while reached < row * window.stride[0] + window.reach[0]:
            fetched += 1
            over += 0 <= reached - window.padding[0] < window.read[0]
            reached += 1
    return fetched, over


def _taken(window: Window, fetched: int, over: int) -> Counter[str]:
    """Rows that a channel's window takes from an input that is there."""
    width = (window.made[1] - 1) * window.stride[1] + window.reach[1]
    columns = min(window.read[1], width - window.padding[1])
    return Counter({"fetch.row": fetched, "fetch.code": over * columns})
