"""The checker of schedules: it takes what is right, and finds each kind of mistake."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.graph.ir import Graph
from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.memory import plan_arenas
from bqsearch.hardware.schedule import Schedule, Step
from bqsearch.hardware.scratch import scratch_sizes
from bqsearch.testing.schedules import check_schedule
from networks import Builder, random_network

FAR = 4_000  # where nothing else lies


def at(tensor: int | None, offset: int, nbytes: int) -> Buffer:
    return Buffer(tensor=tensor, offset=offset, nbytes=nbytes, first=0, last=9)


def single(graph: Graph, kind: str, place: int, rows: int | None = None, direct: bool = False) -> Schedule:
    """All operators in one step; the input lies at 1,000, the output at 1,000 + `place`, scratch far away."""
    ops = tuple(range(len(graph.ops)))
    sizes = scratch_sizes(graph, ops, kind, rows, {})
    sizes = (*sizes[:-1], 0) if direct else sizes
    scratch = tuple(at(None, FAR + 400 * i, nbytes) for i, nbytes in enumerate(sizes))
    made = graph.tensors[graph.outputs[0]]
    strips = 1 if rows is None else -(-made.shape[1] // rows)
    buffers = (at(graph.inputs[0], 1_000, graph.input.nbytes), at(graph.outputs[0], 1_000 + place, made.nbytes))
    return Schedule(steps=(Step(kind=kind, ops=ops, rows=rows, scratch=scratch, strips=strips),), buffers=buffers)


def passes(graph: Graph, schedule: Schedule) -> bool:
    try:
        check_schedule(graph, schedule)
    except AssertionError:
        return False
    return True


def network(make: Callable[[Builder, int], int]) -> Graph:
    """What is made of an image of 6 rows of 5 pixels of 4 channels, 20 bytes a row."""
    net = Builder("int8")
    image = net.activation("image", (1, 6, 5, 4))
    return net.build([image], [make(net, image)])


def block(expand: bool, project: bool, stride: int = 1) -> Graph:
    def make(net: Builder, image: int) -> int:
        wide = net.conv("expand", image, 6) if expand else image
        deep = net.depthwise("depthwise", wide, stride=stride)
        return net.conv("project", deep, 4) if project else deep

    return network(make)


def test_whole_steps_keep_input_and_output_apart() -> None:
    graph = network(lambda net, image: net.conv("conv", image, 4))
    assert passes(graph, single(graph, "whole", 120))
    assert passes(graph, single(graph, "whole", -120))
    assert not passes(graph, single(graph, "whole", 116))
    assert not passes(graph, single(graph, "whole", -116))
    assert not passes(graph, single(graph, "whole", 0))


@pytest.mark.parametrize(("stride", "size"), [(1, 3), (2, 3), (3, 1), (2, 4)])
def test_depthwise_convolutions_in_place(stride: int, size: int) -> None:
    graph = network(lambda net, image: net.depthwise("depthwise", image, stride=stride, size=size))
    assert passes(graph, single(graph, "in_place", 0))
    assert not passes(graph, single(graph, "in_place", 4))
    assert not passes(graph, single(graph, "in_place", 400))


def test_elementwise_operators_in_place() -> None:
    net = Builder("int8")
    left, right = net.activation("left", (1, 40)), net.activation("right", (1, 40))
    graph = net.build([left, right], [net.add("sum", left, right)])
    step = Step(kind="in_place", ops=(0,), rows=None, scratch=())
    for place, other, fine in [(0, 40, True), (60, 20, True), (0, 60, True), (0, 32, False), (32, 0, False)]:
        buffers = (at(left, place, 40), at(right, other, 40), at(graph.outputs[0], place, 40))
        assert passes(graph, Schedule(steps=(step,), buffers=buffers)) == fine, (place, other)


@pytest.mark.parametrize(
    ("graph", "rows", "direct", "most"),
    [
        (network(lambda net, image: net.conv("conv", image, 4, size=3)), 1, True, -2 * 20),  # the last reads 4 and 5
        (network(lambda net, image: net.conv("conv", image, 4, size=3)), 1, False, -20),
        (network(lambda net, image: net.conv("conv", image, 4)), 2, True, -2 * 20),
        (network(lambda net, image: net.conv("conv", image, 4)), 2, False, 0),
        (network(lambda net, image: net.conv("conv", image, 4, size=3, stride=2)), 1, False, 2 * 20 - 12),
        (network(lambda net, image: net.conv("conv", image, 12)), 1, False, 5 * 20 - 5 * 60),
        (block(expand=True, project=True), 1, False, 20),  # rows 0 and 1 are expanded before row 0 is written
        (block(expand=True, project=True, stride=2), 1, False, 3 * 20 - 12),
        (block(expand=True, project=True), 6, False, None),
        (block(expand=False, project=True), 1, False, -20),
        (block(expand=False, project=True), 2, False, -20),
        (block(expand=True, project=False), 1, True, 5 * 20 - 5 * 30),
    ],
)
def test_strips_reach_just_so_far_into_their_input(graph: Graph, rows: int, direct: bool, most: int | None) -> None:
    """`most` is where the output begins at the latest, counted from the input's begin; None for anywhere."""
    tried = range(-200, 120)
    found = [place for place in tried if passes(graph, single(graph, "strips", place, rows, direct))]
    assert found == [place for place in tried if most is None or place <= most]


