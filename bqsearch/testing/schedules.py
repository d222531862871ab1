"""The contract of a schedule: executed byte by byte, it computes what the network computes.

Every byte of the arena holds a number, every operator is a random linear map of the numbers that it reads, modulo a
prime, and the maps of convolutions and poolings read exactly their windows. What a step has written is compared with
the same maps over whole tensors that share no memory. A byte that is read after something else was written there
changes the result, but for one case in a million for each byte that depends on it.

Nothing here knows how a schedule was found. What is known is what the C runtime does: kernels of `whole` steps read and
write in any order, in-place ones element by element or channel plane by channel plane, and strips row by row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.ir import Graph, Op
from bqsearch.graph.ops import SUPPORTED
from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.schedule import ALIGNMENT, Schedule, Step
from bqsearch.hardware.scratch import scratch_sizes
from bqsearch.types import Ints

_PRIME = 1_048_573  # products of two residues can be summed 2 ** 23 times in int64
_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def check_schedule(graph: Graph, schedule: Schedule, tables: Mapping[int, int] | None = None, seed: int = 0) -> None:
    """Execute a schedule.

    Args:
        graph: The network.
        schedule: Of all its operators.
        tables: Bytes of RAM of each operator's decoder, which the schedule was made for; None for no codebooks.
        seed: Of the maps and inputs.

    Raises:
        AssertionError: A step computes something else than its operators, a buffer is too small or lies across others,
            or an operator is left out or executed twice; the message names the step.
    """
    executed = sorted(op for step in schedule.steps for op in step.ops)
    assert executed == list(range(len(graph.ops))), f"the steps execute operators {executed}"
    _Machine(graph=graph, schedule=schedule, tables=tables or {}, seed=seed).run()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Machine:
    """Arena and reference values; fields as in `check_schedule`, and what is worked out once."""

    graph: Graph
    schedule: Schedule
    tables: Mapping[int, int]
    seed: int
    expected: dict[int, Ints] = field(default_factory=dict)
    factors: dict[int, Ints] = field(default_factory=dict)
    columns: dict[tuple[int, int], tuple[Ints, Ints]] = field(default_factory=dict)

    @cached_property
    def arena(self) -> Ints:
        return self._random("arena", self.schedule.nbytes)

    def run(self) -> None:
        for tensor in self.graph.inputs:
            self.expected[tensor] = self._random(f"input {tensor}", self.graph.tensors[tensor].nbytes)
            self.write(tensor, self.expected[tensor])
        self.compare(self.graph.inputs, "the inputs")
        for number, step in enumerate(self.schedule.steps):
            for op in step.ops:
                self._expect(op)
            marks = self._mark(step)
            {"whole": self._whole, "in_place": self._in_place, "strips": self._strips}[step.kind](step)
            self.compare(self.graph.ops[step.ops[-1]].outputs, f"step {number} {step}")
            for buffer, mark in zip(step.scratch, marks, strict=True):
                assert (self.slots(buffer) == mark).all(), f"step {number} writes into its scratch {buffer}"
        self.compare(self.graph.outputs, "the outputs")

    def slots(self, buffer: Buffer) -> Ints:
        """The arena's slice."""
        return self.arena[buffer.offset : buffer.end]

    @cached_property
    def places(self) -> Mapping[int, Buffer]:
        """Of the tensors."""
        return {b.tensor: b for b in self.schedule.buffers if b.tensor is not None}

    def read(self, tensor: int) -> Ints:
        """What lies where a tensor should."""
        assert tensor in self.places, f"tensor {tensor} is read and has no place"
        assert self.places[tensor].nbytes == self.graph.tensors[tensor].nbytes
        return self.slots(self.places[tensor])

    def write(self, tensor: int, values: Ints) -> None:
        """Write a whole tensor."""
        self.read(tensor)[:] = values

    def compare(self, tensors: Sequence[int], where: str) -> None:
        for tensor in tensors:
            assert (self.read(tensor) == self.expected[tensor]).all(), (
                f"{where}: tensor {tensor} is not what it should be"
            )

    def _random(self, name: str, *shape: int) -> Ints:
        rng = np.random.default_rng([self.seed, *name.encode()])
        return rng.integers(1, _PRIME, shape)

    def _mark(self, step: Step) -> list[Ints]:
        """Fill the scratch buffers of a step, which must be as large as the kernels need."""
        needed = scratch_sizes(self.graph, step.ops, step.kind, step.rows, self.tables)
        sizes = tuple(buffer.nbytes for buffer in step.scratch)
        assert sizes == needed or (self._may_be_direct(step) and sizes == (*needed[:-1], 0)), f"{step}: {needed}"
        assert all(buffer.offset % ALIGNMENT == 0 for buffer in step.scratch)
        marks = [self._random(f"scratch {step.ops} {i}", nbytes) for i, nbytes in enumerate(sizes)]
        for buffer, mark in zip(step.scratch, marks, strict=True):
            self.slots(buffer)[:] = mark
        return marks

    def _may_be_direct(self, step: Step) -> bool:
        return step.kind == "strips" and self.graph.ops[step.ops[-1]].code in _WINDOWED and not self._projects(step)

    def _projects(self, step: Step) -> bool:
        return len(step.ops) > 1 and self.graph.ops[step.ops[-1]].code == "CONV_2D"

    def _read_by(self, op: Op) -> list[int]:
        return [t for t in op.inputs if t in self.expected or t in self.places]

    def _expect(self, index: int) -> None:
        """The values that an operator should make."""
        op = self.graph.ops[index]
        read = self._read_by(op)
        assert all(t in self.expected for t in read), f"operator {index} is executed before what it reads is there"
        given = [self.expected[t] for t in read]
        for number, output in enumerate(op.outputs):
            if SUPPORTED[op.code].work == "free":
                self.expected[output] = given[0]
            elif op.code in _WINDOWED:
                self.expected[output] = self._windowed(index, 0, self._shape(output)[1], given[0]).reshape(-1)
            else:
                self.expected[output] = self._mapped(index, number, given)

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return self.graph.tensors[tensor].shape

    def _mapped(self, index: int, number: int, given: Sequence[Ints]) -> Ints:
        """An output of an operator on elements: from the same element of inputs of its size, and from all of others."""
        nbytes = self.graph.tensors[self.graph.ops[index].outputs[number]].nbytes
        total = self._random(f"constants {index} {number}", nbytes)
        for place, values in enumerate(given):
            factors = self._random(f"factors {index} {number} {place}", len(values))
            made = values * factors % _PRIME
            total = total + (made if len(values) == nbytes else made.sum())
        return total % _PRIME

    def _windowed(self, index: int, begin: int, end: int, given: Ints) -> Ints:
        """Some rows of the output of a convolution or pooling, `(rows, width, channels)`, from the whole flat input."""
        op = self.graph.ops[index]
        height, width, depth = self._shape(op.inputs[0])[1:]
        image = given.reshape(height, width, depth)
        _, _, columns, channels = self._shape(op.outputs[0])
        factors = self._factors(index)
        total = np.zeros((end - begin, columns, channels), np.int64)
        for y in range(begin, end):
            for tap, row in self._taps(op, y):
                for shift in range(factors.shape[1]):
                    places, read = self._columns(index, shift)
                    total[y - begin, places] += self._given(image[row, read], factors[tap, shift])
        return total % _PRIME

    def _given(self, pixels: Ints, factors: Ints) -> Ints:
        """What one place of a filter gives to output pixels, `(n, channels)`, of the input pixels there."""
        if factors.ndim == 2:
            return pixels @ factors % _PRIME
        return np.repeat(pixels, len(factors) // pixels.shape[1], axis=1) * factors % _PRIME

    def _factors(self, index: int) -> Ints:
        """By a filter's rows and columns, of a convolution by input channels, and by output channels."""
        if index not in self.factors:
            op = self.graph.ops[index]
            taps, shifts = (self._side(op, axis, word) for axis, word in ((1, "Height"), (2, "Width")))
            depths = (self._shape(op.inputs[0])[3],) if op.code == "CONV_2D" else ()
            self.factors[index] = self._random(f"filter {index}", taps, shifts, *depths, self._shape(op.outputs[0])[3])
        return self.factors[index]

    def _columns(self, index: int, shift: int) -> tuple[Ints, Ints]:
        """The output columns for which a column of the filter lies inside, and the input columns where it lies."""
        if (index, shift) not in self.columns:
            op = self.graph.ops[index]
            found = [
                (x, at) for x in range(self._shape(op.outputs[0])[2]) for s, at in self._shifts(op, x) if s == shift
            ]
            pairs = np.array(found, np.int64).reshape(-1, 2)
            self.columns[index, shift] = (pairs[:, 0], pairs[:, 1])
        return self.columns[index, shift]

    def _taps(self, op: Op, y: int) -> Iterator[tuple[int, int]]:
        """The filter rows of an output row that lie on input rows, with those."""
        yield from self._line(op, y, 1, "H", "Height")

    def _shifts(self, op: Op, x: int) -> Iterator[tuple[int, int]]:
        yield from self._line(op, x, 2, "W", "Width")

    def _line(self, op: Op, at: int, axis: int, letter: str, word: str) -> Iterator[tuple[int, int]]:
        inputs, outputs = self._shape(op.inputs[0])[axis], self._shape(op.outputs[0])[axis]
        size = self._side(op, axis, word)
        stride, dilation = op.options[f"stride{letter}"], op.options.get(f"dilation{letter}Factor", 1)
        around = max((outputs - 1) * stride + (size - 1) * dilation + 1 - inputs, 0)
        margin = around // 2 if op.options["padding"] == schema.Padding.SAME else 0
        for tap in range(size):
            place = at * stride - margin + tap * dilation
            if 0 <= place < inputs:
                yield tap, place

    def _side(self, op: Op, axis: int, word: str) -> int:
        return int(op.options[f"filter{word}"] if f"filter{word}" in op.options else self._shape(op.inputs[1])[axis])

    def _whole(self, step: Step) -> None:
        """The kernel may have written all of its output before it reads its input."""
        (index,) = step.ops
        op = self.graph.ops[index]
        for output in op.outputs:
            self.write(output, self._random("junk", self.graph.tensors[output].nbytes))
        given = [self.read(t).copy() for t in self._read_by(op)]
        for number, output in enumerate(op.outputs):
            if SUPPORTED[op.code].work == "free":
                self.write(output, given[0])
            elif op.code in _WINDOWED:
                self.write(output, self._windowed(index, 0, self._shape(output)[1], given[0]).reshape(-1))
            else:
                self.write(output, self._mapped(index, number, given))

    def _in_place(self, step: Step) -> None:
        (index,) = step.ops
        op = self.graph.ops[index]
        offsets = [self.places[t].offset for t in self._read_by(op)]
        assert self.places[op.outputs[0]].offset in offsets, f"{step} is not in place"
        if op.code == "DEPTHWISE_CONV_2D":
            self._planes(index)
        elif SUPPORTED[op.code].work != "free":
            self._elements(index)

    def _elements(self, index: int) -> None:
        """Each element is read just before it is written."""
        op = self.graph.ops[index]
        for place in range(self.graph.tensors[op.outputs[0]].nbytes):
            value = self._mapped(index, 0, [self.read(t) for t in self._read_by(op)])[place]
            self.read(op.outputs[0])[place] = value

    def _planes(self, index: int) -> None:
        """Channel by channel; a row is taken into the window when an output row first needs it."""
        op = self.graph.ops[index]
        height, width, depth = self._shape(op.inputs[0])[1:]
        rows, columns = self._shape(op.outputs[0])[1:3]
        for channel in range(depth):
            window = self._random("junk", height, width, depth)
            taken = 0
            for y in range(rows):
                last = 1 + max((row for _, row in self._taps(op, y)), default=-1)
                memory = self.read(op.inputs[0]).reshape(height, width, depth)
                window[taken:last, :, channel] = memory[taken:last, :, channel]
                taken = max(taken, last)
                made = self._windowed(index, y, y + 1, window.reshape(-1))[0, :, channel]
                self.read(op.outputs[0]).reshape(rows, columns, depth)[y, :, channel] = made

    def _strips(self, step: Step) -> None:
        """Rows of the output, made from rows of the input; what is not in a buffer is overwritten at once."""
        middle = next((i for i in step.ops if self.graph.ops[i].code == "DEPTHWISE_CONV_2D"), step.ops[0])
        op, last = self.graph.ops[middle], self.graph.ops[step.ops[-1]]
        rows = self._shape(op.outputs[0])[1]
        assert step.rows is not None
        assert step.strips == -(-rows // step.rows), f"{step}: {rows} rows"
        expanded = self._random("junk", *self._shape(op.inputs[0])[1:])
        direct, done = step.scratch[-1].nbytes == 0, 0
        for begin in range(0, rows, step.rows):
            end = min(begin + step.rows, rows)
            target = self.read(last.outputs[0]).reshape(self._shape(last.outputs[0])[1:])[begin:end]
            if direct:
                target[:] = self._random("junk", *target.shape)
            if step.ops[0] == middle:
                source = self.read(op.inputs[0])
            else:
                reached = 1 + max((row for y in range(begin, end) for _, row in self._taps(op, y)), default=-1)
                first = self.graph.ops[step.ops[0]]
                expanded[done:reached] = self._windowed(step.ops[0], done, reached, self.read(first.inputs[0]))
                source, done = expanded.reshape(-1), max(done, reached)
            made = self._windowed(middle, begin, end, source)
            if last is not op:
                around = np.zeros(self._shape(last.inputs[0])[1:], np.int64)
                around[begin:end] = made
                made = self._windowed(step.ops[-1], begin, end, around.reshape(-1))
            target[:] = made
