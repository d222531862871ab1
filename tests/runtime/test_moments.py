"""Moments against patches cut by hand from LiteRT's own activations."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers
from bqsearch.runtime import moments as module
from bqsearch.runtime.litert import Runner
from bqsearch.runtime.moments import moments
from bqsearch.types import Array
from networks import (
    REACH,
    SAME,
    VALID,
    Builder,
    activation_values,
    newer_network,
    random_inputs,
    small_int8_network,
    small_uint8_network,
)

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


def seen_by(graph: Graph, layer: Layer, inputs: Array) -> Array:
    """`(samples, ...)` what the layer's weights meet; `(samples, height, width, channels)` for a convolution."""
    values = activation_values(graph, graph.ops[layer.op].inputs[0], inputs)
    if layer.operator == "FULLY_CONNECTED":
        return values.reshape(-1, layer.shape[1])
    seen = patches(graph, layer, values)
    return np.repeat(seen, layer.shape[3] // seen.shape[3], axis=3) if layer.operator.startswith("DEPTH") else seen


def direct(graph: Graph, layer: Layer, inputs: Array) -> tuple[Array, Array]:
    seen = seen_by(graph, layer, inputs)
    return seen.mean(axis=0)[None], seen.var(axis=0)[None]


@pytest.mark.parametrize("make", [every_kind, lambda: every_kind("uint8"), small_int8_network, small_uint8_network])
def test_moments_are_those_of_the_patches(make: object) -> None:
    graph = make()
    inputs = random_inputs(graph, COUNT)
    found = moments(graph, inputs, covariances=False)
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
    found = moments(graph, inputs, covariances=False)[layer.name]
    mean, variance = spread(graph, layer, activation_values(graph, image, inputs))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, SAME), (2, 3, VALID), (4, 2, SAME)])
def test_moments_foretell_the_mean_of_a_transposed_convolution(size: int, stride: int, padding: int) -> None:
    """LiteRT's own outputs: the mean over positions is the weights' product with the means that they meet."""
    net = Builder("float32", 5)
    image = net.activation("image", (1, 5, 4, 2))
    graph = net.build([image], [net.transpose_conv("up", image, 3, size, stride, padding)])
    inputs, (layer,) = random_inputs(graph, COUNT), layers(graph)
    mean = moments(graph, inputs, covariances=False)[layer.name].mean
    weights, bias = graph.tensors[layer.weights].data, graph.tensors[layer.bias].data
    wanted = Runner(graph).run(inputs)[0].mean(axis=(0, 1, 2)) - bias
    np.testing.assert_allclose((weights * mean).sum(axis=(1, 2, 3)), wanted, atol=1e-5)


def test_moments_of_newer_operators() -> None:
    graph = newer_network()
    inputs = random_inputs(graph, 8)
    found = moments(graph, inputs, covariances=False)
    for layer in layers(graph):
        assert np.broadcast_shapes(found[layer.name].mean.shape, layer.shape) == layer.shape


def test_moments_of_one_input() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 1)
    stem = layers(graph)[0]
    np.testing.assert_allclose(
        moments(graph, inputs, covariances=False)[stem.name].mean, direct(graph, stem, inputs)[0]
    )


def covariance_of(graph: Graph, layer: Layer, inputs: Array) -> Array:
    """Of all positions, without shrinkage: `(columns, columns)`, one for each channel of a depthwise layer."""
    seen = seen_by(graph, layer, inputs)
    if layer.operator != "DEPTHWISE_CONV_2D":
        return np.cov(seen.reshape(len(seen), -1).T, bias=True)
    return np.stack([np.cov(seen[..., c].reshape(len(seen), -1).T, bias=True) for c in range(layer.channels)])


def without_shrinkage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shrunk", lambda covariance, samples: covariance)


