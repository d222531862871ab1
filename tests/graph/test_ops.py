"""Multiply-accumulates by hand, and layers with names that are unique, short and fit for files."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.graph.flatbuffer import BUILTIN_CODES, OPTION_TYPES
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, activations, elements, layers, macs, source
from bqsearch.importers.tflite import load
from networks import (
    LINEAR,
    SAME,
    VALID,
    Builder,
    newer_network,
    small_float_network,
    small_int8_network,
    small_uint8_network,
)

NETWORKS = [small_int8_network, small_uint8_network, small_float_network]


def test_macs_by_hand() -> None:
    """8x8x3 -> 3x3 stride 2 to 4x4x16, depthwise 3x3, pointwise, 16 features to 10 classes."""
    graph = small_int8_network()
    assert [(op.code, macs(graph, op)) for op in graph.ops] == [
        ("CONV_2D", 4 * 4 * 16 * 3 * 3 * 3),
        ("DEPTHWISE_CONV_2D", 4 * 4 * 16 * 3 * 3),
        ("CONV_2D", 4 * 4 * 16 * 16),
        ("ADD", 0),
        ("MEAN", 0),
        ("FULLY_CONNECTED", 16 * 10),
        ("SOFTMAX", 0),
    ]


@pytest.mark.parametrize(
    ("size", "stride", "padding", "expected"),
    [
        (3, 1, SAME, 7 * 7 * 5 * 9 * 2),
        (3, 2, SAME, 4 * 4 * 5 * 9 * 2),
        (3, 1, VALID, 5 * 5 * 5 * 9 * 2),
        (5, 2, VALID, 2 * 2 * 5 * 25 * 2),
        (1, 3, SAME, 3 * 3 * 5 * 1 * 2),
    ],
)
def test_macs_of_convolutions(size: int, stride: int, padding: int, expected: int) -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 7, 7, 2))
    graph = net.build([source], [net.conv("conv", source, 5, size, stride, padding=padding)])
    assert macs(graph, graph.ops[0]) == expected


def test_macs_of_the_published_networks(shared_models: Path) -> None:
    graph = load(shared_models / "mobilenet_v1_1.0_224_uint8.tflite")
    assert sum(macs(graph, op) for op in graph.ops) == pytest.approx(569e6, rel=0.01)  # as its paper's table says
    lenet = load(shared_models / "lenet_300_100_int8.tflite")
    assert sum(macs(lenet, op) for op in lenet.ops) == 784 * 300 + 300 * 100 + 100 * 10


def test_elements_read() -> None:
    graph = small_int8_network()
    by_code = {op.code: elements(graph, op) for op in graph.ops}
    assert by_code["ADD"] == 2 * 4 * 4 * 16
    assert by_code["MEAN"] == 4 * 4 * 16  # the axes are no activation
    assert by_code["SOFTMAX"] == 10
    assert by_code["CONV_2D"] == 0


def test_a_reshape_does_no_work() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 2, 3, 4))
    graph = net.build([source], [net.reshape("flat", source, (1, 24))])
    assert elements(graph, graph.ops[0]) == 0
    assert [t.name for t in activations(graph, graph.ops[0])] == ["x"]


@pytest.mark.parametrize("make", NETWORKS)
def test_layers_of_a_small_network(make: Callable[[], Graph]) -> None:
    graph = make()
    found = layers(graph)
    assert [layer.name for layer in found] == ["stem", "depthwise", "pointwise", "dense"]
    assert [layer.operator for layer in found] == [graph.ops[layer.op].code for layer in found]
    assert [layer.shape for layer in found] == [(16, 3, 3, 3), (1, 3, 3, 16), (16, 1, 1, 16), (10, 16)]
    assert [layer.channel_axis for layer in found] == [0, 3, 0, 0]
    assert [layer.channels for layer in found] == [16, 16, 16, 10]
    assert [layer.size for layer in found] == [432, 144, 256, 160]
    for layer in found:
        assert graph.tensors[layer.bias].shape == (layer.channels,)
        assert not layer.shared


def two_dense(shared_weights: bool, shared_bias: bool) -> Graph:
    net = Builder("int8")
    source = net.activation("x", (1, 6))
    middle = net.dense("first", source, 6)
    output = net.dense("second", middle, 6)
    first, second = net.ops
    weights = first.inputs[1] if shared_weights else second.inputs[1]
    bias = first.inputs[2] if shared_bias else second.inputs[2]
    net.ops[1] = replace(second, inputs=(middle, weights, bias))
    return net.build([source], [output])


@pytest.mark.parametrize(("weights", "bias"), [(False, False), (True, False), (False, True), (True, True)])
def test_shared_weights_and_biases_are_flagged(weights: bool, bias: bool) -> None:
    assert [layer.shared for layer in layers(two_dense(weights, bias))] == [weights or bias] * 2


def test_weights_that_another_operator_reads_are_shared() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 6))
    logits = net.dense("dense", source, 6)
    kernel = net.ops[0].inputs[1]
    other = net.op("ADD", (logits, kernel), net.activation("sum", (6, 6)), "AddOptions")
    assert layers(net.build([source], [other]))[0].shared


def test_a_layer_without_a_bias() -> None:
    graph = small_int8_network()
    ops = list(graph.ops)
    ops[0] = replace(ops[0], inputs=(*ops[0].inputs[:2], -1))
    ops[5] = replace(ops[5], inputs=ops[5].inputs[:2])
    found = layers(replace(graph, ops=tuple(ops)))
    assert [layer.bias is None for layer in found] == [True, False, False, True]


def test_computed_weights_are_no_layer() -> None:
    net = Builder("int8")
    left, right = net.activation("x", (1, 6)), net.activation("w", (6, 6))
    product = net.op("FULLY_CONNECTED", (left, right), net.activation("y", (1, 6)), "FullyConnectedOptions")
    assert layers(net.build([left, right], [product])) == ()


def named(*names: str) -> list[str]:
    net = Builder("int8")
    tensor = source = net.activation("x", (1, 4, 4, 4))
    for name in names:
        tensor = net.conv("conv", tensor, 4, fusedActivationFunction=LINEAR)
        kernel = net.ops[-1].inputs[1]
        net.tensors[kernel] = replace(net.tensors[kernel], name=name)
    return [layer.name for layer in layers(net.build([source], [tensor]))]


@pytest.mark.parametrize(
    ("given", "short"),
    [
        (["m/block_1/conv/Conv2D", "m/block_2/conv/Conv2D"], ["block_1_conv", "block_2_conv"]),
        (["m/a/weights;m/a/bias", "m/b/weights"], ["a", "b"]),
        (["same", "same"], ["0_same", "1_same"]),
        (["", ""], ["0_conv_2d", "1_conv_2d"]),
        (["m/a b:0/Conv2D", "m/ç/Conv2D"], ["a_b_0", "conv_2d"]),
        (["Conv2D", "x/y/z"], ["conv_2d", "z"]),
        (["only/one/Conv2D"], ["one"]),
        (["../../etc", "..."], None),
    ],
)
def test_names(given: list[str], short: list[str] | None) -> None:
    found = named(*given)
    assert found == short or short is None
    assert all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in found)
    assert len(set(found)) == len(found)


def test_names_of_real_networks_are_unique_and_short(shared_models: Path) -> None:
    for path in sorted(shared_models.glob("*.tflite")):
        found = [layer.name for layer in layers(load(path))]
        assert len(set(found)) == len(found), path.name
        assert all(re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) for name in found), path.name


def test_macs_of_a_transposed_convolution() -> None:
    """Each of 4x3 inputs of 2 channels meets 3x3 taps for each of 5 output channels, whatever the output's size."""
    for padding in (SAME, VALID):
        net = Builder("int8")
        source = net.activation("x", (1, 4, 3, 2))
        graph = net.build([source], [net.transpose_conv("up", source, 5, 3, 2, padding)])
        assert macs(graph, graph.ops[0]) == 4 * 3 * 2 * 3 * 3 * 5


