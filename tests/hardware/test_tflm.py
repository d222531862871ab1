"""The arena model against the interpreter itself, byte for byte, and against itself where the wheel is missing."""

import random
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bqsearch.graph import passes
from bqsearch.graph.decode import insert_decode
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.hardware.tflm import (
    ALIGNMENT,
    BOARD,
    WHEEL,
    HeadPlan,
    aligned,
    loading,
    plan_head,
    standing,
    tail,
)
from bqsearch.hardware.tflm_kernels import kernel, sizeof
from bqsearch.importers.tflite import load
from bqsearch.runtime import tflm
from decoding import coarse, encode, need_tflm, weights
from networks import Builder, newer_network, small_float_network, small_int8_network

REAL = [
    "anomaly_autoencoder",
    "hello_world",
    "inception_v1",
    "kws_ds_cnn",
    "lenet_300_100",
    "micro_speech",
    "person_detect",
    "resnet8",
    "squeezenet_v1.1",
    "vww_96",
]
KINDS = {"packed": 0, "huffman": 1, "mask": 2}
CODINGS = st.sampled_from(["raw", "packed", "huffman", "mask"])
MAKES = [small_int8_network, small_float_network, newer_network]


def placements(head: HeadPlan) -> list[tuple[int, int, int, int]]:
    return [(b.offset, b.nbytes, b.first, b.last) for b in head.buffers]


def check(graph: Graph, codings: dict[int, str], wheel: bool) -> None:
    """The plan is the interpreter's, and nothing that must stand is left out of it."""
    decoded = insert_decode(graph, encode(graph, codings))
    head = plan_head(decoded)
    assert head.lower_bound <= head.nbytes
    weights = {op.inputs[1]: graph.tensors[op.inputs[1]].nbytes for op in graph.ops if len(op.inputs) > 1}
    assert max(standing(graph)) <= plan_head(graph).nbytes
    for op, stands in zip(graph.ops, standing(graph), strict=True):
        coded = weights.get(op.inputs[1], 0) if len(op.inputs) > 1 and op.inputs[1] in codings else 0
        assert stands + aligned(coded) <= head.nbytes
    if wheel:
        told = tflm.allocations(serialize(decoded, short_zero_points=True))
        assert (told.head, told.tail) == (head.nbytes, tail(decoded, WHEEL))


@pytest.mark.parametrize("name", REAL)
def test_real_networks_take_what_the_interpreter_says(shared_models: Path, name: str) -> None:
    need_tflm()
    graph = coarse(load(shared_models / f"{name}_int8.tflite"))
    rng = random.Random(name)
    check(graph, {}, wheel=True)
    check(graph, dict.fromkeys(weights(graph), "packed"), wheel=True)
    check(graph, {t: rng.choice([*KINDS]) for t in weights(graph) if rng.random() < 0.5}, wheel=True)


@given(st.sampled_from([small_int8_network, newer_network]), st.lists(CODINGS, min_size=9, max_size=9))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_codings(make, codings: list[str]) -> None:
    graph = coarse(make())
    chosen = {t: coding for t, coding in zip(weights(graph), codings, strict=False) if coding != "raw"}
    check(graph, chosen, wheel=False)


def test_any_mix_of_codings_as_the_interpreter_says() -> None:
    need_tflm()
    rng = random.Random(5)
    for make in (small_int8_network, newer_network):
        graph = coarse(make())
        for _ in range(4):
            chosen = {t: rng.choice(["raw", *KINDS]) for t in weights(graph)}
            check(graph, {t: c for t, c in chosen.items() if c != "raw"}, wheel=True)


@st.composite
def branching(draw: st.DrawFn) -> Graph:
    """A network of random operators on 4 x 4 activations: each reads one or two earlier ones of their shape."""
    net = Builder("int8")
    made = [net.activation("x", (1, 4, 4, draw(st.integers(1, 9))))]
    for index in range(draw(st.integers(1, 12))):
        source = made[draw(st.integers(0, len(made) - 1))]
        twins = [t for t in made if net.tensors[t].shape == net.tensors[source].shape]
        kind, name = draw(st.sampled_from(["conv", "depthwise", "add", "mean", "pad"])), f"n{index}"
        if kind == "conv":
            made.append(net.conv(name, source, draw(st.integers(1, 40))))
        elif kind == "depthwise":
            made.append(net.depthwise(name, source))
        elif kind == "add":
            made.append(net.add(name, source, draw(st.sampled_from(twins))))
        elif kind == "pad":
            wide = net.pad(name, source, [[0, 0], [1, 1], [1, 1], [0, 0]])
            made.append(net.conv(f"{name}/conv", wide, 3, size=3, padding=1))
        else:
            net.dense(f"{name}/dense", net.mean(name, source), 7)
    unread = [op.outputs[0] for op in net.ops if not any(op.outputs[0] in other.inputs for other in net.ops)]
    return passes.prune(net.build([made[0]], unread or [made[-1]]))


@given(branching())
@settings(deadline=None, max_examples=60)
def test_fast_and_plain_plans_agree(graph: Graph) -> None:
    graph = coarse(graph)
    check(graph, dict.fromkeys(weights(graph)[::2], "packed"), wheel=False)


@given(branching())
@settings(deadline=None, max_examples=12)
def test_random_networks_take_what_the_interpreter_says(graph: Graph) -> None:
    need_tflm()
    check(coarse(graph), {}, wheel=True)