@pytest.mark.parametrize("make", [every_kind, lambda: every_kind("uint8"), small_int8_network, small_uint8_network])
def test_covariances_are_those_of_the_patches(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding of both kinds, strides, dilation, multiplier 2, 1x1, dense; zero points of every layer's input."""
    without_shrinkage(monkeypatch)
    graph = make()
    inputs = random_inputs(graph, COUNT)
    found = moments(graph, inputs, covariances=True)
    plain = moments(graph, inputs, covariances=False)
    for layer in layers(graph):
        wanted = covariance_of(graph, layer, inputs)
        columns = layer.size // layer.channels
        own = (layer.channels,) if layer.operator == "DEPTHWISE_CONV_2D" else ()
        assert found[layer.name].covariance.shape == (*own, columns, columns)
        np.testing.assert_allclose(found[layer.name].covariance, wanted, rtol=1e-9, atol=1e-9, err_msg=layer.name)
        assert np.abs(wanted - np.diagonal(wanted, axis1=-2, axis2=-1)[..., None] * np.eye(columns)).max() > 1
        assert plain[layer.name].covariance is None
        assert np.array_equal(found[layer.name].mean, plain[layer.name].mean)
        assert np.array_equal(found[layer.name].variance, plain[layer.name].variance)
    points = {int(graph.tensors[graph.ops[layer.op].inputs[0]].quantization.zero_points[0]) for layer in layers(graph)}
    assert len(points) > 1


def test_variances_are_the_diagonals_of_covariances() -> None:
    graph = every_kind()
    for layer in layers(graph):
        found = moments(graph, random_inputs(graph, COUNT), covariances=True)[layer.name]
        variance = np.broadcast_to(found.variance, layer.shape)
        by_channel = np.moveaxis(variance, layer.channel_axis, 0).reshape(layer.channels, -1)
        diagonal = np.diagonal(found.covariance, axis1=-2, axis2=-1)
        np.testing.assert_allclose(np.broadcast_to(diagonal, by_channel.shape), by_channel, rtol=1e-6, atol=1e-6)


def test_off_the_diagonal_covariances_are_smaller_the_fewer_samples_there_are() -> None:
    """By columns / (columns + independent samples): of the positions of an image not all count."""
    graph = every_kind()
    inputs = random_inputs(graph, COUNT)
    for layer in layers(graph):
        plain = covariance_of(graph, layer, inputs)
        columns, positions = plain.shape[-1], len(seen_by(graph, layer, inputs)) // COUNT
        samples = COUNT * min(positions, module._INDEPENDENT)
        wanted = np.where(np.eye(columns, dtype=bool), plain, plain * samples / (samples + columns))
        found = moments(graph, inputs, covariances=True)[layer.name].covariance
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9, err_msg=layer.name)
        assert 0 < samples / (samples + columns) < 1


def large_map() -> Graph:
    """144 positions of a convolution, 36 of a depthwise layer."""
    net = Builder("int8", 4)
    image = net.activation("image", (1, 12, 12, 3), -1.0, 1.0)
    wide = net.conv("wide", image, 4, size=3)
    flat = net.mean("mean", net.depthwise("depthwise", wide, stride=2))
    return net.build([image], [net.dense("dense", flat, 5)])


def test_positions_are_sampled_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ones each time, however many inputs are run at once; and what they show is what all positions show."""
    without_shrinkage(monkeypatch)
    graph = large_map()
    inputs = random_inputs(graph, 150)
    first = {name: found.covariance for name, found in moments(graph, inputs, covariances=True).items()}
    monkeypatch.setattr(module, "fitting_batch", lambda graph, count: 7)
    again = {name: found.covariance for name, found in moments(graph, inputs, covariances=True).items()}
    assert all(np.array_equal(first[name], again[name]) for name in first)
    wide, *others = layers(graph)
    whole = covariance_of(graph, wide, inputs)
    assert np.abs(first[wide.name] - whole).max() > 1
    assert np.linalg.norm(first[wide.name] - whole) < 0.05 * np.linalg.norm(whole)
    for layer in others:
        np.testing.assert_allclose(first[layer.name], covariance_of(graph, layer, inputs), rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(module, "POSITIONS", 144)
    every = moments(graph, inputs, covariances=True)[wide.name].covariance
    np.testing.assert_allclose(every, whole, rtol=1e-9, atol=1e-9)


def test_wide_layers_and_odd_kinds_have_no_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = every_kind()
    inputs = random_inputs(graph, 3)
    columns = {layer.name: layer.size // layer.channels for layer in layers(graph)}
    monkeypatch.setattr(module, "MAX_COLUMNS", 27)
    found = moments(graph, inputs, covariances=True)
    assert {name for name in columns if found[name].covariance is None} == {n for n, c in columns.items() if c > 27}
    assert 0 < sum(found[name].covariance is None for name in columns) < len(columns)
    assert max(columns.values()) > 27 in columns.values()
    newer = newer_network()
    found = moments(newer, random_inputs(newer, 3), covariances=True)
    transposed = {layer.name for layer in layers(newer) if layer.operator == "TRANSPOSE_CONV"}
    assert {name for name in found if found[name].covariance is None} == transposed != set()


def test_products_of_far_inputs_add_up_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of 254 and 255 vary by less than a 32-bit sum of their squares is rounded by."""
    without_shrinkage(monkeypatch)
    net = Builder("int8", 0)
    image = net.activation("image", (1, 12, 12, 8), 0.0, REACH)
    graph = net.build([image], [net.conv("conv", image, 4, size=3, padding=VALID)])
    assert graph.input.quantization.zero_points[0] == -128
    monkeypatch.setattr(module, "POSITIONS", 100)
    inputs = 127 - (np.random.default_rng(0).random((64, 12, 12, 8)) < 0.01).astype(np.int8)
    found = moments(graph, inputs, covariances=True)["conv"].covariance
    np.testing.assert_allclose(found, covariance_of(graph, layers(graph)[0], inputs), rtol=1e-9, atol=1e-12)
    assert 0 < np.diagonal(found).max() < 0.02
    assert np.linalg.eigvalsh(found).min() > 0
    still = moments(graph, np.full((64, 12, 12, 8), 101, np.int8), covariances=True)["conv"].covariance
    assert not still.any()
