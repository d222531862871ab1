"""The memory plan of bqsearch's own runtime: in which steps a network is executed, and where in the arena all lies.

Three things make the arena smaller than the sum of what stands at a time, layer by layer: operators that write their
output over their input, chains whose inner activations never exist as a whole, and strips, of which a later one's input
is already overwritten by an earlier one's output. Strips decode their weights again each time, so there is a staircase
of plans, from the least work to the least memory.

Activations are placed once for each plan. Scratch, whose size depends on how the weights are coded, is placed exactly
for each candidate of a search, in what the activations leave free.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware.buffers import Buffer, lowest_gap
from bqsearch.hardware.moves import Activations, Move
from bqsearch.hardware.order import Order, best_order
from bqsearch.hardware.schedule import ALIGNMENT, Schedule, Step
from bqsearch.hardware.scratch import aligned
from bqsearch.hardware.walk import Way, fitted, walk

DECODERS = (0, 16, 272)  # bytes: of raw weights, of 16 packed levels, and of 16 levels with their Huffman codes
STAIR = 64  # one plan's arena is at least this part of it smaller than the one's before it


@dataclass(frozen=True, kw_only=True, eq=False)
class ArenaPlan:
    """Steps, and the activations' places.

    Attributes:
        activations: The network's.
        moves: The steps, in order.
        places: Byte offset of each activation that stands between steps, by owner.
    """

    activations: Activations
    moves: tuple[Move, ...]
    places: Mapping[int, int]
    _sizes: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict, repr=False)  # of scratch
    _fits: dict[tuple[int, tuple[int, ...]], tuple[int, Step]] = field(default_factory=dict, repr=False)

    @cached_property
    def step(self) -> Mapping[int, int]:
        """For each operator the index of its step."""
        return {op: index for index, move in enumerate(self.moves) for op in move.ops}

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """The activations, each with its place and the steps in which it stands."""
        return tuple(
            Buffer(tensor=t, offset=self.places[t], nbytes=self.activations.nbytes[t], first=first, last=last)
            for t, (first, last) in _lives(self.activations, self.moves).items()
        )

    @cached_property
    def live(self) -> tuple[tuple[Buffer, ...], ...]:
        """For each step the buffers that stand during it, by offset."""
        ordered = sorted(self.buffers, key=lambda b: b.offset)
        return tuple(tuple(b for b in ordered if b.first <= step <= b.last) for step in range(len(self.moves)))

    @cached_property
    def nbytes(self) -> int:
        """Size of the arena with scratch, as long as no weights are coded."""
        return self.with_tables({})[0]

    @cached_property
    def repeated(self) -> int:
        """Weights that are decoded again in an inference."""
        return sum(move.repeated for move in self.moves)

    @cached_property
    def decodes(self) -> Mapping[int, int]:
        """For each operator how often its weights are decoded in an inference."""
        return {op: move.strips for move in self.moves for op in move.ops}

    def with_tables(self, tables: Mapping[int, int]) -> tuple[int, int]:
        """The arena with room for decoders.

        Args:
            tables: Bytes of RAM of the decoder of each operator's weights, as in `hardware.scratch`.

        Returns:
            Its size, and the index of the first operator of the step that sets it.
        """
        stacked = [bare + sum(aligned(tables.get(op, 0)) for op in coded) for bare, coded in self._stacked]
        least, peak = -1, 0
        for step in sorted(range(len(stacked)), key=lambda step: (-stacked[step], step)):
            if stacked[step] < least:
                break
            end = self._end(step, tables)
            if end > least or (end == least and step < peak):
                least, peak = end, step
        return least, self.moves[peak].ops[0]

    def end(self, op: int, table_bytes: int) -> int:
        """Bytes that the arena must have during an operator with a decoder of so many bytes, if no other has one."""
        return self._end(self.step[op], {op: table_bytes})

    def schedule(self, tables: Mapping[int, int]) -> Schedule:
        """All steps with scratch; `tables` as in `with_tables`."""
        return Schedule(
            steps=tuple(self._fit(index, tables)[1] for index in range(len(self.moves))), buffers=self._tensors
        )

    @cached_property
    def _stacked(self) -> Sequence[tuple[int, Sequence[int]]]:
        """For each step the bytes that do if all its scratch lies above what stands, decoders left out; and the
        operators that may have them."""
        graph, layered = self.activations.graph, {layer.op for layer in layers(self.activations.graph)}
        tops = [max((b.end for b in live), default=0) for live in self.live]
        return [
            (aligned(top) + sum(map(aligned, move.sized(graph, {}))), [op for op in move.ops if op in layered])
            for top, move in zip(tops, self.moves, strict=True)
        ]

    @cached_property
    def _tensors(self) -> tuple[Buffer, ...]:
        """All tensors' places, also of those that are only viewed anew."""
        owner, lives = self.activations.owner, {b.tensor: b for b in self.buffers}
        return tuple(replace(lives[owned], tensor=t) for t, owned in owner.items() if owned in lives)

    def _end(self, step: int, tables: Mapping[int, int]) -> int:
        return self._fit(step, tables)[0]

    def _fit(self, index: int, tables: Mapping[int, int]) -> tuple[int, Step]:
        """What a step needs of the arena, and the step with its scratch in place."""
        move = self.moves[index]
        key = (index, *(tables.get(op, 0) for op in move.ops))
        if key not in self._sizes:
            self._sizes[key] = move.sized(self.activations.graph, tables)
        sizes = self._sizes[key]
        if (index, sizes) not in self._fits:
            self._fits[index, sizes] = self._fitted(index, sizes)
        return self._fits[index, sizes]

    def _fitted(self, index: int, sizes: Sequence[int]) -> tuple[int, Step]:
        move = self.moves[index]
        end, offsets = fitted([(b.offset, b.end) for b in self.live[index]], sizes)
        scratch = tuple(
            Buffer(tensor=None, offset=offset, nbytes=nbytes, first=index, last=index)
            for offset, nbytes in zip(offsets, sizes, strict=True)
        )
        return end, Step(kind=move.kind, ops=move.ops, rows=move.rows, scratch=scratch, strips=move.strips)


