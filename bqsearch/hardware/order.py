"""Which steps, and in what order: by the bytes that stand during each, before anything has a place.

A step needs what stands beside it, what it reads and writes, and its scratch. What it needs does not depend on how the
other steps are made, only on what has been done before it: so an order of least peak is a path of least maximum through
the sets of operators done, and, along one order, the moves of least repeated decoding within a number of bytes are a
shortest path.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from math import inf

from bqsearch.hardware.moves import Activations, Move

WIDTH = 512  # sets of finished operators that the search for an order keeps at a time


def needed(move: Move, dying: Set[int], nbytes: Mapping[int, int]) -> int | None:
    """Bytes that a step takes with what it writes and of what it reads what dies there; None if it cannot be.

    Args:
        move: The step.
        dying: Those among its reads that nobody needs after it.
        nbytes: Of each activation.
    """
    if move.kind == "in_place" and move.onto is not None and move.onto not in dying:
        return None
    read, written = (sum(nbytes[t] for t in tensors) for tensors in (dying, move.writes))
    return read + written - _shared(move, dying, nbytes) + sum(move.scratch)


def _shared(move: Move, dying: Set[int], nbytes: Mapping[int, int]) -> int:
    """Bytes that output and input have in common."""
    if move.onto is None or move.onto not in dying:
        return 0
    read, written = nbytes[move.onto], nbytes[move.writes[0]]
    both = max(read, written) if move.kind == "in_place" else max(read + max(move.gap, 0), written)
    return max(read + written - both, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """The operators in an order, and what each move needs in it.

    Attributes:
        activations: The network's.
        ops: Indices of the operators.
    """

    activations: Activations
    ops: tuple[int, ...]

    @cached_property
    def position(self) -> Mapping[int, int]:
        """Of each operator."""
        return {op: place for place, op in enumerate(self.ops)}

    @cached_property
    def lives(self) -> Mapping[int, tuple[int, int]]:
        """For each activation the positions of the first and the last operator for which it stands."""
        known = self.activations
        lives = {}
        for tensor in known.nbytes:
            begin = self.position[known.writer[tensor]] if tensor in known.writer else 0
            end = max([begin, *(self.position[op] for op in known.readers[tensor])])
            lives[tensor] = (begin, len(self.ops) - 1 if tensor in known.outputs else end)
        return lives

    @cached_property
    def standing(self) -> Sequence[tuple[int, ...]]:
        """At each position the activations that stand there."""
        lives = self.lives.items()
        return tuple(tuple(t for t, (first, last) in lives if first <= i <= last) for i in range(len(self.ops)))

    @cached_property
    def needs(self) -> Sequence[tuple[tuple[int, Move], ...]]:
        """At each position the moves that can be made there, each with the bytes that stand while it is."""
        return tuple(tuple(self._needs(place)) for place in range(len(self.ops)))

    def _needs(self, place: int) -> Iterator[tuple[int, Move]]:
        known = self.activations
        for move in known.moves[self.ops[place]]:
            end = place + len(move.ops)
            if self.ops[place:end] != move.ops:
                continue
            dying = {t for t in move.reads if self.lives[t][1] < end and t not in known.outputs}
            need = needed(move, dying, known.nbytes)
            if need is not None:
                beside = (t for t in self.standing[place] if t not in dying and known.writer.get(t) not in move.ops)
                yield need + sum(known.nbytes[t] for t in beside), move

    @cached_property
    def least(self) -> int:
        """Fewest bytes that any moves in this order can do with, before anything has a place."""
        best = [0] * (len(self.ops) + 1)
        for place in reversed(range(len(self.ops))):
            best[place] = min(max(need, best[place + len(move.ops)]) for need, move in self.needs[place])
        return best[0]

    def work_left(self, limit: float) -> Sequence[float]:
        """At each position, and at the end, the fewest weights that are decoded again from there on; inf where no moves
        keep to `limit` bytes."""
        left = [inf] * len(self.ops) + [0.0]
        for place in reversed(range(len(self.ops))):
            fitting = [move for need, move in self.needs[place] if need <= limit]
            left[place] = min((left[place + len(move.ops)] + move.repeated for move in fitting), default=inf)
        return left


def best_order(known: Activations) -> tuple[Order, int]:
    """The order of the lowest peak, the network's own where that is as good; and bytes that no order, no steps and no
    places go below.

    The order is exact as long as no more than `WIDTH` sets of operators can be done at a time; the bound holds always.
    """
    given = Order(activations=known, ops=tuple(range(len(known.graph.ops))))
    best, exact = _best(known)
    order = min(given, Order(activations=known, ops=best.ops), key=lambda o: o.least)
    return order, best.peak if exact else _bound(known)


@dataclass(frozen=True, kw_only=True)
class _State:
    """A beginning of an order: most bytes so far, bytes that stand after it, and its operators."""

    peak: int
    standing: int
    ops: tuple[int, ...]


def _best(known: Activations) -> tuple[_State, bool]:
    """The best order, and whether no beginning of one was given up."""
    count, exact = len(known.graph.ops), True
    before = [_mask(known.writer[t] for t in known.reads(op) if t in known.writer) for op in range(count)]
    readers = {t: _mask(ops) for t, ops in known.readers.items()}
    groups = [_grouped(moves) for moves in known.moves]
    levels: list[dict[int, _State]] = [{} for _ in range(count + 1)]
    levels[0][0] = _State(peak=0, standing=sum(known.nbytes[t] for t in known.inputs), ops=())
    for level in range(count):
        ranked = sorted(levels[level].items(), key=lambda item: (item[1].peak, item[1].standing, item[1].ops))
        exact = exact and len(ranked) <= WIDTH
        for done, state in ranked[:WIDTH]:
            for op in range(count):
                if done >> op & 1 or before[op] & ~done:
                    continue
                for ops, moves in groups[op].items():
                    finished = done | _mask(ops)
                    after = _after(state, known, moves, readers, finished)
                    other = levels[level + len(ops)].get(finished)
                    if other is None or (after.peak, after.ops) < (other.peak, other.ops):
                        levels[level + len(ops)][finished] = after
    (best,) = levels[count].values()
    return best, exact


def _mask(ops: Iterator[int] | Set[int] | Sequence[int]) -> int:
    return sum(1 << op for op in set(ops))


def _grouped(moves: Sequence[Move]) -> Mapping[tuple[int, ...], Sequence[Move]]:
    groups: dict[tuple[int, ...], list[Move]] = {}
    for move in moves:
        groups.setdefault(move.ops, []).append(move)
    return groups


def _after(
    state: _State, known: Activations, moves: Sequence[Move], readers: Mapping[int, int], finished: int
) -> _State:
    """What follows from executing the operators of some moves, in the one that needs least."""
    reads, writes, nbytes = moves[0].reads, moves[0].writes, known.nbytes
    idle = () if state.ops else tuple(t for t in known.inputs if not readers[t])  # inputs that nobody reads
    dead = {t for t in (*reads, *writes, *idle) if not readers[t] & ~finished and t not in known.outputs}
    dying = dead.intersection(reads)
    least = min(need for move in moves if (need := needed(move, dying, nbytes)) is not None)
    beside = state.standing - sum(nbytes[t] for t in dying)
    return _State(
        peak=max(state.peak, beside + least),
        standing=state.standing + sum(nbytes[t] for t in writes) - sum(nbytes[t] for t in dead),
        ops=(*state.ops, *moves[0].ops),
    )


def _bound(known: Activations) -> int:
    """What each operator needs in its least move, with all that must stand beside it because something before it writes
    it and something behind it reads it, in the sense of who needs whom."""
    count = len(known.graph.ops)
    before = [0] * count
    for op in range(count):
        for tensor in known.reads(op):
            if tensor in known.writer:
                before[op] |= before[known.writer[tensor]] | 1 << known.writer[tensor]
    after = [_mask([i for i in range(count) if before[i] >> op & 1]) for op in range(count)]
    least = [inf] * count
    for move in (move for moves in known.moves for move in moves):
        need = _least(known, move, before[move.ops[0]], after[move.ops[-1]])
        for op in move.ops:
            least[op] = min(least[op], need)
    return int(max(least))


def _least(known: Activations, move: Move, before: int, after: int) -> float:
    """Bytes that a move needs at least, given the operators that must come before and behind it."""
    lasting = {t for t in known.nbytes if t in known.outputs or any(after >> op & 1 for op in known.readers[t])}
    beside = {t for t in lasting - set(move.writes) if t not in known.writer or before >> known.writer[t] & 1}
    need = needed(move, set(move.reads) - lasting, known.nbytes)
    return inf if need is None else need + sum(known.nbytes[t] for t in beside)
