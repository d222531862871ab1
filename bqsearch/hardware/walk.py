"""The walk: steps and places chosen together, operator by operator, within an arena of a given size.

Where the output of one step lies decides whether the next one's can reach into it, so that steps which would each fit
may not fit together. A walk goes through the operators in an order and keeps, for each way that it has come, the
places of what stands; the ways of least work are followed first (A*, Hart, Nilsson and Raphael, IEEE Transactions on
Systems Science and Cybernetics 4, 1968), with the least work that remains, places left aside, as the estimate.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, permutations
from math import inf
from typing import TypeAlias

from bqsearch.hardware.buffers import lowest_gap
from bqsearch.hardware.moves import Move
from bqsearch.hardware.order import Order
from bqsearch.hardware.schedule import ALIGNMENT

_FEW = 3  # inputs

_Places: TypeAlias = tuple[tuple[int, int], ...]  # owners and their offsets, sorted
_Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """A beginning of a walk.

    Attributes:
        position: In the order: where it goes on.
        standing: What stands there, and where.
        work: Weights decoded again so far.
        before: The way without its last step; None at the start.
        move: The last step; None at the start.
        made: What came to be in it, and where.
    """

    position: int
    standing: _Places
    work: int
    before: "Way | None"
    move: Move | None
    made: _Places

    def steps(self) -> tuple[Move, ...]:
        """All its moves."""
        return tuple(way.move for way in self._ways() if way.move is not None)

    def places(self) -> Mapping[int, int]:
        """The offset of everything that came to be."""
        return {tensor: place for way in self._ways() for tensor, place in way.made}

    def _ways(self) -> "list[Way]":
        ways: list[Way] = []
        way: Way | None = self
        while way is not None:
            ways.append(way)
            way = way.before
        return ways[::-1]


def walk(order: Order, size: int, *, most: float = inf, patience: int = 1000) -> Way | None:
    """Steps of least repeated decoding, and places within an arena of `size` bytes; None where none were found.

    Args:
        order: Of the operators.
        size: Bytes.
        most: Weights that may be decoded again.
        patience: Ways that are followed at most.
    """
    left, serial = order.work_left(size), count()
    queue = [(left[0], 0, next(serial), way) for way in _starts(order, size)]
    seen: set[tuple[int, _Places]] = set()
    while queue and patience:
        _, _, _, way = heapq.heappop(queue)
        if way.position == len(order.ops):
            return way
        if (way.position, way.standing) in seen:
            continue
        seen.add((way.position, way.standing))
        patience -= 1
        for following in _following(order, way, size, left, most):
            total = following.work + left[following.position]
            heapq.heappush(queue, (total, -following.position, next(serial), following))
    return None


def _starts(order: Order, size: int) -> Iterator[Way]:
    """The inputs one after the other, from the bottom or up to the top, and a few of them in every order."""
    nbytes, inputs = order.activations.nbytes, sorted(order.activations.inputs)
    for ordered in permutations(inputs) if len(inputs) <= _FEW else [inputs]:
        low, high, lows, highs = 0, size, {}, {}
        for tensor in ordered:
            lows[tensor], low = low, _up(low + nbytes[tensor])
            highs[tensor] = high = _down(high - nbytes[tensor])
        for places in (lows, highs) if high >= 0 else ():
            made = tuple(sorted(places.items()))
            yield Way(position=0, standing=made, work=0, before=None, move=None, made=made)


def _following(order: Order, way: Way, size: int, left: Sequence[float], most: float) -> Iterator[Way]:
    known, place = order.activations, way.position
    spans = [(offset, offset + known.nbytes[t]) for t, offset in way.standing]
    for need, move in order.needs[place]:
        end, work = place + len(move.ops), way.work + move.repeated
        if need > size or work + left[end] > most:
            continue
        for made in _made(order, way, move, size):
            taken = spans + [(offset, offset + known.nbytes[t]) for t, offset in made]
            if fitted(taken, move.scratch, size)[0] > size:
                continue
            standing = tuple(sorted((t, at) for t, at in (*way.standing, *made) if _stays(order, t, end)))
            yield Way(position=end, standing=standing, work=work, before=way, move=move, made=made)


def _stays(order: Order, tensor: int, position: int) -> bool:
    return order.lives[tensor][1] >= position or tensor in order.activations.outputs


def _made(order: Order, way: Way, move: Move, size: int) -> Iterator[_Places]:
    """Places for what a step writes: the ends of what is free."""
    known, placed = order.activations, dict(way.standing)
    if move.kind == "in_place":
        yield tuple((t, placed[move.onto]) for t in move.writes if move.onto is not None)
        return
    reach = move.onto if move.onto is not None and not _stays(order, move.onto, way.position + len(move.ops)) else None
    found: list[_Places] = [()]
    for tensor in move.writes:
        nbytes = known.nbytes[tensor]
        following: list[_Places] = []
        for made in found:
            spans = [
                (at - (min(move.gap, nbytes) if t == reach else nbytes), at + known.nbytes[t])
                for t, at in (*way.standing, *made)
            ]
            following += [(*made, (tensor, at)) for at in _ends(spans, size - nbytes)]
        found = following
    yield from found


def _ends(spans: Sequence[_Span], most: int) -> list[int]:
    """The lowest and the highest aligned offsets in each part of 0 to `most` that no open span covers."""
    candidates = {0, _down(most), *(_up(high) for _, high in spans), *(_down(low) for low, _ in spans)}
    return sorted(at for at in candidates if 0 <= at <= most and not any(low < at < high for low, high in spans))


def fitted(spans: Sequence[_Span], sizes: Sequence[int], enough: int = 0) -> tuple[int, tuple[int, ...]]:
    """Where buffers lie so that the arena is smallest, in what `spans` leave free: its size, and their offsets.

    Exact: the order of the best places by offset is among those that are tried, and the lowest free place of each in
    turn is no higher than there.

    Args:
        spans: What is taken, from where to where.
        sizes: Bytes of each buffer; those of none lie at 0.
        enough: The search ends at an arena of so many bytes.
    """
    search = _Fit(sizes=sizes, top=max((end for _, end in spans), default=0))
    search.goal = max(search.top, enough, _taken(spans) + sum(_up(n) for n in sizes) - ALIGNMENT + 1)
    used = [index for index, nbytes in enumerate(sizes) if nbytes]
    search.place(sorted(spans), sorted(used, key=lambda i: (-sizes[i], i)), {}, search.top)
    return int(search.best), tuple(search.found.get(index, 0) for index in range(len(sizes)))


@dataclass(kw_only=True, eq=False)
class _Fit:
    """The search for the best places, by branch and bound.

    Attributes:
        sizes: Bytes of each buffer.
        top: End of what is taken.
        goal: An arena of so many bytes is good enough, or cannot be undercut.
        best: Bytes of the smallest one so far.
        found: Its offsets by buffer.
    """

    sizes: Sequence[int]
    top: int
    goal: int = 0
    best: float = inf
    found: Mapping[int, int] = field(default_factory=dict)

    def place(self, taken: list[_Span], left: Sequence[int], placed: Mapping[int, int], end: int) -> None:
        """Place those that are left in every order, as long as that may undercut the best."""
        if not left:
            self.best, self.found = end, placed
            return
        for index in left:
            offset = lowest_gap(taken, self.sizes[index], ALIGNMENT)
            stop = offset + self.sizes[index]
            if max(end, stop) < self.best:
                others = [other for other in left if other != index]
                self.place(sorted([*taken, (offset, stop)]), others, {**placed, index: offset}, max(end, stop))
            if self.best <= self.goal:
                return


def _taken(spans: Sequence[_Span]) -> int:
    """Bytes that are taken, or lost behind what ends at no multiple of the alignment."""
    taken = reached = 0
    for start, end in sorted(spans):
        start, end = max(start, reached), max(_up(end), reached)
        taken, reached = taken + end - start, end
    return taken


def _up(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _down(offset: int) -> int:
    return offset // ALIGNMENT * ALIGNMENT
