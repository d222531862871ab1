"""A smaller head for TensorFlow Lite Micro's arena: operators in a better order, buffers in better places.

A file may say where its activations lie: the metadata `OfflineMemoryAllocation` (tensorflow/tflite-micro,
`docs/memory_management.md`). Three things make such a plan smaller than the one that the interpreter would make:

- *Order.* Where the network branches, the order of the branches decides what has to wait in memory.
- *Places.* The interpreter places the largest buffer first, once; here many orders of placement are tried.
- *In place.* An operator may write its output over an input that dies there, where its kernel has read what it
  overwrites: `RESHAPE` and `SQUEEZE` copy nothing when both pointers are equal; the operators of `ELEMENTWISE` read
  element i, or the few elements of a vector register, before they write the same ones, if no input is broadcast. That
  holds for the reference kernels and for CMSIS-NN.

Scratch stays with the interpreter, which fits it around the rest. All figures are those of `plan_head`.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bqsearch.graph.decode import DECODE
from bqsearch.graph.ir import Graph, Op
from bqsearch.hardware.buffers import lowest_gap
from bqsearch.hardware.tflm import HeadPlan, plan_head

METADATA = "OfflineMemoryAllocation"
VIEWS = frozenset(["RESHAPE", "SQUEEZE"])
ELEMENTWISE = frozenset(
    ["ADD", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MUL", "QUANTIZE", "RELU", "RELU6", "SUB", "TANH"]
)
WIDTH = 512  # sets of finished operators that the search for an order keeps at a time
ATTEMPTS = 400  # orders of placement that are tried


@dataclass(frozen=True, kw_only=True)
class OfflinePlan:
    """Where everything lies.

    Attributes:
        graph: The network, its operators in the planned order.
        offsets: For each tensor its place in bytes, -1 for constants; None where the interpreter's own plan is as good.
        head: Bytes of the head.
        greedy: Bytes of the head that the interpreter makes of the network as it was given.
        lower_bound: Most bytes that stand at a time in this order, with what is done in place: no plan needs fewer.
    """

    graph: Graph
    offsets: tuple[int, ...] | None
    head: int
    greedy: int
    lower_bound: int


def plan(graph: Graph, *, seed: int = 0) -> OfflinePlan:
    """The best plan found; never worse than the interpreter's. The graph may hold decoders."""
    greedy = plan_head(graph).nbytes
    orders = [graph]
    if (order := _best_order(graph)) != list(range(len(graph.ops))):
        orders.append(replace(graph, ops=tuple(graph.ops[i] for i in order)))
    found = [_placed(candidate, greedy, seed) for candidate in orders]
    return min(found, key=lambda p: p.head)


def metadata(plan: OfflinePlan) -> dict[str, bytes]:
    """What the file must say: version 1, one subgraph, the number of tensors and their offsets, as int32."""
    if plan.offsets is None:
        return {}
    return {METADATA: np.array([1, 1, len(plan.offsets), *plan.offsets], "<i4").tobytes()}


def _placed(graph: Graph, greedy: int, seed: int) -> OfflinePlan:
    """The best places for one order of the operators."""
    online = plan_head(graph)
    cells = _cells(graph, online)
    bound = max((sum(c.nbytes for c in cells if c.first <= s <= c.last) for s in {c.first for c in cells}), default=0)
    best, offsets = online.nbytes, None
    for places in _placements(cells, bound, random.Random(seed)):  # noqa: S311
        tried = [-1] * len(graph.tensors)
        for cell, place in zip(cells, places, strict=True):
            for tensor in cell.tensors:
                tried[tensor] = place
        if (head := plan_head(graph, tried).nbytes) < best:
            best, offsets = head, tuple(tried)
    return OfflinePlan(graph=graph, offsets=offsets, head=best, greedy=greedy, lower_bound=bound)


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """Tensors that lie in one place, one after the other; without tensors, scratch. Bytes and scopes as in `Buffer`."""

    tensors: tuple[int, ...]
    nbytes: int
    first: int
    last: int

    def meets(self, other: "_Cell") -> bool:
        return self.first <= other.last and other.first <= self.last