@given(branching())
@settings(deadline=None, max_examples=40)
def test_nothing_that_stands_together_overlaps(graph: Graph) -> None:
    head = plan_head(graph)
    for one, other in combinations(head.buffers, 2):
        if one.first <= other.last and other.first <= one.last:
            assert one.end <= other.offset or other.end <= one.offset
    assert all(b.offset % ALIGNMENT == 0 == b.nbytes % ALIGNMENT for b in head.buffers)
    assert head.nbytes >= head.lower_bound


@pytest.mark.parametrize(
    ("make", "head", "at_8", "at_4", "loads"),
    [
        (small_int8_network, 768, 2720, 1724, 3840),
        (small_float_network, 3072, 2560, 1592, 3648),
        (newer_network, 3792, 3696, 2236, 5816),
    ],
)
def test_golden_figures(make, head: int, at_8: int, at_4: int, loads: int) -> None:
    graph = make()
    assert plan_head(graph).nbytes == head
    assert (tail(graph, WHEEL), tail(graph, BOARD)) == (at_8, at_4)
    assert loading(graph, WHEEL) == loads


def test_pruned_weights_with_zero_points_of_their_own_take_a_copy_of_them() -> None:
    graph = coarse(small_int8_network())
    (first, *_) = weights(graph)
    zeros = graph.tensors[first].quantization
    shifted = replace(zeros, zero_points=np.ones_like(zeros.zero_points))
    moved = graph.with_tensors({first: replace(graph.tensors[first], quantization=shifted)})
    taken = [tail(insert_decode(g, encode(g, {first: "mask"})), WHEEL) for g in (graph, moved)]
    assert taken[1] - taken[0] == 16 == len(zeros.scales)


@pytest.mark.parametrize("make", MAKES)
def test_golden_figures_are_the_interpreters(make) -> None:
    need_tflm()
    check(make(), {}, wheel=True)


def chain(*sizes: int) -> Graph:
    """Tensor i + 1 is made of tensor i."""
    tensors = tuple(Tensor(name="", shape=(n,), dtype="int8") for n in sizes)
    ops = tuple(Op(code="RELU", inputs=(i,), outputs=(i + 1,), options={}) for i in range(len(sizes) - 1))
    return Graph(name="", tensors=tensors, ops=ops, inputs=(0,), outputs=(len(ops),))


def test_buffers_go_by_size_and_equal_ones_last_first() -> None:
    placed = plan_head(chain(10, 33, 16, 1)).buffers
    assert [(b.tensor, b.offset, b.nbytes, b.first, b.last) for b in placed] == [
        (0, 48, 16, 0, 1),
        (1, 0, 48, 1, 2),
        (2, 48, 16, 2, 3),
        (3, 0, 16, 3, 3),
    ]
    equal = plan_head(chain(16, 16)).buffers
    assert [(b.tensor, b.offset) for b in equal] == [(0, 16), (1, 0)]


def test_places_that_the_file_gives_come_first() -> None:
    graph = chain(16, 16, 16)
    assert [b.offset for b in plan_head(graph, (-1, 32, -1)).buffers] == [0, 32, 0]
    assert plan_head(graph, (0, 0, 0)).nbytes == 16


def test_tensors_without_elements_or_with_data_take_nothing() -> None:
    graph = small_int8_network()
    held = {b.tensor for b in plan_head(graph).buffers}
    assert held - {None} == {i for i, t in enumerate(graph.tensors) if t.data is None}
    assert plan_head(chain(0, 4)).buffers[0].tensor == 1


def test_a_mean_asks_for_sums_an_index_and_axes() -> None:
    net = Builder("int8")
    image = net.activation("x", (1, 4, 4, 5))
    graph = net.build([image], [net.mean("mean", image)])
    assert kernel("MEAN").scratch(graph, graph.ops[0], 8) == (20, 16, 8)
    assert [b.nbytes for b in plan_head(graph).buffers if b.tensor is None] == [32, 16, 16]
    assert len(plan_head(replace(graph, ops=())).buffers) == 2


def test_structs_are_padded_as_compilers_do() -> None:
    assert [sizeof("b", 8), sizeof("bi", 8), sizeof("ib", 8), sizeof("bp", 8), sizeof("bp", 4)] == [1, 8, 8, 16, 8]
    assert [sizeof("di", 4), sizeof("hb", 4), sizeof("ppi", 8), sizeof("ppi", 4)] == [16, 4, 24, 12]


def test_an_operator_that_is_not_known_is_taken_for_a_large_one() -> None:
    known = replace(chain(16, 16), ops=(Op(code="TRANSPOSE", inputs=(0,), outputs=(1,), options={}),))
    strange = replace(chain(16, 16), ops=(Op(code="NEW_THING", inputs=(0,), outputs=(1,), options={}),))
    assert tail(strange, BOARD) - tail(known, BOARD) >= 256 + 40


def test_an_arena_as_large_as_it_says_is_enough_and_a_smaller_one_is_not(shared_models: Path) -> None:
    """hello_world needs more to be loaded than to run."""
    need_tflm()
    path = shared_models / "hello_world_int8.tflite"
    graph = load(path)
    needed = max(plan_head(graph).nbytes + tail(graph, WHEEL), loading(graph, WHEEL))
    assert needed == loading(graph, WHEEL) == 1936
    script = (
        "import sys; from tflite_micro.python.tflite_micro.runtime import Interpreter;"
        "Interpreter.from_bytes(open(sys.argv[1], 'rb').read(), arena_size=int(sys.argv[2]))"
    )
    loads = [
        subprocess.run([sys.executable, "-c", script, str(path), str(size)], capture_output=True).returncode == 0
        for size in (needed + ALIGNMENT, needed - ALIGNMENT)
    ]
    assert loads == [True, False]