@dataclass(frozen=True, kw_only=True, eq=False)
class Arenas:
    """The plans of a network.

    Attributes:
        plans: Of rising work; among those of equal work, of rising arenas.
        lower_bound: Bytes of arena that no order of steps and no places go below, as long as no weights are coded.
    """

    plans: tuple[ArenaPlan, ...]
    lower_bound: int

    def within(self, limit: int, tables: Mapping[int, int]) -> ArenaPlan:
        """The plan of least work whose arena keeps to `limit` bytes, with `tables` as in `ArenaPlan.with_tables`; the
        one of the smallest arena where none does."""
        for plan in self.plans:
            if plan.nbytes <= limit and plan.with_tables(tables)[0] <= limit:
                return plan
        return min(self.plans, key=lambda plan: plan.with_tables(tables)[0])

    def least(self, op: int, table_bytes: int) -> int:
        """Bytes that no plan's arena goes below with a decoder of so many bytes for an operator."""
        least = inf
        for plan in self._by_size:
            if plan.nbytes >= least:
                break
            least = min(least, max(plan.nbytes, plan.end(op, table_bytes)))
        return int(least)

    @cached_property
    def _by_size(self) -> Sequence[ArenaPlan]:
        return sorted(self.plans, key=lambda plan: plan.nbytes)


def plan_arenas(graph: Graph, limit: int) -> Arenas:
    """The plans of a network for bqsearch's own runtime.

    There are those that keep to `limit` bytes as long as no weights are coded, the first of the least work, and for
    weights of each kind in `DECODERS` the one of the smallest arena that was found.
    """
    raw, *coded = (Activations(graph=graph, decoder=nbytes) for nbytes in DECODERS)
    order, bound = best_order(raw)
    plans = [*_stairs(order, bound, limit), *(_smallest(*best_order(known)) for known in coded)]
    return Arenas(plans=tuple(sorted(plans, key=lambda p: (p.repeated, p.nbytes))), lower_bound=bound)


def _stairs(order: Order, bound: int, limit: int) -> Iterator[ArenaPlan]:
    """Plans that keep to a limit, from the least work to the smallest arena."""
    smallest, greedy = _smallest(order, bound), greedy_arena(order.activations)
    floor, reached, size = _size(smallest), inf, limit
    if _size(greedy) <= limit:
        plan = _tightened(order, greedy, floor, 0)
        yield plan
        reached = _size(plan)
        size = reached - max(reached // STAIR, 1)
    while size > floor and (way := walk(order, size)) is not None:
        plan = _tightened(order, _plan(order.activations, way), floor, way.work)
        yield plan
        reached = _size(plan)
        size = reached - max(reached // STAIR, 1)
    if reached > floor:
        yield smallest


def _smallest(order: Order, bound: int) -> ArenaPlan:
    return _tightened(order, greedy_arena(order.activations), bound, inf)


def _size(plan: ArenaPlan) -> int:
    """Of the arena, with the decoders that are reckoned with."""
    return plan.with_tables(plan.activations.decoders)[0]


def greedy_arena(known: Activations) -> ArenaPlan:
    """All operators whole, in the network's order, and the largest activation first, at the lowest offset that is free
    over its whole life: as TensorFlow Lite Micro's GreedyMemoryPlanner does it."""
    moves = tuple(found[0] for found in known.moves)
    lives = _lives(known, moves)
    placed: list[Buffer] = []
    for tensor in sorted(lives, key=lambda t: (-known.nbytes[t], lives[t][0])):
        first, last = lives[tensor]
        beside = [(b.offset, b.end) for b in placed if b.first <= last and first <= b.last]
        nbytes = known.nbytes[tensor]
        offset = lowest_gap(beside, nbytes, ALIGNMENT)
        placed.append(Buffer(tensor=tensor, offset=offset, nbytes=nbytes, first=first, last=last))
    return ArenaPlan(
        activations=known, moves=moves, places={b.tensor: b.offset for b in placed if b.tensor is not None}
    )


def _tightened(order: Order, plan: ArenaPlan, floor: int, most: float) -> ArenaPlan:
    """The plan of the smallest arena found by halving, among those that repeat the decoding of `most` weights at most.

    Args:
        order: Of the operators.
        plan: One that is known.
        floor: Bytes that no arena goes below.
        most: Weights.
    """
    low = floor
    while low < _size(plan):
        middle = (low + _size(plan)) // 2 if _size(plan) - low > ALIGNMENT and low > floor else low
        way = walk(order, middle, most=most)
        if way is None:
            low = middle + 1
        else:
            plan = _plan(order.activations, way)
    return plan


def _plan(known: Activations, way: Way) -> ArenaPlan:
    return ArenaPlan(activations=known, moves=way.steps(), places=way.places())


def _lives(known: Activations, moves: Sequence[Move]) -> Mapping[int, tuple[int, int]]:
    """For each activation that stands between steps the first and the last step in which it does."""
    step = {op: index for index, move in enumerate(moves) for op in move.ops}
    written = {t: index for index, move in enumerate(moves) for t in move.writes}
    lives = {}
    for tensor in (*known.inputs, *written):
        first = written.get(tensor, 0)
        last = max([first, *(step[op] for op in known.readers[tensor])])
        lives[tensor] = (first, len(moves) - 1 if tensor in known.outputs else last)
    return lives
