"""Walks: the least work there is where all else is tried, and scratch in the best place."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.hardware.moves import Activations
from bqsearch.hardware.order import Order, best_order
from bqsearch.hardware.schedule import ALIGNMENT
from bqsearch.hardware.walk import fitted, walk
from networks import Builder, random_network

SPANS = st.lists(st.tuples(st.integers(0, 10), st.integers(1, 4)), max_size=4)


@given(SPANS, st.lists(st.integers(0, 9), max_size=3))
@settings(deadline=None)
def test_scratch_fits_as_well_as_anywhere(pieces: list[tuple[int, int]], sizes: list[int]) -> None:
    spans = [(ALIGNMENT * start, ALIGNMENT * start + size) for start, size in pieces]
    end, offsets = fitted(spans, sizes)
    top = max((stop for _, stop in spans), default=0)
    placed = [(at, at + size) for at, size in zip(offsets, sizes, strict=True) if size]
    assert end == max([top, *(stop for _, stop in placed)])
    assert apart(spans, placed)
    limit = range(0, max(end, 1), ALIGNMENT)
    used = [size for size in sizes if size]
    for places in product(limit, repeat=len(used)):
        tried = [(at, at + size) for at, size in zip(places, used, strict=True)]
        assert not apart(spans, tried) or max([top, *(stop for _, stop in tried)]) >= end


def apart(spans: list[tuple[int, int]], placed: list[tuple[int, int]]) -> bool:
    """Whether no placed buffer has a byte in common with another one or a span."""
    for index, (start, stop) in enumerate(placed):
        if any(start < other and begin < stop for begin, other in [*spans, *placed[index + 1 :]]):
            return False
    return all(start % ALIGNMENT == 0 for start, _ in placed)


def test_scratch_by_hand() -> None:
    """The largest first would take both gaps' room in vain: 5 and 12 fill 17 to 36, 8 and 7 the rest."""
    spans = [(0, 8), (16, 24)]
    assert fitted(spans, (8, 0, 6)) == (30, (8, 0, 24))
    assert fitted(spans, ()) == (24, ())
    assert fitted([(16, 20)], (8, 12, 4)) == (28, (20, 0, 12))


def test_scratch_that_is_good_enough_is_not_improved() -> None:
    """8, 8 and 4 bytes in this order leave 12 no room but at the top."""
    spans = [(12, 16), (28, 32)]
    assert fitted(spans, (12, 8, 4))[0] == 32
    assert fitted(spans, (12, 8, 4), enough=99)[0] <= 99


def test_steps_that_fit_one_by_one_may_not_fit_together() -> None:
    """8 rows of 16 bytes become 4 and 16 again. The narrow ones lie at the arena's start, just before the image that
    they reach into, so that nothing can begin before them."""
    net = Builder("int8")
    image = net.activation("image", (1, 8, 1, 16))
    graph = net.build([image], [net.conv("b", net.conv("a", image, 4), 16)])
    order, bound = best_order(Activations(graph=graph))
    assert bound == 128 + 4 + 16
    assert next(size for size in range(bound, 180) if walk(order, size) is not None) == 32 + 128 + 4


def test_a_walk_within_some_work_goes_without_more() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 8, 8, 4))
    graph = net.build([image], [net.conv("conv", image, 4, size=3)])
    order = Order(activations=Activations(graph=graph), ops=(0,))
    assert order.least == 36 + 256 + 2 * 32  # the last row reads three
    found = walk(order, order.least)
    assert found.work == 144 * 7
    assert walk(order, order.least, most=144 * 7).work == 144 * 7
    assert walk(order, order.least, most=144 * 7 - 1) is None
    assert walk(order, order.least + 32).work < 144 * 7
    assert walk(order, 36 + 512, most=0).work == 0
    assert walk(order, order.least - 1) is None
    assert walk(order, 36 + 512, patience=0) is None


@given(st.integers(0, 2**32), st.integers(1, 10))
@settings(deadline=None, max_examples=40)
def test_a_large_arena_takes_no_work(seed: int, operators: int) -> None:
    known = Activations(graph=random_network(seed, operators))
    order, _ = best_order(known)
    way = walk(order, sum(4 + nbytes for nbytes in known.nbytes.values()) + 10_000)
    assert way.work == 0
    steps, places = way.steps(), way.places()
    assert tuple(op for move in steps for op in move.ops) == order.ops
    assert set(places) == known.inputs | {t for move in steps for t in move.writes}
    assert all(place % ALIGNMENT == 0 for place in places.values())
