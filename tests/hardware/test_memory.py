"""The arena: nothing that lives together overlaps, and what is reported is what the placement needs."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch import registry
from bqsearch.datasets import feed
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.hardware import target
from bqsearch.hardware.memory import ALIGNMENT, ArenaPlan, plan_arena
from bqsearch.runtime import int8
from networks import Builder


def graph_of(sizes: list[int], reads: list[tuple[int, int]], views: list[bool], output: int | None = None) -> Graph:
    """Operator i makes tensor i + 1: a sum of two earlier tensors, or the first of them viewed anew."""
    shapes = [sizes[0]]
    ops = []
    for index, ((left, right), view) in enumerate(zip(reads, views, strict=True)):
        inputs = (left % (index + 1),) if view else (left % (index + 1), right % (index + 1))
        shapes.append(shapes[inputs[0]] if view else sizes[index + 1])
        ops.append(Op(code="RESHAPE" if view else "ADD", inputs=inputs, outputs=(index + 1,), options={}))
    tensors = tuple(Tensor(name=str(i), shape=(1, n), dtype="int8") for i, n in enumerate(shapes))
    return Graph(name="random", tensors=tensors, ops=tuple(ops), inputs=(0,), outputs=(output or len(ops),))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 14))
    sizes = draw(st.lists(st.integers(1, 90), min_size=count + 1, max_size=count + 1))
    reads = draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=count, max_size=count))
    views = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return graph_of(sizes, reads, views, draw(st.integers(1, count)))


def needed(graph: Graph) -> list[set[int]]:
    """For each operator the tensors whose memory must stand, found by following every use."""
    owner = {0: 0}
    for op in graph.ops:
        owner[op.outputs[0]] = owner[op.inputs[0]] if op.code == "RESHAPE" else op.outputs[0]
    uses = [{owner[t] for t in (*op.inputs, *op.outputs)} for op in graph.ops]
    uses[0].add(owner[graph.inputs[0]])
    uses[-1].add(owner[graph.outputs[0]])
    spans = {t: [i for i, used in enumerate(uses) if t in used] for t in set(owner.values())}
    return [{t for t, s in spans.items() if s[0] <= i <= s[-1]} for i in range(len(uses))]


def lowest_free(plan: ArenaPlan, op: int, nbytes: int) -> int:
    """The lowest aligned offset for `nbytes` beside an operator's activations, by trying all."""
    taken = {byte for buffer in plan.live[op] for byte in range(buffer.offset, buffer.end)}
    offset = 0
    while taken & set(range(offset, offset + nbytes)):
        offset += ALIGNMENT
    return offset


@given(graphs())
@settings(deadline=None)
def test_no_two_buffers_that_live_together_overlap(graph: Graph) -> None:
    plan = plan_arena(graph)
    for live in plan.live:
        for one, other in combinations(live, 2):
            assert one.end <= other.offset or other.end <= one.offset
    assert all(buffer.offset % ALIGNMENT == 0 for buffer in plan.buffers)


@given(graphs())
@settings(deadline=None)
def test_buffers_stand_as_long_as_they_are_needed(graph: Graph) -> None:
    plan = plan_arena(graph)
    assert [{buffer.tensor for buffer in live} for live in plan.live] == needed(graph)
    assert {b.tensor: b.nbytes for b in plan.buffers} == {
        tensor: graph.tensors[tensor].size for held in needed(graph) for tensor in held
    }


@given(graphs())
@settings(deadline=None)
def test_the_arena_holds_everything_and_no_less_than_the_bound(graph: Graph) -> None:
    plan = plan_arena(graph)
    assert plan.nbytes == max(buffer.end for buffer in plan.buffers)
    bound = max(sum(graph.tensors[tensor].size for tensor in held) for held in needed(graph))
    assert plan.lower_bound == bound
    assert plan.nbytes >= bound


@given(graphs(), st.lists(st.integers(0, 60), min_size=14, max_size=14))
@settings(deadline=None)
def test_scratch_lies_beside_the_activations(graph: Graph, sizes: list[int]) -> None:
    plan = plan_arena(graph)
    scratch = {op: nbytes for op, nbytes in enumerate(sizes[: plan.operators]) if nbytes}
    ends = []
    for op, live in enumerate(plan.live):
        top = max(buffer.end for buffer in live)
        nbytes = scratch.get(op, 0)
        ends.append(max(top, lowest_free(plan, op, nbytes) + nbytes) if nbytes else top)
    assert [plan.end(op, scratch.get(op, 0)) for op in range(plan.operators)] == ends
    nbytes, peak = plan.with_scratch(scratch)
    assert nbytes == max(ends)
    assert peak == ends.index(nbytes)
    assert nbytes >= max(plan.nbytes, max((graph_bytes(plan, op) + n for op, n in scratch.items()), default=0))


def graph_bytes(plan: ArenaPlan, op: int) -> int:
    return sum(buffer.nbytes for buffer in plan.live[op])


def test_scratch_fills_a_gap_before_it_grows_the_arena() -> None:
    """During the last operator tensor 3 lies at 0, 2 at 40 and 1 at 80: 32 bytes of the dead tensor 0 are free."""
    plan = plan_arena(graph_of([40, 8, 40, 8], [(0, 0), (0, 0), (1, 2)], [False] * 3))
    assert [(buffer.tensor, buffer.offset) for buffer in plan.live[2]] == [(3, 0), (2, 40), (1, 80)]
    assert plan.with_scratch({}) == plan.with_scratch({2: 32}) == (88, 0)
    assert plan.with_scratch({2: 33}) == (88 + 33, 2)


def test_reshape_shares_its_memory() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 1))
    flat = net.reshape("flat", image, (1, 16))
    graph = net.build([image], [net.dense("dense", flat, 3)])
    plan = plan_arena(graph)
    assert [(graph.tensors[b.tensor].name, b.nbytes, b.first, b.last) for b in plan.buffers] == [
        ("image", 16, 0, 1),
        ("dense/out", 3, 1, 1),
    ]
    assert plan.nbytes == 19


def test_the_input_and_the_output_keep_their_memory() -> None:
    graph = graph_of([10, 20, 30], [(0, 0), (1, 1)], [False, False])
    lives = {b.tensor: (b.first, b.last) for b in plan_arena(graph).buffers}
    assert lives == {0: (0, 0), 1: (0, 1), 2: (1, 1)}


def test_the_built_in_model_fills_fifteen_kilobytes() -> None:
    zoo = registry.load("model", "mobilenet_v2")
    data = registry.load("dataset", zoo.dataset)(0)
    given = registry.load("importer", "tflite")(zoo.checkpoint)
    samples = feed.encode(data.train.x[:8], given.input, data.normalize)
    graph = passes.fuse_padding(int8.quantize(given, samples))
    plan = plan_arena(graph)
    assert plan.nbytes == plan.lower_bound == 15_360
    assert target.load("hifive1").ram - plan.nbytes == 1_024
    assert np.dtype(graph.input.dtype) == np.int8
