"""The arena plan: where each activation lies in RAM, for how long, and where decoded weights find room beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED
from bqsearch.hardware.buffers import Buffer, lowest_gap

ALIGNMENT = 4  # bytes; 32-bit loads of int32 activations


@dataclass(frozen=True, kw_only=True)
class ArenaPlan:
    """Activations in an arena.

    Attributes:
        buffers: All of them, each with its place; steps are the operators' indices.
        operators: Number of operators.
    """

    buffers: tuple[Buffer, ...]
    operators: int

    @cached_property
    def live(self) -> tuple[tuple[Buffer, ...], ...]:
        """For each operator the buffers that stand during it, by offset."""
        ordered = sorted(self.buffers, key=lambda b: b.offset)
        return tuple(tuple(b for b in ordered if b.first <= op <= b.last) for op in range(self.operators))

    @cached_property
    def nbytes(self) -> int:
        """Size of the arena."""
        return max((b.end for b in self.buffers), default=0)

    @cached_property
    def lower_bound(self) -> int:
        """Most bytes that stand at a time: no placement needs fewer."""
        return max((sum(b.nbytes for b in live) for live in self.live), default=0)

    def with_scratch(self, scratch: Mapping[int, int]) -> tuple[int, int]:
        """Room for buffers that stand during one operator only, each at the lowest gap between the live activations.

        Args:
            scratch: Bytes by operator index.

        Returns:
            Size of the arena, and the index of the operator that sets it.
        """
        ends = [self.end(op, scratch.get(op, 0)) for op in range(self.operators)]
        peak = max(range(self.operators), key=ends.__getitem__)
        return ends[peak], peak

    def end(self, op: int, nbytes: int) -> int:
        """Bytes that the arena must have during an operator that needs `nbytes` beside its activations."""
        placed = self.live[op]
        top = max((b.end for b in placed), default=0)
        return max(top, _gap(placed, nbytes) + nbytes) if nbytes else top


def plan_arena(graph: Graph) -> ArenaPlan:
    """Place all activations.

    Greedy by size, largest first, at the lowest offset that is free over the whole lifetime, as TensorFlow Lite Micro's
    GreedyMemoryPlanner does.
    """
    placed: list[Buffer] = []
    for tensor, nbytes, first, last in sorted(_lifetimes(graph), key=lambda b: (-b[1], b[2])):
        offset = _gap([b for b in placed if b.first <= last and first <= b.last], nbytes)
        placed.append(Buffer(tensor=tensor, offset=offset, nbytes=nbytes, first=first, last=last))
    return ArenaPlan(buffers=tuple(placed), operators=len(graph.ops))


def _gap(beside: Iterable[Buffer], nbytes: int) -> int:
    """The lowest offset at which `nbytes` fit between buffers."""
    return lowest_gap([(b.offset, b.end) for b in beside], nbytes, ALIGNMENT)


def _lifetimes(graph: Graph) -> list[tuple[int, int, int, int]]:
    """Tensor, bytes, first and last operator of every activation that has memory of its own."""
    owner = _owners(graph)
    first: dict[int, int] = {owner[t]: 0 for t in graph.inputs}
    last = dict(first)
    for index, op in enumerate(graph.ops):
        for tensor in (t for t in (*op.inputs, *op.outputs) if t in owner):
            first.setdefault(owner[tensor], index)
            last[owner[tensor]] = index
    for tensor in graph.outputs:
        last[owner[tensor]] = len(graph.ops) - 1
    return [(t, graph.tensors[t].nbytes, first[t], last[t]) for t in first]


def _owners(graph: Graph) -> dict[int, int]:
    """For each activation the tensor whose memory it lies in: itself, or what a free operator only views anew."""
    owner = {t: t for t in graph.inputs}
    for op in graph.ops:
        free = SUPPORTED[op.code].work == "free"
        for tensor in op.outputs:
            owner[tensor] = owner.get(op.inputs[0], tensor) if free else tensor
    return owner
