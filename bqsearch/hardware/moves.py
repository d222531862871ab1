"""Moves: the ways in which bqsearch's own runtime can execute an operator, or a chain of them, in one step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from bqsearch.graph.ir import Graph, Op
from bqsearch.graph.ops import SUPPORTED, source
from bqsearch.hardware.scratch import scratch_sizes
from bqsearch.hardware.strips import gap, rows_of

ELEMENTWISE = frozenset(["ADD", "LOGISTIC", "MUL", "QUANTIZE", "RELU", "RELU6", "RSQRT"])
POOLS = frozenset(["AVERAGE_POOL_2D", "MAX_POOL_2D"])


@dataclass(frozen=True, kw_only=True)
class Move:
    """One step that a schedule may have. Tensors are named by their owners: see `Activations`.

    Attributes:
        kind: As in `schedule.Step`.
        ops: Indices of the operators, in order.
        rows: Output rows of a strip; None but for strips.
        strips: How many there are, 1 but for strips.
        direct: Whether strips are written as they are made, without a buffer.
        reads: Activations that it reads.
        writes: Activations that come to be.
        onto: The one among `reads` in whose memory the output lies, at its offset for `in_place`; None for `whole`.
        gap: Strips only: how many bytes before `onto` the output begins at least, if it does not begin behind it.
        repeated: Weights that are decoded again, after the first time.
        scratch: Bytes of scratch buffers, with the decoders that are reckoned with.
    """

    kind: Literal["whole", "in_place", "strips"]
    ops: tuple[int, ...]
    rows: int | None = None
    strips: int = 1
    direct: bool = False
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    onto: int | None = None
    gap: int = 0
    repeated: int = 0
    scratch: tuple[int, ...] = ()

    def sized(self, graph: Graph, tables: Mapping[int, int]) -> tuple[int, ...]:
        """Bytes of the scratch buffers, with `tables` bytes of RAM for each operator's decoder."""
        sizes = scratch_sizes(graph, self.ops, self.kind, self.rows, tables)
        return (*sizes[:-1], 0) if self.direct else sizes


@dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """A network's activations as memory sees them: those that are only viewed anew are one.

    Attributes:
        graph: The network.
        decoder: Bytes of RAM that each decoder of weights is reckoned to need in the moves.
    """

    graph: Graph
    decoder: int = 0

    @property
    def decoders(self) -> Mapping[int, int]:
        """`decoder` for each operator."""
        return dict.fromkeys(range(len(self.graph.ops)), self.decoder)

    @cached_property
    def owner(self) -> Mapping[int, int]:
        """For each activation the one whose memory it is: itself, or what RESHAPE and SQUEEZE view anew."""
        owner = {t: t for t in self.graph.inputs}
        for op in self.graph.ops:
            free = SUPPORTED[op.code].work == "free"
            for tensor in op.outputs:
                owner[tensor] = owner.get(op.inputs[0], tensor) if free else tensor
        return owner

    @cached_property
    def nbytes(self) -> Mapping[int, int]:
        """Bytes of each owner."""
        return {t: self.graph.tensors[t].nbytes for t in self.owner.values()}

    @cached_property
    def inputs(self) -> frozenset[int]:
        """Owners that stand from the start."""
        return frozenset(self.owner[t] for t in self.graph.inputs)

    @cached_property
    def outputs(self) -> frozenset[int]:
        """Owners that stand to the end."""
        return frozenset(self.owner[t] for t in self.graph.outputs)

    @cached_property
    def readers(self) -> Mapping[int, frozenset[int]]:
        """For each owner the operators that read it."""
        found: dict[int, set[int]] = {t: set() for t in self.nbytes}
        for index in range(len(self.graph.ops)):
            for tensor in self.reads(index):
                found[tensor].add(index)
        return {t: frozenset(ops) for t, ops in found.items()}

    @cached_property
    def writer(self) -> Mapping[int, int]:
        """For each owner but the inputs the operator that writes it."""
        return {t: index for index in range(len(self.graph.ops)) for t in self.writes(index)}

    def reads(self, index: int) -> tuple[int, ...]:
        """Owners that an operator reads."""
        return tuple(dict.fromkeys(self.owner[t] for t in self.graph.ops[index].inputs if t in self.owner))

    def writes(self, index: int) -> tuple[int, ...]:
        """Owners that an operator writes; none if it only views its input anew."""
        return tuple(t for t in self.graph.ops[index].outputs if self.owner[t] == t)

    @cached_property
    def moves(self) -> Sequence[tuple[Move, ...]]:
        """For each operator the moves that begin with it; a whole one comes first."""
        return tuple(tuple(self._moves(index)) for index in range(len(self.graph.ops)))

    def _moves(self, index: int) -> Iterator[Move]:
        if not self.writes(index):
            yield Move(kind="in_place", ops=(index,), reads=self.reads(index), writes=())
            return
        yield self._move("whole", (index,))
        for tensor in self._overwritable(index):
            yield replace(self._move("in_place", (index,)), onto=tensor)
        if self.graph.ops[index].code in POOLS | {"CONV_2D"} and self._alone(index):
            yield from self._strips((index,), index)
        for ops, middle in self._chains(index):
            yield from self._strips(ops, middle)

    def _move(self, kind: Literal["whole", "in_place"], ops: tuple[int, ...]) -> Move:
        sizes = scratch_sizes(self.graph, ops, kind, None, self.decoders)
        return Move(kind=kind, ops=ops, reads=self.reads(ops[0]), writes=self.writes(ops[-1]), scratch=sizes)

    def _overwritable(self, index: int) -> Iterator[int]:
        """What the output may lie on, if nobody needs it after the operator."""
        op = self.graph.ops[index]
        output = self.graph.tensors[op.outputs[0]]
        if op.code == "DEPTHWISE_CONV_2D" and self._alone(index) and self._keeps_channels(op):
            yield self.owner[source(op)]
        if op.code in ELEMENTWISE:
            for tensor in dict.fromkeys(t for t in op.inputs if t in self.owner):
                read = self.graph.tensors[tensor]
                if (read.shape, read.nbytes) == (output.shape, output.nbytes):
                    yield self.owner[tensor]

    def _alone(self, index: int) -> bool:
        """Whether an operator on images works on one of them, and reads nothing else that is computed."""
        op = self.graph.ops[index]
        return self.graph.tensors[source(op)].shape[0] == 1 and self.reads(index) == (self.owner.get(source(op)),)

    def _keeps_channels(self, op: Op) -> bool:
        """Whether a depthwise convolution has one filter for each channel."""
        return self.graph.tensors[source(op)].shape[3] == self.graph.tensors[op.outputs[0]].shape[3]

    def _chains(self, index: int) -> Iterator[tuple[tuple[int, ...], int]]:
        """Chains around a depthwise convolution that begin with an operator, and where in them the depthwise one is."""
        depthwise = self._follower(index) if self._is_pointwise(index) else index
        if depthwise is None or not self._is_depthwise(depthwise):
            return
        begin = (index,) if depthwise != index else ()
        project = self._follower(depthwise)
        if begin:
            yield (*begin, depthwise), depthwise
        if project is not None and self._is_pointwise(project):
            yield (*begin, depthwise, project), depthwise

    def _follower(self, index: int) -> int | None:
        """The one operator that reads what an operator writes, if nobody else needs that."""
        (output,) = self.graph.ops[index].outputs
        readers = self.graph.consumers.get(output, ())
        return readers[0] if len(readers) == 1 and output not in self.graph.outputs else None

    def _is_depthwise(self, index: int) -> bool:
        op = self.graph.ops[index]
        return op.code == "DEPTHWISE_CONV_2D" and self._alone(index) and self._keeps_channels(op)

    def _is_pointwise(self, index: int) -> bool:
        op = self.graph.ops[index]
        if op.code != "CONV_2D" or not self._alone(index):
            return False
        filters = self.graph.tensors[op.inputs[1]].shape[1:3]
        return filters == (1, 1) and (op.options["strideH"], op.options["strideW"]) == (1, 1)

    def _strips(self, ops: tuple[int, ...], middle: int) -> Iterator[Move]:
        """Strips of different heights; `middle` is the operator whose rows they are."""
        rows, (read,), (written,) = (
            rows_of(self.graph, self.graph.ops[middle]),
            self.reads(ops[0]),
            self.writes(ops[-1]),
        )
        input_row, output_row = self.nbytes[read] // rows.inputs, self.nbytes[written] // rows.outputs
        weights = sum(self._weights(index) for index in ops)
        chained = len(ops) > 1
        for height in _heights(rows.outputs):
            count = -(-rows.outputs // height)
            if count == 1 and not chained:
                continue  # whole
            sizes = scratch_sizes(self.graph, ops, "strips", height, self.decoders)
            for direct in (False, True) if ops[-1] == middle else (False,):
                carries = ops[0] != middle
                yield Move(
                    kind="strips",
                    ops=ops,
                    rows=height,
                    strips=count,
                    direct=direct,
                    reads=(read,),
                    writes=(written,),
                    onto=read,
                    gap=gap(rows, height, input_row, output_row, carries=carries, direct=direct),
                    repeated=(count - 1) * weights,
                    scratch=(*sizes[:-1], 0) if direct else sizes,
                )

    def _weights(self, index: int) -> int:
        position = SUPPORTED[self.graph.ops[index].code].weights
        return 0 if position is None else self.graph.tensors[self.graph.ops[index].inputs[position]].size


def _heights(outputs: int) -> list[int]:
    """One height for each number of strips that there can be, tallest first."""
    return sorted({-(-outputs // count) for count in range(1, outputs + 1)}, reverse=True)