def test_the_source_is_the_activation_that_is_worked_on() -> None:
    graph = newer_network()
    for op in graph.ops:
        assert graph.tensors[source(op)].data is None
    (up, last) = (op for op in graph.ops if op.code == "TRANSPOSE_CONV")
    assert graph.tensors[source(up)].name == "net/leaky"
    assert graph.tensors[source(last)].name == "net/smooth"


def test_layers_of_transposed_convolutions() -> None:
    graph = newer_network()
    found = {layer.name: layer for layer in layers(graph)}
    assert list(found) == ["down", "up", "grown", "last", "dense"]
    assert (found["up"].shape, found["up"].channels, found["up"].channel_axis) == ((6, 3, 3, 8), 6, 0)
    assert graph.tensors[found["up"].weights].name == "net/up/kernel"
    assert graph.tensors[found["up"].bias].name == "net/up/bias"


def test_supported_kinds_are_consistent() -> None:
    for code, kind in SUPPORTED.items():
        assert kind.work in ("conv", "depthwise", "dense", "element", "free"), code
        assert (kind.weights is None) == (kind.work in ("element", "free")), code
        assert (kind.bias is None) == (kind.weights is None), code
        assert code in BUILTIN_CODES, code
        assert kind.options in ("", *OPTION_TYPES), code
        assert kind.inputs > max(kind.data, kind.weights or 0), code
        assert not kind.needs_options or kind.options, code
        assert not kind.opaque or (kind.work == "element" and kind.data == 0), code


@pytest.mark.parametrize(
    "code", ["IF", "WHILE", "CALL_ONCE", "VAR_HANDLE", "SVDF", "CUSTOM", "RANDOM_UNIFORM", "WHERE"]
)
def test_state_control_flow_and_chance_are_not_supported(code: str) -> None:
    assert code not in SUPPORTED


def test_a_dense_layer_over_many_rows() -> None:
    net = Builder("int8")
    source = net.activation("x", (3, 6))
    weights, bias = net.weights("dense", source, (4, 6), 0, 6)
    net.op("FULLY_CONNECTED", (source, weights, bias), net.activation("y", (3, 4)), "FullyConnectedOptions")
    graph = net.build([source], [len(net.tensors) - 1])
    assert macs(graph, graph.ops[0]) == 3 * 4 * 6
    assert np.prod(layers(graph)[0].shape) == 24
