"""Scratch buffers by hand; that they are large enough, the runtime's tests show."""

import pytest

from bqsearch.graph.ir import Graph
from bqsearch.hardware.scratch import aligned, carried_rows, decoder_bytes, scratch_sizes, window_shape
from networks import SAME, VALID, Builder


def block(stride: int = 1, size: int = 3, padding: int = SAME) -> Graph:
    """Operators: 0 expand (6 to 10 channels), 1 depthwise, 2 project (to 5), 3 dense (of 200 units)."""
    net = Builder("int8")
    source = net.activation("x", (1, 9, 7, 6))
    depthwise = net.depthwise("d", net.conv("e", source, 10), size, stride, padding=padding)
    project = net.conv("p", depthwise, 5)
    elements = net.tensors[project].size
    return net.build([source], [net.dense("f", net.reshape("r", project, (1, elements)), 20)])


@pytest.mark.parametrize(
    ("coding", "table", "expected"),
    [
        ("raw", 0, 0),
        ("packed", 16, 16),
        ("packed", 640, 128),
        ("mask", 15, 16),
        ("mask", 900, 256),
        ("huffman", 30, 288),
        ("huffman", 2000, 512),
        ("sparse", 40, 552),
        ("sparse", 2000, 768),
    ],
)
def test_tables_of_a_decoder(coding: str, table: int, expected: int) -> None:
    """The codebook of one group, and 256 bytes for each lookup."""
    assert decoder_bytes(coding, table) == expected


def test_whole_operators() -> None:
    graph, tables = block(), {0: 3, 1: 5, 2: 7, 4: 11}
    sizes = [scratch_sizes(graph, (i,), "whole", None, tables) for i in range(5)]
    assert sizes == [(6, 3), (9, 5, 3 * 9), (10, 7), (), (64, 11)]
    assert scratch_sizes(graph, (1,), "in_place", None, {}) == (9, 0, 27)


def test_a_chain() -> None:
    """Filters and tables of expand and depthwise side by side, each from a multiple of 4 bytes."""
    graph = block()
    assert scratch_sizes(graph, (0, 1, 2), "strips", 2, {0: 3, 1: 5, 2: 7}) == (
        8 + 9,
        4 + 5,
        27,
        2 * 7 * 10,
        2 * 7 * 10,
    )
    assert scratch_sizes(graph, (0, 1, 2), "strips", 2, {2: 70}) == (17, 70, 27, 140, 140)
    assert scratch_sizes(graph, (0, 1), "strips", 4, {}) == (17, 0, 27, 140, 4 * 70)
    assert scratch_sizes(graph, (1, 2), "strips", 4, {}) == (10, 0, 27, 0, 280)
    assert scratch_sizes(graph, (1,), "strips", 4, {}) == (9, 0, 27, 0, 280)


def test_nothing_is_carried_where_one_strip_does_it_all() -> None:
    for rows in (9, 20):
        assert scratch_sizes(block(), (0, 1, 2), "strips", rows, {}) == (17, 0, 27, 0, 9 * 70)


@pytest.mark.parametrize(
    ("stride", "size", "padding", "window", "carried"),
    [
        (1, 3, SAME, (3, 9), 2),
        (2, 3, SAME, (3, 9), 1),
        (2, 3, VALID, (3, 7), 1),
        (3, 2, VALID, (2, 5), 0),
        (1, 5, SAME, (5, 11), 4),
    ],
)
def test_windows(stride: int, size: int, padding: int, window: tuple[int, int], carried: int) -> None:
    graph = block(stride, size, padding)
    assert window_shape(graph, graph.ops[1]) == window
    assert carried_rows(graph, graph.ops[1]) == carried


def test_single_operators_in_strips() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 9, 8, 3))
    conv = net.conv("c", source, 4, size=3, stride=2)
    options = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    pool = net.like("MAX_POOL_2D", "p", conv, (1, 3, 2, 4), **options)
    graph = net.build([source], [pool])
    assert scratch_sizes(graph, (0,), "strips", 2, {0: 9}) == (27, 9, 2 * 4 * 4)
    assert scratch_sizes(graph, (0,), "strips", 50, {0: 9}) == (27, 9, 5 * 4 * 4)
    assert scratch_sizes(graph, (1,), "strips", 1, {}) == (1 * 2 * 4,)
    assert scratch_sizes(graph, (1,), "whole", None, {}) == ()


def test_dense_layers_hold_a_block_or_for_many_rows_a_filter() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 200))
    one = net.dense("d", source, 3)
    rows = net.reshape("r", source, (2, 100))
    weights, bias = net.weights("w", rows, (7, 100), 0, 12)
    two = net.op("FULLY_CONNECTED", (rows, weights, bias), net.activation("o", (2, 7)), "FullyConnectedOptions")
    graph = net.build([source], [one, two])
    assert scratch_sizes(graph, (0,), "whole", None, {}) == (64, 0)
    assert scratch_sizes(graph, (2,), "whole", None, {}) == (100, 0)


def test_multiples_of_four() -> None:
    assert [aligned(n) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]