def _cells(graph: Graph, head: HeadPlan) -> list[_Cell]:
    """Buffers, joined where an operator works in place."""
    last = {b.tensor: b.last for b in head.buffers}
    owner: dict[int, int] = {}
    for index, op in enumerate(graph.ops):
        for source in _overwritable(graph, op):
            if last.get(source) == index + 1:
                owner[op.outputs[0]] = owner.get(source, source)
                break
    cells: dict[int, _Cell] = {}
    scratch = []
    for buffer in sorted(head.buffers, key=lambda b: b.first):
        whole = _Cell(tensors=(), nbytes=buffer.nbytes, first=buffer.first, last=buffer.last)
        if buffer.tensor is None:
            scratch.append(whole)
            continue
        key = owner.get(buffer.tensor, buffer.tensor)
        cell = cells.get(key, whole)
        cells[key] = replace(cell, tensors=(*cell.tensors, buffer.tensor), last=max(cell.last, buffer.last))
    return [*cells.values(), *scratch]


def _overwritable(graph: Graph, op: Op) -> Iterator[int]:
    """Inputs that the operator may write over, if nobody needs them after it."""
    if op.code not in VIEWS | ELEMENTWISE:
        return
    output = graph.tensors[op.outputs[0]]
    read = op.inputs[:1] if op.code in VIEWS else op.inputs
    if op.code in ELEMENTWISE and any(graph.tensors[t].shape != output.shape for t in read):
        return
    for tensor in read:
        source = graph.tensors[tensor]
        if source.data is None and source.nbytes == output.nbytes and tensor not in graph.outputs:
            yield tensor


def _placements(cells: Sequence[_Cell], bound: int, rng: random.Random) -> Iterator[list[int]]:
    """Better and better places for the cells, until one of the bound's size or `ATTEMPTS` are used up.

    A hill climb over the order of placement: a cell that ends at the top, or any other, is placed earlier.
    """
    beside = [[i for i, other in enumerate(cells) if other is not cell and cell.meets(other)] for cell in cells]
    sizes = [cell.nbytes for cell in cells]
    starts = [
        sorted(range(len(cells)), key=lambda i: (-sizes[i], cells[i].first)),
        sorted(range(len(cells)), key=lambda i: -sizes[i] * (cells[i].last - cells[i].first + 1)),
        sorted(range(len(cells)), key=lambda i: -sizes[i] - sum(sizes[j] for j in beside[i])),
    ]
    order, places = starts[0], _place(starts[0], beside, sizes)
    best = _top(places, sizes)
    yield places
    for attempt in range(1, ATTEMPTS):
        if best <= bound:
            return
        tried = starts[attempt] if attempt < len(starts) else _varied(order, places, sizes, rng)
        found = _place(tried, beside, sizes)
        top = _top(found, sizes)
        if top < best:
            yield found
        if top <= best:
            order, places, best = tried, found, top


def _top(places: Sequence[int], sizes: Sequence[int]) -> int:
    return max((place + nbytes for place, nbytes in zip(places, sizes, strict=True)), default=0)


def _place(order: Iterable[int], beside: Sequence[Sequence[int]], sizes: Sequence[int]) -> list[int]:
    places = [-1] * len(sizes)
    for cell in order:
        spans = [(places[i], places[i] + sizes[i]) for i in beside[cell] if places[i] >= 0]
        places[cell] = lowest_gap(spans, sizes[cell])
    return places


