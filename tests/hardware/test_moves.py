"""Which moves an operator or a chain has, by hand for each kind of operator."""

from dataclasses import replace

import pytest

from bqsearch.graph.ir import Graph
from bqsearch.hardware.moves import Activations, Move
from networks import LINEAR, SAME, Builder, random_network


def block(stride: int = 1, expand: int = 1) -> Graph:
    """8x8x4 -> expand to 12 -> depthwise 3x3 -> project to 4."""
    net = Builder("int8")
    image = net.activation("image", (1, 8, 8, 4))
    wide = net.conv("expand", image, 12, size=expand)
    deep = net.depthwise("depthwise", wide, stride=stride)
    return net.build([image], [net.conv("project", deep, 4)])


def kinds(graph: Graph, op: int) -> set[tuple[str, tuple[int, ...]]]:
    return {(move.kind, move.ops) for move in Activations(graph=graph).moves[op]}


def one(net: Builder, image: int, made: int) -> Graph:
    return net.build([image], [made])


def test_moves_of_a_block() -> None:
    graph = block()
    assert kinds(graph, 0) == {("whole", (0,)), ("strips", (0,)), ("strips", (0, 1)), ("strips", (0, 1, 2))}
    assert kinds(graph, 1) == {("whole", (1,)), ("in_place", (1,)), ("strips", (1, 2))}
    assert kinds(graph, 2) == {("whole", (2,)), ("strips", (2,))}


def test_the_first_move_is_the_whole_one() -> None:
    for moves in Activations(graph=block()).moves:
        assert moves[0].kind == "whole"
        assert moves[0].onto is None


def test_strips_of_a_block() -> None:
    """48 + 108 + 48 weights, decoded once for each strip; the carry is two rows of 8 pixels of 12 channels."""
    chains = [m for m in Activations(graph=block()).moves[0] if m.ops == (0, 1, 2)]
    assert [(m.rows, m.strips) for m in chains] == [(8, 1), (4, 2), (3, 3), (2, 4), (1, 8)]
    assert [m.repeated for m in chains] == [204 * (m.strips - 1) for m in chains]
    assert [m.scratch for m in chains[:2]] == [(4 + 9, 0, 30, 0, 768), (4 + 9, 0, 30, 192, 384)]
    assert not any(m.direct for m in chains)
    assert [m.gap for m in chains] == [-256, 4 * 32 - 5 * 32, 3 * 32 - 4 * 32, 2 * 32 - 3 * 32, 32 - 2 * 32]


def test_an_expanding_convolution_alone_is_written_as_it_is_made_or_through_a_buffer() -> None:
    """Rows of 32 bytes become rows of 96: the last one is written behind 8 * 96 and read at 7 * 32."""
    alone = [m for m in Activations(graph=block()).moves[0] if m.ops == (0,) and m.rows == 1]
    assert [(m.direct, m.scratch, m.gap) for m in alone] == [
        (False, (4, 0, 96), 7 * 96 - 7 * 32),
        (True, (4, 0, 0), 8 * 96 - 7 * 32),
    ]


def test_a_convolution_that_looks_around_does_not_expand() -> None:
    assert ("strips", (0, 1)) not in kinds(block(expand=3), 0)
    assert ("strips", (1, 2)) in kinds(block(expand=3), 1)


def test_a_depthwise_convolution_with_a_stride_is_done_in_place() -> None:
    graph = block(stride=2)
    (move,) = (m for m in Activations(graph=graph).moves[1] if m.kind == "in_place")
    assert (move.onto, move.scratch) == (graph.ops[1].inputs[0], (9, 0, 3 * (2 * 3 + 3)))


def test_what_somebody_else_reads_cannot_stay_inside_a_chain() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 8, 8, 4))
    wide = net.conv("expand", image, 4)
    deep = net.depthwise("depthwise", wide)
    graph = net.build([image], [net.add("sum", wide, net.conv("project", deep, 4))])
    assert ("strips", (0, 1)) not in kinds(graph, 0)
    assert ("strips", (1, 2)) in kinds(graph, 1)
    assert ("strips", (1, 2)) not in kinds(replace(graph, outputs=(deep, graph.outputs[0])), 1)


