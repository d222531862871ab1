"""Moments against patches cut by hand from LiteRT's own activations, and sensitivities."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from bqsearch import bank as banks
from bqsearch import registry
from bqsearch.compress import compress
from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers
from bqsearch.packing.streams import STREAMS
from bqsearch.runtime import calibrate
from bqsearch.runtime.litert import Runner
from bqsearch.types import Array
from networks import SAME, VALID, Builder, newer_network, random_inputs, small_int8_network, small_uint8_network

COUNT = 70  # two whole chunks and a part of a third


def every_kind(dtype: str = "int8") -> Graph:
    """SAME and VALID, strides 1 and 2, even and odd sides, dilation, depthwise of multiplier 2, 1x1, dense."""
    net = Builder(dtype, seed=3)
    image = net.activation("image", (1, 9, 8, 3), -1.0, 1.0)
    same = net.conv("net/same", image, 6, size=3, stride=2)  # 5x4
    wide = net.conv("net/dilated", same, 4, size=3, dilationHFactor=2, dilationWFactor=2)
    depthwise = net.depthwise("net/depthwise", wide, size=3, padding=VALID)  # 3x2
    doubled = doubling(net, depthwise)
    point = net.conv("net/point", doubled, 5, padding=VALID)  # 2x1
    flat = net.reshape("net/flat", point, (1, 10))
    return net.build([image], [net.softmax("net/scores", net.dense("net/dense", flat, 4))])


def doubling(net: Builder, source: int) -> int:
    """A depthwise convolution of stride 2, SAME, with two outputs for each input channel."""
    channels = 2 * net.tensors[source].shape[3]
    weights, bias = net.weights("net/doubling", source, (1, 2, 3, channels), 3, 6)
    _, height, width, _ = net.tensors[source].shape
    output = net.activation("net/doubling/out", (1, -(-height // 2), -(-width // 2), channels))
    options = {"padding": schema.Padding.SAME, "strideH": 2, "strideW": 2, "depthMultiplier": 2}
    return net.op("DEPTHWISE_CONV_2D", (source, weights, bias), output, "DepthwiseConv2DOptions", **options)


def read(graph: Graph, tensor: int, inputs: Array) -> Array:
    """An activation's codes as LiteRT computes them, less the zero point."""
    zero = int(graph.tensors[tensor].quantization.zero_points[0])
    exposed = passes.expose(graph, (tensor,))
    made = Interpreter(model_content=serialize(exposed))
    made.allocate_tensors()
    position = exposed.outputs.index(tensor) if tensor in exposed.outputs else None
    values = []
    for value in inputs:
        made.set_tensor(made.get_input_details()[0]["index"], value[None])
        made.invoke()
        values.append(value if position is None else made.get_tensor(made.get_output_details()[position]["index"])[0])
    return np.stack(values).astype(np.float64) - zero


def margins(side: int, outputs: int, stride: int, reach: int, same: bool) -> tuple[int, int]:
    total = max((outputs - 1) * stride + reach - side, 0) if same else 0
    return total // 2, total - total // 2


def patches(graph: Graph, layer: Layer, values: Array) -> Array:
    """`(patches, height, width, channels)` that a convolution's filter meets, zeros where there is padding."""
    op = graph.ops[layer.op]
    height, width = layer.shape[1:3]
    _, rows, columns, _ = graph.tensors[op.outputs[0]].shape
    tall, long = op.options["dilationHFactor"], op.options["dilationWFactor"]
    down, right = op.options["strideH"], op.options["strideW"]
    same = op.options["padding"] == schema.Padding.SAME
    vertical = margins(values.shape[1], rows, down, (height - 1) * tall + 1, same)
    horizontal = margins(values.shape[2], columns, right, (width - 1) * long + 1, same)
    padded = np.pad(values, [(0, 0), vertical, horizontal, (0, 0)])
    cut = [
        padded[
            :,
            r * down : r * down + (height - 1) * tall + 1 : tall,
            c * right : c * right + (width - 1) * long + 1 : long,
        ]
        for r in range(rows)
        for c in range(columns)
    ]
    return np.concatenate(cut)


