"""Equalized networks answer as before in LiteRT, lose less as int8, and what is not surely safe stays as it was."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.datasets import feed
from bqsearch.graph import passes
from bqsearch.graph.equalize import equalize
from bqsearch.graph.ir import Graph, Tensor
from bqsearch.graph.ops import layers
from bqsearch.runtime import int8
from bqsearch.runtime.litert import Runner
from bqsearch.types import Array
from networks import (
    LINEAR,
    RELU,
    VALID,
    Builder,
    newer_network,
    random_inputs,
    small_float_network,
    small_int8_network,
    small_uint8_network,
)

RELU6 = schema.ActivationFunctionType.RELU6
TANH = schema.ActivationFunctionType.TANH
Part = Callable[[Builder, int], int]
INPUT_AXES = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1}


def uneven(graph: Graph, seed: int = 0, decades: float = 2.0) -> Graph:
    """The network with each layer's output channels, bias and all, scaled by 10^-decades to 10^decades."""
    rng, changes = np.random.default_rng(seed), {}
    for layer in layers(graph):
        gains = (10 ** rng.uniform(-decades, decades, layer.channels)).astype(np.float32)
        shape = [-1 if a == layer.channel_axis else 1 for a in range(len(layer.shape))]
        changes[layer.weights] = graph.tensors[layer.weights].data * gains.reshape(shape)
        if layer.bias is not None:
            changes[layer.bias] = graph.tensors[layer.bias].data * gains
    return graph.with_data(changes)


