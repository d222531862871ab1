"""Orders, needs and bounds, against trying all of them in small networks."""

from collections.abc import Iterator
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.graph.ir import Graph
from bqsearch.hardware import order as orders
from bqsearch.hardware.moves import Activations, Move
from bqsearch.hardware.order import Order, best_order
from networks import Builder, random_network

SEEDS = st.integers(0, 2**32)


def topological(known: Activations, done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """All orders of the operators."""
    left = [op for op in range(len(known.graph.ops)) if op not in done]
    if not left:
        yield done
    for op in left:
        if all(known.writer.get(t, -1) in (*done, -1) for t in known.reads(op)):
            yield from topological(known, (*done, op))


def ways(order: Order, place: int = 0) -> Iterator[list[tuple[int, Move]]]:
    """All sequences of moves along an order, each with its need."""
    if place == len(order.ops):
        yield []
        return
    for need, move in order.needs[place]:
        for rest in ways(order, place + len(move.ops)):
            yield [(need, move), *rest]


def fork() -> Graph:
    """A wide and a narrow branch, the narrow one first: the wide one should be done with before it."""
    net = Builder("int8")
    image = net.activation("image", (1, 1, 1, 8))
    narrow = net.conv("narrow", image, 30)
    wide = net.conv("shrunk", net.conv("wide", image, 60), 4)
    joined = net.activation("joined", (1, 1, 1, 34))
    return net.build([image], [net.op("CONCATENATION", (narrow, wide), joined, "ConcatenationOptions", axis=-1)])


def test_needs_of_a_small_network_by_hand() -> None:
    """4x4x1 of 16 bytes -> conv 3x3 to 32 -> flat -> dense to 3, with 9 and 32 weights of a filter."""
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 1))
    flat = net.reshape("flat", net.conv("conv", image, 2, size=3), (1, 32))
    graph = net.build([image], [net.softmax("scores", net.dense("dense", flat, 3))])
    order = Order(activations=Activations(graph=graph), ops=(0, 1, 2, 3))
    whole = [[need for need, move in found if move.kind != "strips"] for found in order.needs]
    assert whole == [[16 + 32 + 9], [32], [32 + 3 + 32], [3 + 3]]
    direct = {move.rows: need for need, move in order.needs[0] if move.direct}
    assert direct == {2: 9 + 16 + (4 * 8 - 1 * 4), 1: 9 + 16 + (4 * 8 - 2 * 4)}
    assert order.least == 67
    assert order.work_left(inf) == [0, 0, 0, 0, 0]
    assert order.work_left(49) == [inf, inf, inf, 0, 0]
    assert order.work_left(67)[0] == 0
    outputs = [graph.ops[op].outputs[0] for op in (0, 2, 3)]
    assert order.lives == dict(zip([image, *outputs], [(0, 0), (0, 2), (2, 3), (3, 3)], strict=True))


def test_the_wide_branch_comes_first() -> None:
    order, bound = best_order(Activations(graph=fork()))
    assert order.ops == (1, 2, 0, 3)
    assert order.least == bound == 8 + 60 + 4 + 60  # the image stays for the narrow one, and a filter is decoded


@given(SEEDS, st.integers(1, 6))
@settings(deadline=None, max_examples=40)
def test_no_order_is_better_than_the_best(seed: int, operators: int) -> None:
    known = Activations(graph=random_network(seed, operators))
    least = min(Order(activations=known, ops=ops).least for ops in topological(known))
    order, bound = best_order(known)
    assert order.least == bound == least


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_a_bound_without_an_exact_order_is_lower(seed: int) -> None:
    known = Activations(graph=random_network(seed, 9))
    exact = best_order(known)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "WIDTH", 1)
        assert best_order(known)[1] <= exact
    assert orders._bound(known) <= exact


@given(SEEDS, st.integers(1, 5), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_work_left_is_that_of_the_best_moves(seed: int, operators: int, quarter: int) -> None:
    known = Activations(graph=random_network(seed, operators))
    order = Order(activations=known, ops=tuple(range(len(known.graph.ops))))
    peaks = sorted({need for found in order.needs for need, _ in found})
    limit = peaks[quarter * (len(peaks) - 1) // 3]
    for place in range(len(order.ops) + 1):
        fitting = [way for way in ways(order, place) if all(need <= limit for need, _ in way)]
        work = min((sum(move.repeated for _, move in way) for way in fitting), default=inf)
        assert order.work_left(limit)[place] == work
    peaks_of = [max(need for need, _ in way) for way in ways(order)]
    assert order.least == min(peaks_of)


def test_an_input_that_nobody_reads_stands_at_the_start_only() -> None:
    net = Builder("int8")
    image, idle = net.activation("image", (1, 1, 1, 4)), net.activation("idle", (1, 1, 1, 50))
    wide = net.conv("wide", net.conv("conv", image, 4), 40)
    order, bound = best_order(Activations(graph=net.build([image, idle], [wide])))
    assert order.lives[idle] == (0, 0)
    assert bound == order.least == 50 + 4 + 4 + 4
