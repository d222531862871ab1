"""Rows and gaps, against counting them one by one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.hardware.strips import Rows, gap, rows_of, strips
from networks import SAME, VALID, Builder

GEOMETRIES = st.builds(
    Rows,
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 12),
    reach=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
)


def reads(rows: Rows, row: int) -> set[int]:
    """The input rows of one output row."""
    return {row * rows.stride - rows.padding + tap for tap in range(rows.reach)} & set(range(rows.inputs))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"size": 3, "stride": 1}, Rows(inputs=8, outputs=8, reach=3, stride=1, padding=1)),
        ({"size": 3, "stride": 2}, Rows(inputs=8, outputs=4, reach=3, stride=2, padding=0)),
        ({"size": 4, "stride": 1}, Rows(inputs=8, outputs=8, reach=4, stride=1, padding=1)),
        ({"size": 3, "stride": 2, "padding": VALID}, Rows(inputs=8, outputs=3, reach=3, stride=2, padding=0)),
        (
            {"size": 3, "stride": 1, "dilationHFactor": 2, "dilationWFactor": 2},
            Rows(inputs=8, outputs=8, reach=5, stride=1, padding=2),
        ),
    ],
)
def test_rows_of_a_convolution(options: dict[str, int], expected: Rows) -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 8, 5, 3))
    graph = net.build([image], [net.depthwise("depthwise", net.conv("conv", image, 3), **options)])
    assert rows_of(graph, graph.ops[1]) == expected


def test_rows_of_a_pooling() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 7, 5, 3))
    options = {"padding": SAME, "strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 1}
    graph = net.build([image], [net.like("MAX_POOL_2D", "pool", image, (1, 4, 5, 3), **options)])
    assert rows_of(graph, graph.ops[0]) == Rows(inputs=7, outputs=4, reach=3, stride=2, padding=1)


@given(GEOMETRIES, st.integers(1, 12), st.booleans())
def test_strips_read_what_their_rows_need(rows: Rows, height: int, carries: bool) -> None:
    made = list(strips(rows, height, carries=carries))
    assert [row for strip in made for row in range(strip.begin, strip.end)] == list(range(rows.outputs))
    assert all(strip.end - strip.begin == height for strip in made[:-1])
    seen: set[int] = set()
    for strip in made:
        needed = set().union(*(reads(rows, row) for row in range(strip.begin, strip.end)))
        read = set(range(strip.read_begin, strip.read_end))
        assert needed <= read | (seen if carries else set())
        assert not carries or not read & seen
        seen |= read
    assert all(one.read_begin <= other.read_begin for one, other in pairwise(made))


def legal(rows: Rows, height: int, widths: tuple[int, int], place: int, *, carries: bool, direct: bool) -> bool:
    """Whether an output that begins at byte `place`, the input at 0, overwrites nothing that is still read."""
    made = list(strips(rows, height, carries=carries))
    for index, strip in enumerate(made):
        written = range(place + strip.begin * widths[1], place + strip.end * widths[1])
        for later in made[index if direct else index + 1 :]:
            if set(written) & set(range(later.read_begin * widths[0], later.read_end * widths[0])):
                return False
    return True


@given(
    rows=GEOMETRIES,
    height=st.integers(1, 12),
    widths=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    carries=st.booleans(),
    direct=st.booleans(),
)
def test_the_gap_is_just_enough(rows: Rows, height: int, widths: tuple[int, int], carries: bool, direct: bool) -> None:
    """At the gap and before it nothing is overwritten, and behind it something is, up to the input's end."""
    space = gap(rows, height, *widths, carries=carries, direct=direct)
    for place in range(-rows.outputs * widths[1] - 2, rows.inputs * widths[0]):
        allowed = legal(rows, height, widths, place, carries=carries, direct=direct)
        assert allowed or place > -space
    if -space < min(rows.inputs * widths[0], strips_end(rows, height, widths, carries)):
        assert not legal(rows, height, widths, 1 - space, carries=carries, direct=direct)


def strips_end(rows: Rows, height: int, widths: tuple[int, int], carries: bool) -> int:
    """The last byte of the input that is read at all."""
    return max(strip.read_end for strip in strips(rows, height, carries=carries)) * widths[0] - 1


@pytest.mark.parametrize(
    ("height", "carries", "direct", "expected"),
    [
        (1, True, False, 64 - 3 * 64),
        (2, True, False, 128 - 5 * 64),
        (1, False, True, 64),
        (1, False, False, 64 - 2 * 64),
        (8, False, False, -16 * 64),
    ],
)
def test_gaps_by_hand(height: int, carries: bool, direct: bool, expected: int) -> None:
    """16 rows of 64 bytes become 8 rows of 64: output row k reads rows 2 k to 2 k + 2."""
    rows = Rows(inputs=16, outputs=8, reach=3, stride=2, padding=0)
    assert gap(rows, height, 64, 64, carries=carries, direct=direct) == expected