def test_several_filters_for_a_channel_are_neither_in_place_nor_in_strips() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 2))
    weights, bias = net.weights("w", image, (1, 3, 3, 4), 3, 9)
    options = {"padding": SAME, "strideH": 1, "strideW": 1, "depthMultiplier": 2}
    made = net.activation("out", (1, 4, 4, 4))
    net.op("DEPTHWISE_CONV_2D", (image, weights, bias), made, "DepthwiseConv2DOptions", **options)
    assert kinds(one(net, image, made), 0) == {("whole", (0,))}


def test_several_images_at_once_are_neither_in_place_nor_in_strips() -> None:
    graph = block()
    activations = {*graph.producers, 0}
    many = graph.with_tensors(
        {t: replace(graph.tensors[t], shape=(2, *graph.tensors[t].shape[1:])) for t in activations}
    )
    assert [kinds(many, op) for op in range(3)] == [{("whole", (op,))} for op in range(3)]


@pytest.mark.parametrize("code", ["RELU", "RELU6", "LOGISTIC", "QUANTIZE"])
def test_elementwise_operators_in_place(code: str) -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 2, 2, 3))
    assert kinds(one(net, image, net.like(code, "made", image, (1, 2, 2, 3))), 0) == {
        ("whole", (0,)),
        ("in_place", (0,)),
    }


def test_a_wider_output_is_not_in_place() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 6))
    wide = net.tensor("wide", (1, 6), "int32", quantization=net.tensors[image].quantization)
    net.op("QUANTIZE", (image,), wide, "QuantizeOptions")
    assert kinds(one(net, image, wide), 0) == {("whole", (0,))}


def test_a_sum_lies_on_either_input_of_its_shape() -> None:
    net = Builder("int8")
    left, right = net.activation("left", (1, 2, 2, 3)), net.activation("right", (1, 1, 1, 3))
    both = net.add("both", left, left)
    graph = net.build([left, right], [net.add("sum", both, right)])
    known = Activations(graph=graph)
    assert [m.onto for m in known.moves[0]] == [None, left]
    assert [m.onto for m in known.moves[1]] == [None, both]
    net.add("two", left, both)
    assert [m.onto for m in Activations(graph=net.build([left, right], [net.ops[-1].outputs[0]])).moves[2]] == [
        None,
        left,
        both,
    ]


def test_poolings_in_strips_decode_nothing() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 8, 8, 2))
    options = {"padding": SAME, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    moves = Activations(graph=one(net, image, net.like("MAX_POOL_2D", "pool", image, (1, 4, 4, 2), **options))).moves[0]
    assert {(m.rows, m.direct): (m.repeated, m.scratch) for m in moves if m.kind == "strips"} == {
        (2, False): (0, (16,)),
        (2, True): (0, (0,)),
        (1, False): (0, (8,)),
        (1, True): (0, (0,)),
    }


def test_views_take_no_memory_and_share_their_readers() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 2, 2, 3))
    flat = net.reshape("flat", image, (1, 12))
    graph = net.build(
        [image], [net.dense("dense", flat, 3), net.conv("conv", image, 2, fusedActivationFunction=LINEAR)]
    )
    known = Activations(graph=graph)
    assert known.moves[0] == (Move(kind="in_place", ops=(0,), reads=(image,), writes=()),)
    assert known.readers[image] == {0, 1, 2}
    assert flat not in known.nbytes
    assert known.inputs == {image}


@pytest.mark.parametrize("seed", range(12))
def test_tables_make_scratch_larger(seed: int) -> None:
    graph = random_network(seed)
    known = Activations(graph=graph)
    for move in (move for moves in known.moves for move in moves):
        assert move.sized(graph, {}) == move.scratch
        larger = move.sized(graph, dict.fromkeys(range(len(graph.ops)), 40))
        assert [new - old for new, old in zip(larger, move.scratch, strict=True)] in _grown(graph, move)


def _grown(graph: Graph, move: Move) -> list[list[int]]:
    """Tables stand second; those of an expanding and a depthwise convolution beside one another."""
    if not {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} & {graph.ops[op].code for op in move.ops}:
        return [[0] * len(move.scratch)]
    both = len(move.ops) > 1 and graph.ops[move.ops[1]].code == "DEPTHWISE_CONV_2D"
    return [[0, 80 if both else 40, *[0] * (len(move.scratch) - 2)]]
