"""Offline plans: never worse than the interpreter's, sound, and what the interpreter makes of them."""

import struct
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.graph.decode import insert_decode
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.hardware import offline
from bqsearch.hardware.tflm import plan_head
from bqsearch.importers.tflite import load
from bqsearch.runtime import tflm
from bqsearch.types import Array
from decoding import coarse, encode, need_tflm, weights
from networks import LINEAR, Builder, newer_network, random_inputs, small_float_network, small_int8_network

WON = {  # bytes of head: the network as it is, and with all weights behind decoders
    "anomaly_autoencoder": (0, 0),
    "hello_world": (0, 0),
    "inception_v1": (1_204_224, 1_167_360),
    "kws_ds_cnn": (0, 0),
    "lenet_300_100": (0, 0),
    "micro_speech": (0, 0),
    "person_detect": (0, 0),
    "resnet8": (0, 1_792),
    "squeezenet_v1.1": (0, 0),
    "vww_96": (18_432, 3_584),
}


def any_inputs(graph: Graph) -> Array:
    rng, shape = np.random.default_rng(0), (1, *graph.input.shape[1:])
    if graph.input.dtype == "float32":
        return rng.random(shape, np.float32)
    return rng.integers(-128, 128, shape).astype(np.int8)


def check_by_running(graph: Graph, inputs: Array) -> offline.OfflinePlan:
    """The interpreter needs what the plan says, and computes the same as without it."""
    plan = offline.plan(graph)
    planned = serialize(plan.graph, short_zero_points=True, metadata=offline.metadata(plan))
    given = serialize(graph, short_zero_points=True)
    assert tflm.allocations(given).head == plan.greedy
    assert tflm.allocations(planned).head == plan.head
    assert np.array_equal(tflm.run(given, inputs), tflm.run(planned, inputs))
    return plan


@pytest.mark.parametrize("name", WON)
def test_real_networks(shared_models: Path, name: str) -> None:
    need_tflm()
    graph = coarse(load(shared_models / f"{name}_int8.tflite"))
    decoded = insert_decode(graph, encode(graph, dict.fromkeys(weights(graph), "packed")))
    plans = [check_by_running(g, any_inputs(graph)) for g in (graph, decoded)]
    assert tuple(plan.greedy - plan.head for plan in plans) == WON[name]
    assert all(plan.head == plan.lower_bound for plan in plans)


@pytest.mark.parametrize("make", [small_int8_network, small_float_network, newer_network])
def test_small_networks(make) -> None:
    need_tflm()
    graph = make()
    check_by_running(graph, random_inputs(graph, 3))


