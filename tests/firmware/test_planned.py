"""Planned schedules in C: whatever lies on whatever, a network computes what it computes layer by layer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bqsearch.errors import UnsupportedError
from bqsearch.firmware.emit import emit_graph
from bqsearch.firmware.host import build
from bqsearch.graph.ir import Graph
from bqsearch.hardware.memory import ArenaPlan, greedy_arena, plan_arenas
from bqsearch.hardware.moves import Activations
from bqsearch.types import Array
from networks import random_inputs, random_network, small_int8_network, small_uint8_network

FLAGS = ("-std=c11", "-O0", "-fPIC", "-shared")


def outputs(graph: Graph, plan: ArenaPlan, inputs: Array, cache: Path) -> Array:
    return build(graph, emit_graph(graph, {}, plan.schedule({})), cache, FLAGS).run(inputs)


def check(graph: Graph, cache: Path) -> Array:
    inputs = random_inputs(graph, 3)
    expected = outputs(graph, greedy_arena(Activations(graph=graph)), inputs, cache)
    ample, smallest = plan_arenas(graph, 1_000_000).plans[0], plan_arenas(graph, 0).plans[0]
    for plan in (ample, smallest):
        assert (outputs(graph, plan, inputs, cache) == expected).all()
    return expected


@pytest.mark.parametrize("make", [small_int8_network, small_uint8_network])
def test_small_networks(make, cache: Path) -> None:
    assert len(np.unique(check(make(), cache))) > 1


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=8)
def test_random_networks(cache: Path, seed: int) -> None:
    graph = random_network(seed, 8)
    try:
        emit_graph(graph, {}, greedy_arena(Activations(graph=graph)).schedule({}))
    except UnsupportedError:
        assume(False)
    check(graph, cache)
