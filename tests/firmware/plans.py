"""Schedules made by hand for tests: every buffer in a place of its own, with a margin that nothing may touch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED
from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.schedule import Schedule, Step
from bqsearch.hardware.scratch import decoder_bytes, scratch_sizes
from bqsearch.packing.container import Coded

MARGIN = 8  # bytes between buffers


@dataclass(frozen=True, kw_only=True)
class Group:
    """Operators of one step, by index; others are executed whole.

    Attributes:
        ops: In order.
        kind: As in `Step`.
        rows: Of a strip.
        direct: Whether a strip goes to the output without a buffer of its own.
    """

    ops: tuple[int, ...]
    kind: Literal["whole", "in_place", "strips"]
    rows: int | None = None
    direct: bool = False


class _Arena:
    """Gives out places, one behind the other."""

    def __init__(self) -> None:
        self.top = MARGIN

    def take(self, tensor: int | None, nbytes: int) -> Buffer:
        buffer = Buffer(tensor=tensor, offset=self.top, nbytes=nbytes, first=0, last=0)
        self.top += -(-nbytes // 4) * 4 + MARGIN
        return buffer


def plan(graph: Graph, coded: Mapping[int, Coded] | None = None, groups: Iterable[Group] = ()) -> Schedule:
    """A schedule; in-place outputs lie where the first input does."""
    tables = {op: decoder_bytes(c.coding, len(c.table)) for op, c in (coded or {}).items()}
    first = {group.ops[0]: group for group in groups}
    inside = {op for group in first.values() for op in group.ops[1:]}
    arena, buffers, steps = _Arena(), {}, []
    for tensor in graph.inputs:
        buffers[tensor] = arena.take(tensor, graph.tensors[tensor].nbytes)
    for index, op in enumerate(graph.ops):
        if index in inside:
            continue
        free = SUPPORTED[op.code].work == "free"
        group = first.get(index, Group(ops=(index,), kind="in_place" if free else "whole"))
        sizes = list(scratch_sizes(graph, group.ops, group.kind, group.rows, tables))
        if group.direct:
            sizes[-1] = 0
        scratch = tuple(arena.take(None, nbytes) for nbytes in sizes)
        steps.append(Step(kind=group.kind, ops=group.ops, rows=group.rows, scratch=scratch))
        output = graph.ops[group.ops[-1]].outputs[0]
        nbytes = graph.tensors[output].nbytes
        if group.kind == "in_place":
            offset = buffers[op.inputs[0]].offset
            buffers[output] = Buffer(tensor=output, offset=offset, nbytes=nbytes, first=0, last=0)
        else:
            buffers[output] = arena.take(output, nbytes)
    end = Buffer(tensor=None, offset=arena.top, nbytes=4, first=0, last=0)
    return Schedule(steps=tuple(steps), buffers=(*buffers.values(), end))


def untouched(schedule: Schedule) -> list[int]:
    """The bytes of the arena that belong to no buffer."""
    used = bytearray(schedule.nbytes)
    for buffer in [*schedule.buffers[:-1], *(buffer for step in schedule.steps for buffer in step.scratch)]:
        used[buffer.offset : buffer.end] = b"\1" * buffer.nbytes
    return [i for i, byte in enumerate(used) if not byte]
