"""Schedules made by hand for tests: every buffer in a place of its own, or as a test wants it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED
from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.schedule import Schedule, Step
from bqsearch.hardware.scratch import decoder_bytes, scratch_sizes
from bqsearch.packing.container import Coded


@dataclass
class Arena:
    """Gives out places, one behind the other."""

    top: int = 0
    places: dict[int, int] = field(default_factory=dict)

    def take(self, tensor: int | None, nbytes: int, step: int = 0) -> Buffer:
        buffer = Buffer(tensor=tensor, offset=self.top, nbytes=nbytes, first=step, last=step)
        self.top += -(-nbytes // 4) * 4
        return buffer


def plan(
    graph: Graph,
    coded: Mapping[int, Coded] | None = None,
    groups: Iterable[tuple[tuple[int, ...], str, int | None]] = (),
    direct: bool = False,
) -> Schedule:
    """Groups of operators as (indices, kind, rows), and all other operators whole.

    In-place outputs lie where the (first) input does; `direct` leaves the strip buffers out where that is allowed.
    """
    tables = {op: decoder_bytes(c.coding, len(c.table)) for op, c in (coded or {}).items()}
    grouped = {ops[0]: (ops, kind, rows) for ops, kind, rows in groups}
    inside = {op for ops, _, _ in grouped.values() for op in ops[1:]}
    arena, buffers, steps = Arena(), {}, []
    for tensor in graph.inputs:
        buffers[tensor] = arena.take(tensor, graph.tensors[tensor].nbytes)
    for index in range(len(graph.ops)):
        if index in inside:
            continue
        free = SUPPORTED[graph.ops[index].code].work == "free"
        ops, kind, rows = grouped.get(index, ((index,), "in_place" if free else "whole", None))
        sizes = list(scratch_sizes(graph, ops, kind, rows, tables))
        if (direct and kind == "strips" and graph.ops[ops[-1]].code != "CONV_2D") or (direct and len(ops) == 1):
            sizes[-1] = 0 if kind == "strips" else sizes[-1:] and sizes[-1]
        steps.append(Step(kind=kind, ops=ops, rows=rows, scratch=tuple(arena.take(None, n, len(steps)) for n in sizes)))
        output = graph.ops[ops[-1]].outputs[0]
        nbytes = graph.tensors[output].nbytes
        if kind == "in_place":
            source = buffers[graph.ops[ops[0]].inputs[0]]
            buffers[output] = Buffer(tensor=output, offset=source.offset, nbytes=nbytes, first=0, last=0)
        else:
            buffers[output] = arena.take(output, nbytes, len(steps) - 1)
    return Schedule(steps=tuple(steps), buffers=tuple(buffers.values()))