def elementwise_network() -> Graph:
    """Every operator that works in place, on activations larger than all else."""
    net = Builder("int8")
    image = net.activation("image", (1, 6, 6, 4))
    shape = (1, 6, 6, 8)
    last = net.conv("first", image, 8, fusedActivationFunction=LINEAR)
    for code in ("RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "QUANTIZE"):
        last = net.like(code, code.lower(), last, shape)
    branch = net.conv("branch", last, 8)
    last = net.op("SUB", (branch, last), net.activation("sub", shape), "SubOptions")
    other = net.conv("other", last, 8)
    last = net.op("MUL", (last, other), net.activation("mul", shape), "MulOptions")
    for code, low, high in (("LOGISTIC", 0.0, 255 / 256), ("TANH", -1.0, 127 / 128)):
        last = net.op(code, (last,), net.activation(code.lower(), shape, low, high))
    last = net.reshape("flat", last, (1, 288))
    return net.build([image], [net.dense("dense", last, 5)])


def test_in_place_operators_compute_the_same() -> None:
    need_tflm()
    graph = elementwise_network()
    plan = check_by_running(graph, any_inputs(graph))
    assert plan.head == plan.lower_bound < plan.greedy


def test_in_place_operators_share_a_place() -> None:
    graph = elementwise_network()
    plan = offline.plan(graph)
    assert (plan.greedy, plan.head) == (864, 576)
    assert plan.offsets is not None
    codes = {op.code: (plan.offsets[op.inputs[0]], plan.offsets[op.outputs[0]]) for op in plan.graph.ops}
    assert {code for code, (before, after) in codes.items() if before == after} >= {
        "RELU",
        "TANH",
        "LOGISTIC",
        "RESHAPE",
    }


def steps(*reads: tuple[int, ...], sizes: tuple[int, ...], code: str = "CONCATENATION") -> Graph:
    """Operator i makes tensor i + 1 of the tensors named."""
    tensors = tuple(Tensor(name=str(i), shape=(n,), dtype="int8") for i, n in enumerate(sizes))
    ops = tuple(Op(code=code, inputs=read, outputs=(i + 1,), options={}) for i, read in enumerate(reads))
    return Graph(name="", tensors=tensors, ops=ops, inputs=(0,), outputs=(len(ops),))


def test_a_branch_that_ends_small_goes_first() -> None:
    """Both branches swell to 64; the given order opens both before it ends either."""
    graph = steps((0,), (0,), (1,), (2,), (3, 4), sizes=(16, 64, 64, 16, 16, 16))
    plan = offline.plan(graph)
    assert [op.outputs for op in plan.graph.ops] == [(1,), (3,), (2,), (4,), (5,)]
    assert (plan.greedy, plan.head, plan.lower_bound) == (144, 96, 96)
    assert plan.graph.tensors == graph.tensors


def test_decoders_stay_before_their_readers() -> None:
    graph = coarse(newer_network())
    decoded = insert_decode(graph, encode(graph, dict.fromkeys(weights(graph), "packed")))
    ops = offline.plan(decoded).graph.ops
    for decoder, reader in pairwise(ops):
        if decoder.code == "TFLM_DECODE":
            assert set(decoder.outputs) <= set(reader.inputs)


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({}, True),
        ({"code": "SOFTMAX"}, False),
        ({"inputs": (0, 2)}, False),
    ],
)
def test_what_may_be_written_over(change: dict, shared: bool) -> None:
    """Not by other operators, and not where an input is broadcast."""
    small = Tensor(name="", shape=(1,), dtype="int8", data=np.zeros(1, np.int8))
    base = steps((0,), sizes=(32, 32), code="ADD")
    graph = replace(base, tensors=(*base.tensors, small), ops=(replace(base.ops[0], **change),))
    assert (offline.plan(graph).head == 32) == shared


def test_an_input_that_is_read_again_or_handed_out_stays() -> None:
    again = steps((0,), (0, 1), sizes=(32, 32, 32), code="ADD")
    assert offline.plan(again).head == 64
    handed = replace(steps((0,), sizes=(32, 32), code="RELU"), outputs=(1, 0))
    assert offline.plan(handed).head == 64


@st.composite
def random_steps(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 10))
    sizes = draw(st.lists(st.integers(1, 120), min_size=count + 1, max_size=count + 1))
    reads = [tuple(draw(st.lists(st.integers(0, i), min_size=1, max_size=2))) for i in range(count)]
    return steps(*reads, sizes=tuple(sizes), code=draw(st.sampled_from(["CONCATENATION", "ADD"])))


@given(random_steps())
@settings(deadline=None, max_examples=60)
def test_never_worse_and_never_over_what_is_needed(graph: Graph) -> None:
    plan = offline.plan(graph)
    assert plan.lower_bound <= plan.head <= plan.greedy == plan_head(graph).nbytes
    assert sorted(map(id, plan.graph.ops)) == sorted(map(id, graph.ops))
    written = set(graph.inputs)
    for op in plan.graph.ops:
        assert set(op.inputs) <= written
        written |= set(op.outputs)
    head = plan_head(plan.graph, plan.offsets)
    assert head.nbytes == plan.head
    for one, other in combinations(head.buffers, 2):
        if (one.first < other.last and other.first < one.last) or (one.first == other.first):
            assert one.end <= other.offset or other.end <= one.offset


@given(random_steps(), st.integers(0, 5))
@settings(deadline=None, max_examples=20)
def test_the_same_seed_gives_the_same_plan(graph: Graph, seed: int) -> None:
    one, other = (offline.plan(graph, seed=seed) for _ in range(2))
    assert (one.offsets, one.graph.ops) == (other.offsets, other.graph.ops)


def test_metadata_lists_an_offset_for_each_tensor() -> None:
    plan = offline.plan(elementwise_network())
    content = offline.metadata(plan)[offline.METADATA]
    assert struct.unpack(f"<{len(content) // 4}i", content) == (1, 1, len(plan.graph.tensors), *(plan.offsets or ()))
    assert offline.metadata(replace(plan, offsets=None)) == {}
