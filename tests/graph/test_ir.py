"""Graphs: who reads and writes what, and a fingerprint that nothing escapes that changes what is computed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bqsearch.graph.ir import Graph, Quantization, Tensor
from networks import Builder, small_int8_network

GRAPH = small_int8_network()


def index_of(name: str) -> int:
    return [t.name for t in GRAPH.tensors].index(name)


def with_tensor(which: str, **changes: object) -> Graph:
    index = index_of(which)
    return GRAPH.with_tensors({index: replace(GRAPH.tensors[index], **changes)})


def with_op(position: int, **changes: object) -> Graph:
    ops = list(GRAPH.ops)
    ops[position] = replace(ops[position], **changes)
    return replace(GRAPH, ops=tuple(ops))


def with_quantization(name: str, **changes: object) -> Graph:
    quantization = GRAPH.tensors[index_of(name)].quantization
    assert quantization is not None
    return with_tensor(name, quantization=replace(quantization, **changes))


def test_sizes() -> None:
    tensor = Tensor(name="t", shape=(2, 3, 4), dtype="int32")
    assert (tensor.size, tensor.nbytes) == (24, 96)
    assert Tensor(name="scalar", shape=(), dtype="float32").nbytes == 4


def test_readers_and_writers() -> None:
    stem, summed = index_of("net/stem/out"), index_of("net/sum")
    assert [GRAPH.ops[i].code for i in GRAPH.consumers[stem]] == ["DEPTHWISE_CONV_2D", "ADD"]
    assert GRAPH.ops[GRAPH.producers[summed]].code == "ADD"
    assert GRAPH.inputs[0] not in GRAPH.producers
    assert GRAPH.outputs[0] not in GRAPH.consumers
    assert (GRAPH.input.name, GRAPH.output.name) == ("image", "net/softmax")


def test_an_operator_that_reads_a_tensor_twice_is_one_reader() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 4))
    graph = net.build([source], [net.add("double", source, source)])
    assert graph.consumers[source] == (0,)


def test_the_fingerprint_repeats_and_ignores_names() -> None:
    assert small_int8_network().fingerprint == GRAPH.fingerprint
    assert with_tensor("net/stem/kernel", name="another").fingerprint == GRAPH.fingerprint
    assert replace(GRAPH, name="another").fingerprint == GRAPH.fingerprint


def flipped(name: str) -> Graph:
    data = GRAPH.tensors[index_of(name)].data
    assert data is not None
    changed = data.copy()
    changed.reshape(-1)[-1] ^= 1
    return GRAPH.with_data({index_of(name): changed})


CHANGES: dict[str, Callable[[], Graph]] = {
    "one bit of a weight": lambda: flipped("net/dense/kernel"),
    "one bit of a bias": lambda: flipped("net/stem/bias"),
    "another seed": lambda: small_int8_network(1),
    "a shape": lambda: with_tensor("net/sum", shape=(1, 16, 4, 4)),
    "a type": lambda: with_tensor("net/sum", dtype="uint8"),
    "a scale": lambda: with_quantization("net/sum", scales=np.array([0.5], np.float32)),
    "a zero point": lambda: with_quantization("net/sum", zero_points=np.array([3], np.int64)),
    "the quantized dimension": lambda: with_quantization("net/stem/kernel", axis=1),
    "no quantization": lambda: with_tensor("net/sum", quantization=None),
    "an operator": lambda: with_op(3, code="MUL"),
    "an operator's inputs": lambda: with_op(3, inputs=GRAPH.ops[3].inputs[::-1]),
    "an option": lambda: with_op(0, options={**GRAPH.ops[0].options, "strideW": 1}),
    "the outputs": lambda: replace(GRAPH, outputs=(index_of("net/dense/out"),)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_shows_every_change(change: str) -> None:
    assert CHANGES[change]().fingerprint != GRAPH.fingerprint


def test_replacing_data_leaves_the_original_alone() -> None:
    before = GRAPH.fingerprint
    data = np.zeros_like(GRAPH.tensors[index_of("net/dense/bias")].data)
    changed = GRAPH.with_data({index_of("net/dense/bias"): data})
    assert not changed.tensors[index_of("net/dense/bias")].data.any()
    assert replace(GRAPH).fingerprint == before
    assert changed.tensors[index_of("net/dense/kernel")] is GRAPH.tensors[index_of("net/dense/kernel")]


def test_per_channel() -> None:
    one, many = (Quantization(scales=np.ones(n, np.float32), zero_points=np.zeros(n, np.int64)) for n in (1, 2))
    assert (one.per_channel, many.per_channel) == (False, True)
