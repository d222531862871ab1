"""The memory plan: it computes what the network computes, keeps what it says, and is as small as it can be."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bqsearch import registry
from bqsearch.datasets import feed
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.hardware import target, work
from bqsearch.hardware.memory import DECODERS, Arenas, greedy_arena, plan_arenas
from bqsearch.hardware.moves import Activations
from bqsearch.hardware.order import best_order
from bqsearch.runtime import int8
from bqsearch.testing.schedules import check_schedule
from networks import Builder, random_network

NETWORKS = st.builds(random_network, st.integers(0, 2**32), st.integers(1, 12))
AMPLE = 1_000_000


def tables_of(graph: Graph, seed: int) -> dict[int, int]:
    rng = np.random.default_rng(seed)
    return {op: int(rng.integers(0, 200)) for op in range(len(graph.ops)) if rng.random() < 0.7}


@cache
def built_in() -> Graph:
    zoo = registry.load("model", "mobilenet_v2")
    data = registry.load("dataset", zoo.dataset)(0)
    given = registry.load("importer", "tflite")(zoo.checkpoint)
    samples = feed.encode(data.train.x[:8], given.input, data.normalize)
    return passes.fuse_padding(int8.quantize(given, samples))


@cache
def built_in_plans() -> Arenas:
    return plan_arenas(built_in(), AMPLE)


@given(NETWORKS, st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_every_plan_computes_what_the_network_computes(graph: Graph, seed: int) -> None:
    tables = tables_of(graph, seed)
    for plan in (*plan_arenas(graph, AMPLE).plans, greedy_arena(Activations(graph=graph))):
        check_schedule(graph, plan.schedule({}), seed=seed)
        check_schedule(graph, plan.schedule(tables), tables, seed)


@given(NETWORKS)
@example(random_network(248848, 5))  # in its best order every way within the greedy arena repeats something
@settings(deadline=None, max_examples=60)
def test_plans_go_from_least_work_to_least_memory(graph: Graph) -> None:
    arenas = plan_arenas(graph, AMPLE)
    plans, greedy = arenas.plans, greedy_arena(Activations(graph=graph))
    assert plans[0].repeated == 0
    assert plans[0].nbytes <= greedy.nbytes
    assert all(plan.nbytes >= arenas.lower_bound for plan in plans)
    for one, other in pairwise(plans):
        assert (one.repeated, one.nbytes) <= (other.repeated, other.nbytes)
    least = plan_arenas(graph, 0).plans
    assert len(least) == len(DECODERS)
    assert min(plan.nbytes for plan in least) == min(plan.nbytes for plan in plans)


@given(NETWORKS, st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_the_arena_is_that_of_its_schedule(graph: Graph, seed: int) -> None:
    tables = tables_of(graph, seed)
    for plan in plan_arenas(graph, AMPLE).plans:
        nbytes, peak = plan.with_tables(tables)
        assert plan.schedule(tables).nbytes == nbytes
        assert plan.schedule({}).nbytes == plan.nbytes == plan.with_tables({})[0] <= nbytes
        steps = plan.schedule(tables).steps
        ends = [max(b.end for b in (*live, *step.scratch)) for live, step in zip(plan.live, steps, strict=True)]
        assert plan.step[peak] == ends.index(nbytes)
        assert nbytes == max(ends)
        assert plan.schedule(tables).decodes == plan.decodes
        alone = {op: plan.end(op, nbytes) for op, nbytes in tables.items()}
        assert max([plan.nbytes, *alone.values()]) <= nbytes


@given(NETWORKS, st.integers(0, 2**32), st.floats(0, 1.2))
@settings(deadline=None, max_examples=60)
def test_within_a_limit_the_plan_is_of_least_work(graph: Graph, seed: int, share: float) -> None:
    tables, largest = tables_of(graph, seed), plan_arenas(graph, AMPLE).plans[0]
    limit = int(share * largest.with_tables(tables)[0])
    arenas = plan_arenas(graph, limit)
    chosen = arenas.within(limit, tables)
    fitting = [plan for plan in arenas.plans if plan.with_tables(tables)[0] <= limit]
    if fitting:
        assert chosen.repeated == min(plan.repeated for plan in fitting)
        assert chosen.with_tables(tables)[0] <= limit
    else:
        assert chosen.with_tables(tables)[0] == min(plan.with_tables(tables)[0] for plan in arenas.plans)
    for op, nbytes in tables.items():
        assert arenas.least(op, nbytes) <= chosen.with_tables(tables)[0]


def test_by_hand() -> None:
    """4x4x1 -> conv 3x3, 2 channels -> flat -> dense 3 -> softmax: with a filter of 9, and of 32, weights."""
    net = Builder("int8", seed=1)
    image = net.activation("image", (1, 4, 4, 1))
    flat = net.reshape("flat", net.conv("net/conv", image, 2, size=3), (1, 32))
    graph = net.build([image], [net.softmax("scores", net.dense("net/dense", flat, 3))])
    plan = plan_arenas(graph, AMPLE).plans[0]
    assert [move.kind for move in plan.moves] == ["whole", "in_place", "whole", "whole"]
    assert plan.nbytes == 32 + 32 + 3
    assert plan.with_tables({2: 7}) == (32 + 32 + 4 + 7, 2)
    assert plan.places[graph.ops[0].outputs[0]] == 32
    assert plan.end(0, 50) == 32 + 32 + 50  # the filter lies between input and output
    assert plan.decodes == {0: 1, 1: 1, 2: 1, 3: 1}


def test_the_input_and_the_output_keep_their_memory() -> None:
    net = Builder("int8")
    first, second = net.activation("first", (1, 2, 2, 3)), net.activation("second", (1, 2, 2, 3))
    early = net.conv("early", first, 3)
    plan, *_ = plan_arenas(net.build([first, second], [early, net.conv("late", second, 5)]), 0).plans
    lives = {b.tensor: (b.first, b.last) for b in plan.buffers}
    assert (lives[first], lives[second], lives[early]) == ((0, 0), (0, 1), (0, 1))


@pytest.mark.parametrize("last", ["conv", "relu", "block"])
def test_an_output_that_a_later_operator_reads_is_not_overwritten(last: str) -> None:
    """Also by the last step, though nothing comes after it."""
    net = Builder("int8")
    image = net.activation("image", (1, 8, 8, 1))
    first = net.conv("first", image, 4)
    if last == "block":
        made = net.conv("project", net.depthwise("depthwise", first), 2)
    else:
        made = net.conv("last", first, 2) if last == "conv" else net.like("RELU", "relu", first, (1, 8, 8, 4))
    graph = net.build([image], [first, made])
    for limit in (0, AMPLE):
        for plan in plan_arenas(graph, limit).plans:
            check_schedule(graph, plan.schedule({}))


def test_the_built_in_model_without_repeated_work() -> None:
    """Layer by layer it takes 15,360 bytes of activations alone, and a filter of 48 + 13 weights and padding."""
    graph = built_in()
    assert greedy_arena(Activations(graph=graph)).nbytes == 15_421
    plan = built_in_plans().plans[0]
    assert (plan.nbytes, plan.repeated) == (6_160, 0)
    assert set(plan.decodes.values()) == {1}


def test_the_built_in_model_in_the_least_memory() -> None:
    """With stack and statics it is far below the board's 16 KB."""
    arenas = built_in_plans()
    plan = arenas.within(0, {})
    assert plan.nbytes == arenas.lower_bound == 4_240
    weights = sum(Activations(graph=built_in())._weights(op) for op in range(len(built_in().ops)))
    assert plan.repeated < weights / 50
    board = target.load("hifive1")
    stack = work.load(board.code_table).deepest(built_in()) + board.stack
    assert plan.nbytes + stack + board.static_ram < board.ram / 3


def test_plans_for_coded_weights_are_nearly_as_small_as_one_of_their_own() -> None:
    """16 levels for all layers, and Huffman codes for all."""
    for decoder in (16, 256 + 16):
        known = Activations(graph=built_in(), decoder=decoder)
        least = best_order(known)[1]
        assert least <= built_in_plans().within(0, known.decoders).with_tables(known.decoders)[0] <= least * 1.01


@pytest.mark.parametrize("stair", [0, -1])
def test_the_built_in_model_computes_what_it_should(stair: int) -> None:
    check_schedule(built_in(), built_in_plans().plans[stair].schedule({}))