def test_strips_are_counted() -> None:
    graph = block(expand=True, project=True)
    schedule = single(graph, "strips", 200, 2)
    assert passes(graph, schedule)
    assert not passes(graph, replace(schedule, steps=(replace(schedule.steps[0], strips=2),)))


def test_scratch_has_its_size_and_lies_across_nothing() -> None:
    graph = network(lambda net, image: net.depthwise("depthwise", image))
    schedule = single(graph, "in_place", 0)
    step = schedule.steps[0]
    for index, size in [(0, 9), (2, 3 * 7)]:
        assert step.scratch[index].nbytes == size
        for changed in (
            replace(step.scratch[index], nbytes=size - 1),
            replace(step.scratch[index], offset=1_000),
            replace(step.scratch[index], offset=1_116),
            replace(step.scratch[index], offset=FAR + 802),
            replace(step.scratch[index], offset=step.scratch[2 - index].offset),
        ):
            scratch = [*step.scratch]
            scratch[index] = changed
            assert not passes(graph, replace(schedule, steps=(replace(step, scratch=tuple(scratch)),)))
    with pytest.raises(AssertionError):
        check_schedule(graph, schedule, {0: 1})


def test_every_operator_is_executed_once_and_after_what_it_reads() -> None:
    graph = network(lambda net, image: net.conv("b", net.conv("a", image, 4), 4))
    whole = [Step(kind="whole", ops=(op,), rows=None, scratch=(at(None, FAR, 4), at(None, 0, 0))) for op in (0, 1)]
    buffers = tuple(at(t, 120 * i, 120) for i, t in enumerate((0, graph.ops[0].outputs[0], graph.outputs[0])))
    assert passes(graph, Schedule(steps=tuple(whole), buffers=buffers))
    for steps in (whole[:1], [*whole, whole[1]], whole[::-1]):
        assert not passes(graph, Schedule(steps=tuple(steps), buffers=buffers))


@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_scratch_across_a_step_s_output_is_found(seed: int, where: int) -> None:
    graph = random_network(seed, 8)
    schedule = plan_arenas(graph, 1_000_000).plans[0].schedule({})
    steps = [step for step in schedule.steps if step.scratch and step.scratch[0].nbytes]
    if not steps:
        return
    step = steps[where % len(steps)]
    offset = schedule.offsets[graph.ops[step.ops[-1]].outputs[0]]
    moved = replace(step, scratch=(replace(step.scratch[0], offset=offset), *step.scratch[1:]))
    changed = tuple(moved if found is step else found for found in schedule.steps)
    assert passes(graph, schedule)
    assert not passes(graph, replace(schedule, steps=changed))