def _varied(order: Sequence[int], places: Sequence[int], sizes: Sequence[int], rng: random.Random) -> list[int]:
    """The order with one cell placed earlier: half the time one that sets the size."""
    top = _top(places, sizes)
    highest = [p for p, i in enumerate(order) if places[i] + sizes[i] == top]
    position = rng.choice(highest) if rng.random() < 0.5 else rng.randrange(len(order))
    varied = list(order)
    varied.insert(rng.randrange(position + 1), varied.pop(position))
    return varied


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An operator with the decoders before it, which must stay together.

    Attributes:
        ops: Indices of the operators, in order.
        before: The steps that must be done, as bits.
        makes: Tensor and bytes of each activation that stands after the step.
        inside: Bytes that stand during the step only: decoded weights and scratch.
        overwritable: Tensors of which the output may take the place.
    """

    ops: tuple[int, ...]
    before: int
    makes: tuple[tuple[int, int], ...]
    inside: int
    overwritable: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _State:
    """A beginning of an order: its steps, most bytes so far, and bytes that stand after it."""

    peak: int
    standing: int
    steps: tuple[int, ...]


def _best_order(graph: Graph) -> list[int]:
    """The operators' indices in the order of the lowest peak.

    Found by the number of steps done, best beginnings first; exact as long as no more than `WIDTH` sets of steps can be
    done at a time.
    """
    steps, readers, sizes = _steps(graph)
    level = {0: _State(peak=0, standing=sum(sizes[t] for t in graph.inputs), steps=())}
    for _ in steps:
        following: dict[int, _State] = {}
        for done, state in level.items():
            for index, step in enumerate(steps):
                if not done >> index & 1 and step.before & done == step.before:
                    after = _after(state, done, index, step, readers, sizes)
                    known = following.get(done | 1 << index)
                    if known is None or after.peak < known.peak:
                        following[done | 1 << index] = after
        ranked = sorted(following.items(), key=lambda item: (item[1].peak, item[1].standing, item[1].steps))
        level = dict(ranked[:WIDTH])
    (best,) = level.values()
    return [op for step in best.steps for op in steps[step].ops]


def _after(
    state: _State, done: int, index: int, step: _Step, readers: Mapping[int, int], sizes: Mapping[int, int]
) -> _State:
    made = sum(nbytes for _, nbytes in step.makes)
    finished = done | 1 << index
    dead = [t for t, mask in readers.items() if mask >> index & 1 and mask & finished == mask]
    saved = made if any(t in dead for t in step.overwritable) else 0
    peak = max(state.peak, state.standing + made - saved + step.inside)
    return _State(peak=peak, standing=state.standing + made - sum(sizes[t] for t in dead), steps=(*state.steps, index))


def _steps(graph: Graph) -> tuple[list[_Step], dict[int, int], dict[int, int]]:
    """The steps; for each activation that dies, the steps that read it, as bits; and every activation's bytes."""
    head = plan_head(graph)
    sizes = {b.tensor: b.nbytes for b in head.buffers if b.tensor is not None}
    groups = _groups(graph)
    writer = {t: n for n, group in enumerate(groups) for i in group for t in graph.ops[i].outputs}
    readers: dict[int, int] = {}
    steps = []
    for number, group in enumerate(groups):
        last = graph.ops[group[-1]]
        read = {t for i in group for t in graph.ops[i].inputs if t in sizes and writer.get(t) != number}
        for tensor in read:
            readers[tensor] = readers.get(tensor, 0) | 1 << number
        decoded = sum(sizes.get(t, 0) for i in group[:-1] for t in graph.ops[i].outputs)
        scratch = sum(b.nbytes for b in head.buffers if b.tensor is None and b.first - 1 in group)
        steps.append(
            _Step(
                ops=tuple(group),
                before=sum(1 << n for n in {writer[t] for t in read if t in writer}),
                makes=tuple((t, sizes[t]) for t in last.outputs if t in sizes),
                inside=decoded + scratch,
                overwritable=tuple(t for t in _overwritable(graph, last) if t in sizes),
            )
        )
    for tensor in graph.outputs:
        readers.pop(tensor, None)
    return steps, readers, sizes


def _groups(graph: Graph) -> list[list[int]]:
    """Indices of the operators, decoders together with their reader."""
    groups: list[list[int]] = []
    for index in range(len(graph.ops)):
        if index and graph.ops[index - 1].code == DECODE:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