def assert_same(before: Graph, after: Graph) -> None:
    """The same outputs in LiteRT, to within float rounding of the largest."""
    inputs = random_inputs(before, 8, seed=3)
    for expected, found in zip(Runner(before).run(inputs), Runner(after).run(inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def ranges(graph: Graph, layer: int, axis: int) -> Array:
    """Largest magnitude along a dimension of a layer's weights."""
    weights = graph.tensors[layers(graph)[layer].weights].data
    return np.abs(weights).max(axis=tuple(a for a in range(weights.ndim) if a != axis))


def entering(graph: Graph, layer: int) -> Array:
    return ranges(graph, layer, INPUT_AXES[layers(graph)[layer].operator])


def leaving(graph: Graph, layer: int) -> Array:
    return ranges(graph, layer, layers(graph)[layer].channel_axis)


def mobile_chain(seed: int = 0) -> Graph:
    """conv - depthwise - conv - depthwise of multiplier 2 - mean - dense."""
    net = Builder("float32", seed)
    image = net.activation("image", (1, 8, 8, 3))
    stem = net.conv("stem", image, 6, 3, 2)
    point = net.conv("point", net.depthwise("depth", stem), 8, fusedActivationFunction=LINEAR)
    doubled = multiplied(net, point)
    return net.build([image], [net.dense("dense", net.mean("mean", doubled), 5)])


def multiplied(net: Builder, source: int, factor: int = 2) -> int:
    """A depthwise convolution with `factor` outputs for each input channel."""
    _, height, width, depth = net.tensors[source].shape
    weights, bias = net.weights("doubled", source, (1, 3, 3, factor * depth), 3, 9)
    output = net.activation("doubled/out", (1, height, width, factor * depth))
    options = {"strideH": 1, "strideW": 1, "depthMultiplier": factor, "fusedActivationFunction": RELU}
    return net.op("DEPTHWISE_CONV_2D", (source, weights, bias), output, "DepthwiseConv2DOptions", **options)


def lenet(seed: int = 0) -> Graph:
    """conv - pool - conv - RELU - pool - flatten - dense - RELU - dense."""
    net = Builder("float32", seed)
    image = net.activation("image", (1, 12, 12, 1))
    first = pool(net, net.conv("first", image, 4, 3), "MAX_POOL_2D")
    second = net.conv("second", first, 6, 3, padding=VALID, fusedActivationFunction=LINEAR)
    pooled = pool(net, net.like("RELU", "relu", second, (1, 4, 4, 6)), "AVERAGE_POOL_2D")
    hidden = net.dense("hidden", net.reshape("flat", pooled, (1, 24)), 9)
    return net.build([image], [net.dense("dense", net.like("RELU", "relu_1", hidden, (1, 9)), 5)])


def pool(net: Builder, source: int, code: str, fused: int = LINEAR) -> int:
    _, height, width, depth = net.tensors[source].shape
    options = {"padding": VALID, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    shape = (1, height // 2, width // 2, depth)
    return net.like(code, f"{code}_{len(net.ops)}", source, shape, fusedActivationFunction=fused, **options)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("make", "pairs"), [(mobile_chain, 4), (lenet, 3)])
def test_the_output_stays(make: Callable[[int], Graph], pairs: int, seed: int) -> None:
    graph = uneven(make(seed), seed)
    fingerprint = graph.fingerprint
    equalized, count = equalize(graph)
    assert count == pairs
    assert graph.fingerprint == fingerprint != equalized.fingerprint
    assert equalized.ops == graph.ops
    assert all(t.data is None or t.data.dtype == t.dtype for t in equalized.tensors)
    assert_same(graph, equalized)


def test_chains_settle() -> None:
    equalized, _ = equalize(uneven(mobile_chain()))
    for first, second in ((0, 1), (1, 2), (2, 3)):
        into = entering(equalized, second)
        if len(into) == 2 * len(leaving(equalized, first)):
            into = into.reshape(-1, 2).max(axis=1)
        np.testing.assert_allclose(leaving(equalized, first), into, rtol=0.01)
    again, count = equalize(equalized)
    assert count == 4
    for before, after in zip(equalized.tensors, again.tensors, strict=True):
        if before.dtype == "float32" and before.data is not None:
            np.testing.assert_allclose(after.data, before.data, rtol=0.01)


def test_a_pair_meets_at_the_geometric_mean() -> None:
    graph = uneven(pair(lambda net, x: x))
    equalized, count = equalize(graph)
    middle = np.sqrt(leaving(graph, 0) * entering(graph, 1))
    assert count == 1
    np.testing.assert_allclose(leaving(equalized, 0), middle, rtol=1e-5)
    np.testing.assert_allclose(entering(equalized, 1), middle, rtol=1e-5)


def pair(between: Part, last: Part | None = None, **options: object) -> Graph:
    """A convolution to (1, 4, 4, 6), what stands between, and a second layer: a convolution unless said otherwise."""
    net = Builder("float32", 1)
    image = net.activation("image", (1, 4, 4, 3))
    middle = between(net, net.conv("first", image, 6, **options))
    return net.build([image], [(last or (lambda net, x: net.conv("second", x, 4)))(net, middle)])


def dense(net: Builder, source: int) -> int:
    return net.dense("second", source, 4)


def flattening(net: Builder, source: int) -> int:
    """A dense layer that reads an image as one row."""
    features = net.tensors[source].size
    weights, bias = net.weights("second", source, (4, features), 0, features)
    output = net.activation("second/out", (1, 4))
    return net.op("FULLY_CONNECTED", (source, weights, bias), output, "FullyConnectedOptions")


def by_place(net: Builder, source: int) -> int:
    """A dense layer over the last dimension of an image."""
    shape = net.tensors[source].shape
    weights, bias = net.weights("second", source, (4, shape[-1]), 0, shape[-1])
    output = net.activation("second/out", (*shape[:-1], 4))
    return net.op("FULLY_CONNECTED", (source, weights, bias), output, "FullyConnectedOptions", keepNumDims=True)


def expanded(net: Builder, source: int) -> int:
    """A mean, whose height and width come back as ones."""
    rows = net.like("EXPAND_DIMS", "rows", net.mean("mean", source), (1, 1, 6), net.ints(1))
    return net.like("EXPAND_DIMS", "columns", rows, (1, 1, 1, 6), net.ints(1))


def squeezed(net: Builder, source: int) -> int:
    return net.like("SQUEEZE", "row", net.reshape("wide", source, (1, 1, 16, 6)), (1, 16, 6), squeezeDims=(1,))


def kept_mean(net: Builder, source: int) -> int:
    return net.like("MEAN", "mean", source, (1, 1, 1, 6), net.ints(1, -2), keepDims=True)


def slopes(net: Builder, source: int) -> int:
    constant = net.constant("slopes", net.rng.uniform(-1, 1, (1, 1, 6)).astype(np.float32))
    return net.like("PRELU", "prelu", source, (1, 4, 4, 6), constant)


def resized(code: str) -> Part:
    return lambda net, x: net.like(code, "large", x, (1, 7, 7, 6), net.ints(7, 7))


FOLLOWED: dict[str, tuple[Part, Part | None]] = {
    "nothing": (lambda net, x: x, None),
    "a depthwise layer": (lambda net, x: x, lambda net, x: net.depthwise("second", x)),
    "a multiplier": (lambda net, x: x, lambda net, x: multiplied(net, x, 3)),
    "RELU": (lambda net, x: net.like("RELU", "relu", x, (1, 4, 4, 6)), None),
    "LEAKY_RELU": (lambda net, x: net.like("LEAKY_RELU", "leaky", x, (1, 4, 4, 6), alpha=0.1), None),
    "PRELU": (slopes, None),
    "MAX_POOL_2D": (lambda net, x: pool(net, x, "MAX_POOL_2D"), None),
    "AVERAGE_POOL_2D": (lambda net, x: pool(net, x, "AVERAGE_POOL_2D", RELU), None),
    "RESIZE_BILINEAR": (resized("RESIZE_BILINEAR"), None),
    "RESIZE_NEAREST_NEIGHBOR": (resized("RESIZE_NEAREST_NEIGHBOR"), None),
    "PAD": (lambda net, x: net.pad("pad", x, [(0, 0), (1, 2), (0, 1), (0, 0)]), None),
    "MEAN": (lambda net, x: net.mean("mean", x), dense),
    "MEAN of rows": (lambda net, x: net.mean("mean", x, (1,)), by_place),
    "MEAN that keeps its dimensions": (kept_mean, None),
    "EXPAND_DIMS": (expanded, None),
    "SQUEEZE": (squeezed, by_place),
    "a reshaped image": (lambda net, x: net.reshape("wide", x, (1, 2, 8, 6)), None),
    "a flattened image": (lambda net, x: net.reshape("flat", x, (1, 96)), dense),
    "a flattened pool": (lambda net, x: net.reshape("flat", pool(net, x, "MAX_POOL_2D"), (1, 24)), dense),
    "a dense layer that flattens": (lambda net, x: x, flattening),
    "a dense layer over places": (lambda net, x: x, by_place),
}


@pytest.mark.parametrize("fused", [LINEAR, RELU])
@pytest.mark.parametrize("case", FOLLOWED)
def test_channels_are_followed(case: str, fused: int) -> None:
    graph = uneven(pair(*FOLLOWED[case], fusedActivationFunction=fused))
    equalized, count = equalize(graph)
    assert count == 1
    into = entering(equalized, 1)
    by_channel = into.reshape(6, -1).max(axis=1) if len(into) in (6, 18) else into.reshape(-1, 6).max(axis=0)
    np.testing.assert_allclose(leaving(equalized, 0), by_channel, rtol=1e-5)
    assert_same(graph, equalized)


def softmax(net: Builder, source: int) -> int:
    return net.softmax("softmax", source)


def halves(net: Builder, source: int) -> int:
    return net.split("halves", source, 3, 2)[0]


def doubled(net: Builder, source: int) -> int:
    return net.op("ADD", (source, source), net.activation("sum", (1, 4, 4, 6)), "AddOptions")


NOT_FOLLOWED: dict[str, tuple[Part, Part | None]] = {
    "RELU6": (lambda net, x: net.like("RELU6", "relu6", x, (1, 4, 4, 6)), None),
    "HARD_SWISH": (lambda net, x: net.like("HARD_SWISH", "swish", x, (1, 4, 4, 6)), None),
    "LOGISTIC": (lambda net, x: net.like("LOGISTIC", "sigmoid", x, (1, 4, 4, 6)), None),
    "SOFTMAX": (softmax, None),
    "SPLIT": (halves, None),
    "ADD": (doubled, None),
    "a pool that clips": (lambda net, x: pool(net, x, "MAX_POOL_2D", RELU6), None),
    "channels that are padded": (lambda net, x: net.pad("pad", x, [(0, 0), (0, 0), (0, 0), (1, 0)]), None),
    "a mean over channels": (lambda net, x: net.mean("mean", x, (3,)), by_place),
    "a mean over mixed places": (lambda net, x: net.mean("mean", net.reshape("mix", x, (1, 24, 4)), (1,)), dense),
    "a reshape that mixes channels": (lambda net, x: net.reshape("mixed", x, (1, 4, 6, 4)), None),
    "a depthwise layer over mixed channels": (
        lambda net, x: net.reshape("mixed", x, (1, 4, 6, 4)), lambda net, x: net.depthwise("second", x),
    ),
    "a multiplier over mixed channels": (lambda net, x: net.reshape("mixed", x, (1, 4, 6, 4)), multiplied),
    "a dense layer over mixed channels": (lambda net, x: net.reshape("mixed", x, (1, 4, 6, 4)), by_place),
    "a transposed convolution": (lambda net, x: x, lambda net, x: net.transpose_conv("second", x, 4)),
}  # fmt: skip


def assert_left_alone(graph: Graph) -> None:
    equalized, count = equalize(graph)
    assert count == 0
    assert equalized is graph


@pytest.mark.parametrize("case", NOT_FOLLOWED)
def test_what_is_not_followed_is_left_alone(case: str) -> None:
    assert_left_alone(pair(*NOT_FOLLOWED[case]))


@pytest.mark.parametrize("fused", [RELU6, TANH, schema.ActivationFunctionType.RELU_N1_TO_1])
def test_other_activations_are_left_alone(fused: int) -> None:
    assert_left_alone(pair(lambda net, x: x, fusedActivationFunction=fused))


@pytest.mark.parametrize("fused", [RELU6, TANH])
def test_the_second_layer_may_have_any_activation(fused: int) -> None:
    graph = uneven(pair(lambda net, x: x, lambda net, x: net.conv("second", x, 4, fusedActivationFunction=fused)))
    equalized, count = equalize(graph)
    assert count == 1
    assert_same(graph, equalized)


def test_two_readers_are_left_alone() -> None:
    net = Builder("float32")
    image = net.activation("image", (1, 4, 4, 3))
    first = net.conv("first", image, 6)
    assert_left_alone(net.build([image], [net.conv("left", first, 4), net.conv("right", first, 4)]))


def test_residuals_are_left_alone() -> None:
    net = Builder("float32")
    image = net.activation("image", (1, 4, 4, 3))
    first, second = net.conv("first", image, 6), net.conv("other", image, 6)
    assert_left_alone(net.build([image], [net.conv("last", net.add("sum", first, second), 4)]))


@pytest.mark.parametrize("operator", [0, 1])
def test_what_the_caller_sees_is_left_alone(operator: int) -> None:
    graph = pair(FOLLOWED["RELU"][0])
    assert_left_alone(passes.expose(graph, graph.ops[operator].outputs))


@pytest.mark.parametrize("position", [1, 2])
def test_constants_that_the_caller_sees_are_left_alone(position: int) -> None:
    graph = pair(lambda net, x: x)
    assert_left_alone(passes.expose(graph, [graph.ops[0].inputs[position]]))


def three_alike(shared: int) -> Graph:
    """Three layers of one shape; the first and the last have one input (1 weights, 2 bias) in common."""
    net = Builder("float32")
    image = tensor = net.activation("image", (1, 4, 4, 6))
    for name in "abc":
        tensor = net.conv(name, tensor, 6)
    inputs = tuple(net.ops[0 if i == shared else 2].inputs[i] for i in range(3))
    net.ops[2] = replace(net.ops[2], inputs=inputs)
    return net.build([image], [tensor])


def test_shared_weights_are_left_alone() -> None:
    assert_left_alone(three_alike(1))


def test_a_shared_bias_does_not_hinder_the_second_layer() -> None:
    graph = three_alike(2)
    equalized, count = equalize(graph)
    assert count == 1
    assert equalized.tensors[graph.ops[0].inputs[1]] is graph.tensors[graph.ops[0].inputs[1]]
    assert_same(graph, equalized)


@pytest.mark.parametrize("operator", [0, 1])
def test_a_computed_bias_is_left_alone(operator: int) -> None:
    net = Builder("float32")
    image, bias = net.activation("image", (1, 4, 4, 3)), net.activation("bias", (6,))
    last = net.conv("second", net.conv("first", image, 6), 6)
    net.ops[operator] = replace(net.ops[operator], inputs=(*net.ops[operator].inputs[:2], bias))
    assert_left_alone(net.build([image, bias], [last]))


def test_layers_without_bias_are_equalized() -> None:
    net = Builder("float32")
    image = net.activation("image", (1, 6))
    graph = net.build([image], [dense(net, net.like("RELU", "relu", net.dense("first", image, 9), (1, 9)))])
    ops = tuple(replace(op, inputs=(*op.inputs[:2], -1)) if len(op.inputs) > 1 else op for op in graph.ops)
    graph = uneven(passes.prune(replace(graph, ops=ops)))
    equalized, count = equalize(graph)
    assert count == 1
    assert_same(graph, equalized)


@pytest.mark.parametrize(
    "make", [small_int8_network, small_uint8_network, newer_network, lambda: newer_network("uint8")]
)
def test_codes_are_left_alone(make: Callable[[], Graph]) -> None:
    assert_left_alone(make())


def test_only_what_lies_between_is_touched() -> None:
    """The stem has two readers and the residual two sources; only depthwise - pointwise is a pair."""
    graph = small_float_network()
    equalized, count = equalize(graph)
    changed = [i for i, t in enumerate(graph.tensors) if equalized.tensors[i].data is not t.data]
    assert count == 1
    assert changed == sorted([*graph.ops[1].inputs[1:], graph.ops[2].inputs[1]])


def narrowed(graph: Graph) -> Graph:
    """Weights and biases as float16, each widened by a DEQUANTIZE."""
    tensors, widening = list(graph.tensors), []
    for layer in layers(graph):
        for index in (layer.weights, layer.bias):
            assert index is not None
            tensor = graph.tensors[index]
            tensors.append(replace(tensor, dtype="float16", data=tensor.data.astype(np.float16)))
            tensors[index] = Tensor(name=tensor.name, shape=tensor.shape, dtype="float32")
            widening.append(
                replace(graph.ops[0], code="DEQUANTIZE", inputs=(len(tensors) - 1,), outputs=(index,), options={})
            )
    return replace(graph, tensors=tuple(tensors), ops=(*widening, *graph.ops))


def test_float16_is_left_alone_until_it_is_folded() -> None:
    graph = narrowed(mobile_chain())
    assert_left_alone(graph)
    folded = passes.fold_float16(graph)
    equalized, count = equalize(folded)
    assert count == 4
    assert_same(folded, equalized)


@pytest.mark.parametrize("gain", [0.0, 1e-30])
@pytest.mark.parametrize("place", [0, 1])
def test_dead_channels_stay(place: int, gain: float) -> None:
    """Weight decay brings channels to 1e-30 that still have a bias; scaled up, it would be all that int8 can hold."""
    graph = pair(lambda net, x: x)
    weights, biases = graph.ops[place].inputs[1], graph.ops[0].inputs[2]
    data = graph.tensors[weights].data.copy()
    (data if place == 0 else np.moveaxis(data, 3, 0))[2] *= np.float32(gain)
    graph = graph.with_data({weights: data})
    equalized, count = equalize(graph)
    assert count == 1
    moved = equalized.tensors[biases].data / graph.tensors[biases].data
    assert moved[2] == 1
    assert not (np.delete(moved, 2) == 1).any()
    assert_same(graph, equalized)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("operator", "position"), [(0, 1), (0, 2), (1, 1)])
def test_constants_that_are_no_numbers_are_left_alone(operator: int, position: int, value: float) -> None:
    graph = pair(lambda net, x: x)
    constant = graph.ops[operator].inputs[position]
    data = graph.tensors[constant].data.copy()
    data.flat[0] = value
    assert_left_alone(graph.with_data({constant: data}))


def int8_error(graph: Graph, reference: Graph) -> float:
    """Root of the mean squared error of the int8 network, in units of the reference's largest output."""
    quantized = int8.quantize(graph, random_inputs(graph, 48, seed=1))
    inputs = random_inputs(graph, 100, seed=2)
    codes = Runner(quantized).run(feed.quantize(inputs, quantized.input))[0]
    output = quantized.output.quantization
    assert output is not None
    real = (codes.astype(np.float64) - output.zero_points[0]) * output.scales[0]
    expected = Runner(reference).run(inputs)[0]
    return float(np.sqrt(((real - expected) ** 2).mean()) / np.abs(expected).max())


@pytest.mark.parametrize("seed", range(3))
def test_int8_comes_closer_to_float(seed: int) -> None:
    """Channels that leave at 1/30 to 30 of their scale and enter the next layer at the inverse, all of equal weight."""
    net = Builder("float32", seed)
    image = net.activation("image", (1, 8, 8, 3))
    last = net.conv("second", net.conv("first", image, 16, 3), 8, 3, fusedActivationFunction=LINEAR)
    graph = net.build([image], [last])
    gains = np.geomspace(1 / 30, 30, 16).astype(np.float32)
    (_, weights, bias), (_, following, _) = graph.ops[0].inputs, graph.ops[1].inputs
    data = {i: graph.tensors[i].data for i in (weights, bias, following)}
    spoiled = graph.with_data(
        {
            weights: data[weights] * gains[:, None, None, None],
            bias: data[bias] * gains,
            following: data[following] / gains,
        }
    )
    assert int8_error(equalize(spoiled)[0], graph) < 0.2 * int8_error(spoiled, graph)
