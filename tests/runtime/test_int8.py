"""Float networks become int8 ones that answer alike."""

import logging

import numpy as np
import pytest

from bqsearch.datasets import feed
from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.runtime import int8
from bqsearch.runtime.litert import Runner
from networks import Builder, random_inputs, small_float_network, small_int8_network, small_uint8_network


@pytest.fixture(scope="module")
def given() -> Graph:
    return small_float_network(5)


@pytest.fixture(scope="module")
def quantized(given: Graph) -> Graph:
    return int8.quantize(given, random_inputs(given, 64, seed=1))


def test_which_networks_are_float(given: Graph, quantized: Graph) -> None:
    assert int8.is_float(given)
    assert not int8.is_float(quantized)
    assert not int8.is_float(small_int8_network())
    assert not int8.is_float(small_uint8_network())


def test_integers_go_in_and_come_out(given: Graph, quantized: Graph) -> None:
    assert (quantized.input.dtype, quantized.output.dtype) == ("int8", "int8")
    assert quantized.input.shape == given.input.shape
    assert quantized.input.quantization is not None
    assert [op.code for op in quantized.ops] == [op.code for op in given.ops]


def test_weights_are_int8_by_channel(quantized: Graph) -> None:
    for layer in layers(quantized):
        weights = quantized.tensors[layer.weights]
        assert weights.dtype == "int8"
        assert len(weights.quantization.scales) in (1, layer.channels)
        assert quantized.tensors[layer.bias].dtype == "int32"
    assert any(quantized.tensors[layer.weights].quantization.per_channel for layer in layers(quantized))


def test_it_answers_as_the_float_network(given: Graph, quantized: Graph) -> None:
    inputs = random_inputs(given, 200, seed=2)
    real = Runner(given, batch=50).run(inputs)[0]
    codes = Runner(quantized, batch=50).run(feed.quantize(inputs, quantized.input))[0]
    output = quantized.output.quantization
    decoded = (codes.astype(np.float64) - output.zero_points[0]) * output.scales[0]
    assert (decoded.argmax(axis=1) == real.argmax(axis=1)).mean() > 0.95
    assert np.abs(decoded - real).mean() < 0.02
    assert len(set(real.argmax(axis=1))) > 2


def test_the_same_samples_give_the_same_network(given: Graph, quantized: Graph) -> None:
    again = int8.quantize(given, random_inputs(given, 64, seed=1))
    assert again.fingerprint == quantized.fingerprint


def test_nothing_is_printed(given: Graph, capfd: pytest.CaptureFixture[str]) -> None:
    int8.quantize(given, random_inputs(given, 4))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("absl").level == logging.ERROR


def test_a_network_without_layers_stays_float() -> None:
    net = Builder("float32")
    image = net.activation("image", (1, 4, 4, 3))
    graph = net.build([image], [net.op("RSQRT", (image,), net.activation("root", (1, 4, 4, 3)))])
    with pytest.raises((UnsupportedError, ModelError)):
        int8.quantize(graph, np.ones((2, 4, 4, 3), np.float32))


def test_samples_of_another_shape_are_a_model_error(given: Graph) -> None:
    with pytest.raises(ModelError, match="cannot quantize this model to int8"):
        int8.quantize(given, np.ones((2, 5), np.float32))


def test_real_values_that_are_none_are_a_model_error(given: Graph) -> None:
    with pytest.raises(ModelError, match="quantiz"):
        int8.quantize(given, np.full((2, 8, 8, 3), np.nan, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(given: Graph, value: float) -> None:
    weights = layers(given)[0].weights
    spoiled = given.tensors[weights].data.copy()
    spoiled.reshape(-1)[3] = value
    with pytest.raises(ModelError, match=rf"constant '{given.tensors[weights].name}' .* NaN or infinite"):
        int8.quantize(given.with_data({weights: spoiled}), random_inputs(given, 4))