def direct(graph: Graph, layer: Layer, inputs: Array) -> tuple[Array, Array]:
    values = read(graph, graph.ops[layer.op].inputs[0], inputs)
    if layer.operator == "FULLY_CONNECTED":
        seen = values.reshape(-1, layer.shape[1])
    else:
        seen = patches(graph, layer, values)
        if layer.operator == "DEPTHWISE_CONV_2D":
            seen = np.repeat(seen, layer.shape[3] // seen.shape[3], axis=3)
    return seen.mean(axis=0)[None], seen.var(axis=0)[None]


@pytest.mark.parametrize("make", [every_kind, lambda: every_kind("uint8"), small_int8_network, small_uint8_network])
def test_moments_are_those_of_the_patches(make: object) -> None:
    graph = make()
    inputs = random_inputs(graph, COUNT)
    found = calibrate.moments(graph, inputs)
    assert list(found) == [layer.name for layer in layers(graph)]
    for layer in layers(graph):
        mean, variance = direct(graph, layer, inputs)
        np.testing.assert_allclose(found[layer.name].mean, mean, rtol=1e-9, atol=1e-9, err_msg=layer.name)
        np.testing.assert_allclose(found[layer.name].variance, variance, rtol=1e-6, atol=1e-6, err_msg=layer.name)
        assert np.broadcast_shapes(found[layer.name].mean.shape, layer.shape) == layer.shape
        assert mean.max() > 1  # the layers see something


def spread(graph: Graph, layer: Layer, values: Array) -> tuple[Array, Array]:
    """What each weight of a transposed convolution meets behind every output position, nothing where nothing is."""
    op = graph.ops[layer.op]
    _, rows, columns, _ = graph.tensors[op.outputs[0]].shape
    height, width = layer.shape[1:3]
    down, right = op.options["strideH"], op.options["strideW"]
    same = op.options["padding"] == SAME
    top, _ = margins(rows, values.shape[1], down, height, same)
    left, _ = margins(columns, values.shape[2], right, width, same)
    met = np.zeros((len(values), rows, columns, height, width, values.shape[3]))
    for y, x, i, j in np.ndindex(values.shape[1], values.shape[2], height, width):
        row, column = y * down + i - top, x * right + j - left
        if 0 <= row < rows and 0 <= column < columns:
            met[:, row, column, i, j] = values[:, y, x]
    flat = met.reshape(-1, height, width, values.shape[3])
    return flat.mean(axis=0)[None], flat.var(axis=0)[None]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, SAME), (2, 3, VALID), (4, 2, VALID), (5, 1, SAME)])
def test_moments_of_a_transposed_convolution(dtype: str, size: int, stride: int, padding: int) -> None:
    net = Builder(dtype, 5)
    image = net.activation("image", (1, 4, 3, 2), -1.0, 1.0)
    graph = net.build([image], [net.transpose_conv("up", image, 3, size, stride, padding)])
    inputs, (layer,) = random_inputs(graph, COUNT), layers(graph)
    found = calibrate.moments(graph, inputs)[layer.name]
    mean, variance = spread(graph, layer, read(graph, image, inputs))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, SAME), (2, 3, VALID), (4, 2, SAME)])
def test_moments_foretell_the_mean_of_a_transposed_convolution(size: int, stride: int, padding: int) -> None:
    """LiteRT's own outputs: the mean over positions is the weights' product with the means that they meet."""
    net = Builder("float32", 5)
    image = net.activation("image", (1, 5, 4, 2))
    graph = net.build([image], [net.transpose_conv("up", image, 3, size, stride, padding)])
    inputs, (layer,) = random_inputs(graph, COUNT), layers(graph)
    mean = calibrate.moments(graph, inputs)[layer.name].mean
    weights, bias = graph.tensors[layer.weights].data, graph.tensors[layer.bias].data
    wanted = Runner(graph).run(inputs)[0].mean(axis=(0, 1, 2)) - bias
    np.testing.assert_allclose((weights * mean).sum(axis=(1, 2, 3)), wanted, atol=1e-5)


def test_moments_of_newer_operators() -> None:
    graph = newer_network()
    inputs = random_inputs(graph, 8)
    found = calibrate.moments(graph, inputs)
    for layer in layers(graph):
        assert np.broadcast_shapes(found[layer.name].mean.shape, layer.shape) == layer.shape


def test_moments_of_one_input() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 1)
    stem = layers(graph)[0]
    np.testing.assert_allclose(calibrate.moments(graph, inputs)[stem.name].mean, direct(graph, stem, inputs)[0])


@pytest.mark.parametrize(
    "schemes", [["kmeans"], ["uniform"], ["binquant"], ["binquant_optimal"], ["kmeans", "uniform"]]
)
def test_sensitivities_are_positive_and_finite(schemes: list[str]) -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 40)
    bank = banks.build(graph, calibrate.moments(graph, inputs), schemes, STREAMS)
    found = calibrate.sensitivity(graph, bank, inputs)
    assert set(found) == set(bank.by_name)
    assert all(np.isfinite(value) and value > 0 for value in found.values())
    assert found == calibrate.sensitivity(graph, bank, inputs)


def test_no_scheme_has_no_sensitivity() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 8)
    bank = banks.build(graph, calibrate.moments(graph, inputs), ["keep"], STREAMS)
    assert calibrate.sensitivity(graph, bank, inputs) == {}


def test_sensitivity_is_logit_error_for_distortion() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 40)
    bank = banks.build(graph, calibrate.moments(graph, inputs), ["kmeans"], STREAMS)
    name = layers(graph)[0].name
    choice = banks.Choice(scheme="kmeans", levels=calibrate.PROBE_LEVELS, coding="raw")
    option = bank.by_name[name].option(choice)
    changed = compress(graph, bank, bank.plan({name: choice})).decoded()
    logits = graph.ops[-1].inputs[0]
    scale = float(graph.tensors[logits].quantization.scales[0])
    error = (read(changed, logits, inputs) - read(graph, logits, inputs)) * scale
    wanted = float((error**2).mean()) / option.distortion
    assert calibrate.sensitivity(graph, bank, inputs)[name] == pytest.approx(wanted)


def test_every_shipped_scheme_is_probed() -> None:
    assert {"kmeans", "uniform", "binquant", "binquant_optimal", "keep"} <= set(registry.names("scheme"))
