"""The scorer: batches, replaced constants and refusals, and silence."""

import os
from dataclasses import replace

import numpy as np
import pytest

from bqsearch.errors import ModelError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.runtime import litert
from bqsearch.runtime.litert import Runner
from bqsearch.types import Array
from networks import (
    Builder,
    litert_outputs,
    random_inputs,
    small_float_network,
    small_int8_network,
    small_uint8_network,
)

NETWORKS = [small_int8_network, small_uint8_network, small_float_network]


def alone(graph: Graph, inputs: Array) -> Array:
    return litert_outputs(serialize(graph), inputs)


def variable(graph: Graph) -> tuple[int, ...]:
    return tuple(t for layer in layers(graph) for t in (layer.weights, layer.bias) if t is not None)


def others(graph: Graph, seed: int) -> dict[int, Array]:
    """Other values for all weights and biases."""
    rng = np.random.default_rng(seed)
    return {
        t: rng.permutation(graph.tensors[t].data.reshape(-1)).reshape(graph.tensors[t].shape) for t in variable(graph)
    }


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("batch", [1, 4, 23, 64])
def test_a_batch_gives_what_single_inputs_give(make: object, batch: int) -> None:
    """23 inputs: whole chunks, a partial last one, and a batch larger than all."""
    graph = make(0)
    inputs = random_inputs(graph, 23)
    runner = Runner(graph, batch=batch)
    assert runner.batch == batch
    (outputs,) = runner.run(inputs)
    wanted = alone(graph, inputs)
    assert outputs.shape == (23, 10)
    assert outputs.dtype == wanted.dtype
    if outputs.dtype == np.float32:
        np.testing.assert_allclose(outputs, wanted, atol=1e-5)
    else:
        np.testing.assert_array_equal(outputs, wanted)
    assert len(np.unique(wanted, axis=0)) > 5


@pytest.mark.parametrize("make", NETWORKS[:2])
@pytest.mark.parametrize("batch", [1, 8])
def test_overwritten_constants_are_a_new_file(make: object, batch: int) -> None:
    graph = make(1)
    inputs = random_inputs(graph, 20)
    runner = Runner(graph, variable(graph), batch)
    before = runner.run(inputs)[0]
    for seed in range(3):
        constants = others(graph, seed)
        (outputs,) = runner.run(inputs, constants)
        np.testing.assert_array_equal(outputs, alone(graph.with_data(constants), inputs))
        assert not np.array_equal(outputs, before)
    np.testing.assert_array_equal(runner.run(inputs)[0], before)  # nothing of a candidate stays


def test_equal_constants_are_overwritten_one_by_one() -> None:
    """Layers over one array share a buffer in the file, unless they are to be told apart."""
    net = Builder("int8")
    source = net.activation("x", (1, 8))
    first = net.dense("a", source, 8)
    last = net.dense("b", first, 8)
    one, other = net.ops[0].inputs[1], net.ops[1].inputs[1]
    net.tensors[other] = replace(net.tensors[other], data=net.tensors[one].data)
    graph = net.build([source], [last])
    inputs = np.random.default_rng(0).integers(-128, 128, (20, 8)).astype(np.int8)
    runner = Runner(graph, (one, other), 4)
    np.testing.assert_array_equal(runner.run(inputs)[0], alone(graph, inputs))
    for tensor in (one, other):
        constants = {tensor: graph.tensors[tensor].data[::-1]}
        (outputs,) = runner.run(inputs, constants)
        np.testing.assert_array_equal(outputs, alone(graph.with_data(constants), inputs))
        assert not np.array_equal(outputs, alone(graph, inputs))


def test_some_constants_leave_the_rest_alone() -> None:
    graph = small_int8_network(2)
    inputs = random_inputs(graph, 9)
    first = layers(graph)[1].weights
    constants = {first: others(graph, 0)[first]}
    (outputs,) = Runner(graph, variable(graph), 4).run(inputs, constants)
    np.testing.assert_array_equal(outputs, alone(graph.with_data(constants), inputs))


def test_only_declared_constants_can_be_replaced() -> None:
    graph = small_int8_network()
    with pytest.raises(KeyError):
        Runner(graph).run(random_inputs(graph, 1), others(graph, 0))


def test_a_network_that_mixes_a_batch_runs_one_by_one() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 3))
    graph = net.build([image], [net.mean("mean", image, axes=(0, 1, 2))])
    runner = Runner(graph, batch=8)
    assert runner.batch == 1


def test_all_outputs_come_back() -> None:
    graph = small_int8_network()
    both = replace(graph, outputs=(graph.outputs[0], graph.ops[0].outputs[0]))
    scores, stem = Runner(both, batch=4).run(random_inputs(graph, 6))
    assert (scores.shape, stem.shape) == ((6, 10), (6, 4, 4, 16))
    np.testing.assert_array_equal(scores, Runner(graph).run(random_inputs(graph, 6))[0])


def test_threads_change_nothing() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 16)
    one, two = (Runner(graph, batch=8, threads=n).run(inputs)[0] for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_time_is_counted() -> None:
    graph = small_int8_network()
    runner = Runner(graph)
    assert runner.seconds == 0
    runner.run(random_inputs(graph, 2))
    first = runner.seconds
    runner.run(random_inputs(graph, 2))
    assert 0 < first < runner.seconds < 10


def test_what_litert_refuses_is_a_model_error() -> None:
    with pytest.raises(ModelError, match=r"LiteRT cannot run this model: \w+"):
        litert.interpreter(b"\0" * 100)
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 3))
    graph = net.build([image], [net.reshape("more", image, (1, 49))])
    with pytest.raises(ModelError, match=r"LiteRT cannot run this model: \w+"):
        Runner(graph).run(random_inputs(graph, 1))


def test_litert_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for make in NETWORKS:
        graph = make(0)
        Runner(graph, variable(graph), 4, threads=2).run(random_inputs(graph, 6))
    with pytest.raises(ModelError):
        litert.interpreter(b"\0" * 100)
    assert capfd.readouterr() == ("", "")


def test_stderr_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with litert.silent_stderr():
        os.write(2, b"hidden")
    os.write(2, b"shown")
    assert capfd.readouterr() == ("", "shown")


def test_a_batch_fits_into_memory() -> None:
    graph = small_int8_network()  # its largest activation has 256 elements
    assert litert.fitting_batch(graph, 40) == 40
    assert litert.fitting_batch(graph, 10**9) == litert.BATCH_BYTES // 256
    net = Builder("float32")
    image = net.activation("image", (1, 2048, 2048, 3))
    assert litert.fitting_batch(net.build([image], [net.add("sum", image, image)]), 100) == 1


def test_threads_only_for_long_work() -> None:
    graph = small_int8_network()
    assert litert.fitting_threads(graph, 350) == 1
    assert litert.fitting_threads(graph, 10**9) >= 1
