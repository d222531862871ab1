"""Every kernel, bit for bit against TensorFlow Lite Micro (int8) and TensorFlow Lite (uint8)."""

from pathlib import Path

import numpy as np
import pytest

from bqsearch.firmware.emit import emit_graph
from bqsearch.graph.ops import SUPPORTED, layers
from bqsearch.packing.streams import STREAMS
from decoding import need_tflm
from firmware.checks import check, computed
from firmware.coding import coded_as, with_levels
from firmware.plans import Group, plan
from firmware.reference import any_inputs, expected
from firmware.samples import chained, layered, turned
from networks import LINEAR, REACH, RELU, SAME, VALID, Builder

RELU6 = 3
TYPES = pytest.mark.parametrize("dtype", ["int8", "uint8"])


CONVOLUTIONS = [  # size, stride, padding, dilation, input channels, activation
    (3, 1, SAME, 1, 5, LINEAR),
    (3, 2, SAME, 1, 8, RELU),
    (3, 2, VALID, 1, 3, RELU6),
    (5, 1, SAME, 1, 4, RELU),
    (3, 1, SAME, 2, 4, LINEAR),
    (3, 1, VALID, 2, 4, RELU6),
    (1, 1, SAME, 1, 7, LINEAR),
    (1, 2, SAME, 1, 9, LINEAR),
    (2, 1, VALID, 1, 4, LINEAR),
    (7, 3, SAME, 1, 1, LINEAR),
]


@TYPES
@pytest.mark.parametrize("operator", ["conv", "depthwise"])
@pytest.mark.parametrize(("size", "stride", "padding", "dilation", "channels", "activation"), CONVOLUTIONS)
def test_convolutions(
    cache: Path,
    dtype: str,
    operator: str,
    size: int,
    stride: int,
    padding: int,
    dilation: int,
    channels: int,
    activation: int,
) -> None:
    net = Builder(dtype, size + stride)
    source = net.activation("x", (1, 9, 8, channels))
    options = {"padding": padding, "fusedActivationFunction": activation}
    if dilation > 1:
        options |= {"dilationHFactor": dilation, "dilationWFactor": dilation}
        shape = (6 if operator == "conv" else 1, size, size, channels)
        output = _dilated(net, operator, source, shape, options)
    elif operator == "conv":
        output = net.conv("c", source, 6, size, stride, **options)
    else:
        output = net.depthwise("d", source, size, stride, **options)
    check(net.build([source], [output]), cache)


def _dilated(net: Builder, operator: str, source: int, shape: tuple[int, ...], options: dict) -> int:
    """A convolution whose filter is spread out, with an output of the shape that follows."""
    axis, dilation = (0, options["dilationHFactor"]) if operator == "conv" else (3, options["dilationHFactor"])
    weights, bias = net.weights("w", source, shape, axis, 9)
    sides = net.tensors[source].shape[1:3]
    reach = (shape[1] - 1) * dilation if options["padding"] == VALID else 0
    output = net.activation("o", (1, sides[0] - reach, sides[1] - reach, shape[axis]))
    code, kind = ("CONV_2D", "Conv2D") if operator == "conv" else ("DEPTHWISE_CONV_2D", "DepthwiseConv2D")
    options = {**options, "strideH": 1, "strideW": 1, **({"depthMultiplier": 1} if axis == 3 else {})}
    return net.op(code, (source, weights, bias), output, f"{kind}Options", **options)


@TYPES
def test_depthwise_convolution_with_a_multiplier(cache: Path, dtype: str) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 9, 8, 3))
    weights, bias = net.weights("w", source, (1, 3, 3, 12), 3, 9)
    output = net.activation("o", (1, 5, 4, 12))
    options = {"padding": SAME, "strideH": 2, "strideW": 2, "depthMultiplier": 4}
    net.op("DEPTHWISE_CONV_2D", (source, weights, bias), output, "DepthwiseConv2DOptions", **options)
    check(net.build([source], [output]), cache)


@TYPES
@pytest.mark.parametrize("features", [1, 63, 64, 200])
def test_dense(cache: Path, dtype: str, features: int) -> None:
    net = Builder(dtype, features)
    source = net.activation("x", (1, features))
    check(net.build([source], [net.dense("d", source, 13)]), cache, count=20)


@TYPES
def test_dense_of_several_rows(cache: Path, dtype: str) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 60))
    rows = net.reshape("rows", source, (5, 12))
    weights, bias = net.weights("w", rows, (7, 12), 0, 12)
    made = net.op("FULLY_CONNECTED", (rows, weights, bias), net.activation("o", (5, 7)), "FullyConnectedOptions")
    check(net.build([source], [net.reshape("flat", made, (1, 35))]), cache)


@TYPES
def test_a_layer_without_bias(cache: Path, dtype: str) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 20))
    weights, _ = net.weights("w", source, (6, 20), 0, 20)
    output = net.op("FULLY_CONNECTED", (source, weights, -1), net.activation("o", (1, 6)), "FullyConnectedOptions")
    check(net.build([source], [output]), cache)


@TYPES
@pytest.mark.parametrize(("depth", "reach"), [(1, 4.0), (2, 60.0), (30, 4.0), (400, 0.5), (400, 12.0)])
def test_softmax(cache: Path, dtype: str, depth: int, reach: float) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, depth), -reach, reach)
    graph = net.build([source], [net.softmax("s", source)])
    inputs = any_inputs(graph, 30)
    inputs[10:] = np.clip(inputs[10:].astype(int) // 8 + 90, None, np.iinfo(inputs.dtype).max)
    if dtype == "int8":
        need_tflm()
    assert np.array_equal(computed(graph, inputs, cache), expected(graph, inputs))


@TYPES
@pytest.mark.parametrize("activation", [LINEAR, RELU, RELU6])
def test_add(cache: Path, dtype: str, activation: int) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 6, 5, 4), -1, 1)
    other = net.conv("c", source, 4, fusedActivationFunction=LINEAR)
    output = net.op(
        "ADD", (source, other), net.activation("o", (1, 6, 5, 4), -3), "AddOptions", fusedActivationFunction=activation
    )
    check(net.build([source], [output]), cache)


@TYPES
@pytest.mark.parametrize("activation", [LINEAR, RELU6])
@pytest.mark.parametrize("in_place", [False, True])
def test_multiply(cache: Path, dtype: str, activation: int, in_place: bool) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 6, 5, 4), -1, 2)
    other = net.conv("c", source, 4, fusedActivationFunction=LINEAR)
    output = net.activation("o", (1, 6, 5, 4), -3)
    net.op("MUL", (other, source), output, "MulOptions", fusedActivationFunction=activation)
    groups = [Group(ops=(1,), kind="in_place")] if in_place else []
    check(net.build([source], [output]), cache, groups=groups)


@pytest.mark.parametrize("high", [0.01, 3.0, 400.0])
def test_inverse_roots(cache: Path, high: float) -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 2000), 0, high)
    output = net.op("RSQRT", (source,), net.activation("o", (1, 2000), 0, 4 / high**0.5))
    check(net.build([source], [output]), cache)


@TYPES
@pytest.mark.parametrize("code", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize(("rows", "activation"), [(None, LINEAR), (1, RELU6), (2, LINEAR)])
def test_pooling(cache: Path, dtype: str, code: str, rows: int | None, activation: int) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 9, 7, 5))
    options = {"strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 2}
    output = net.like(code, "o", source, (1, 5, 4, 5), padding=SAME, **options)
    options = {"strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2, "fusedActivationFunction": activation}
    whole = net.like(code, "p", output, (1, 4, 3, 5), padding=VALID, **options)
    graph = net.build([source], [whole])
    check(graph, cache, groups=() if rows is None else [Group(ops=(0,), kind="strips", rows=rows, direct=rows == 2)])


@TYPES
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("low", [-REACH, -3.0])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (1,)])
def test_mean(cache: Path, dtype: str, keep: bool, low: float, axes: tuple[int, ...]) -> None:
    net, shape = Builder(dtype), (1, 5, 3, 6)
    source = net.activation("x", shape)
    of_output = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
    output = net.activation("o", of_output, low)
    net.op("MEAN", (source, net.ints(*axes)), output, "ReducerOptions", keepDims=keep)
    check(net.build([source], [output]), cache, count=20)


@TYPES
@pytest.mark.parametrize("margins", [[[0, 0], [1, 2], [0, 3], [0, 0]], [[0, 0], [0, 1], [2, 0], [1, 2]]])
def test_pad(cache: Path, dtype: str, margins: list[list[int]]) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 4, 5, 6), -1, 3)
    check(net.build([source], [net.pad("p", source, margins)]), cache)


@TYPES
@pytest.mark.parametrize("code", ["RELU", "RELU6", "LOGISTIC", "QUANTIZE"])
@pytest.mark.parametrize("in_place", [False, True])
def test_maps_of_codes(cache: Path, dtype: str, code: str, in_place: bool) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 2000), -9, 7)
    low, high = {"LOGISTIC": (0, 255 / 256), "RELU6": (-9, 7)}.get(code, (-2, 7))
    output = net.op(code, (source,), net.activation("o", (1, 2000), low, high), SUPPORTED[code].options)
    groups = [Group(ops=(0,), kind="in_place")] if in_place else []
    check(net.build([source], [output]), cache, groups=groups)


@TYPES
@pytest.mark.parametrize("axis", [-1, 1])
def test_concatenation(cache: Path, dtype: str, axis: int) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 4, 5, 6))
    first = net.conv("c", source, 6, fusedActivationFunction=LINEAR)
    second = net.conv("d", source, 6, fusedActivationFunction=LINEAR)
    reach = 6.0 if dtype == "uint8" else REACH  # the reference for int8 wants equal scales
    shape = (1, 4, 5, 18) if axis == -1 else (1, 12, 5, 6)
    output = net.op(
        "CONCATENATION",
        (first, source, second),
        net.activation("o", shape, -reach, reach),
        "ConcatenationOptions",
        axis=axis,
    )
    check(net.build([source], [output]), cache)


@TYPES
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("turn", range(len(STREAMS.codings)))
def test_every_coding_with_every_kernel(cache: Path, dtype: str, turn: int, per_channel: bool) -> None:
    graph, coded = turned(layered(dtype), turn, per_channel)
    check(graph, cache, coded, count=8)


@TYPES
@pytest.mark.parametrize("levels", ["shift", "triple", "binary", "binary_channel"])
def test_products_without_multiplication(cache: Path, dtype: str, levels: str) -> None:
    graph = layered(dtype)
    ops = [layer.op for layer in layers(graph)]
    graph = with_levels(graph, dict.fromkeys(ops, levels))
    coded = coded_as(graph, dict.fromkeys(ops, "packed"), frozenset(ops))
    text = emit_graph(graph, coded, plan(graph, coded)).source
    variant = "binary" if "binary" in levels else "shift"
    assert text.count(f"bq_conv_{variant}_") == 6
    assert text.count(f"bq_dense_{variant}_") == 3
    check(graph, cache, coded, count=8)


@TYPES
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize(
    ("stride", "size", "padding"), [(1, 3, SAME), (2, 3, SAME), (1, 5, SAME), (3, 2, VALID), (2, 3, VALID)]
)
def test_chains_in_strips(cache: Path, dtype: str, rows: int, stride: int, size: int, padding: int) -> None:
    graph, groups = chained(dtype, rows, stride, size, padding)
    check(graph, cache, coded_as(graph, {op: STREAMS.codings[op % 5] for op in range(len(graph.ops))}), groups)


@TYPES
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize(("size", "stride", "padding", "dilation", "channels", "activation"), CONVOLUTIONS[1:3])
def test_convolutions_in_strips(
    cache: Path,
    dtype: str,
    rows: int,
    size: int,
    stride: int,
    padding: int,
    dilation: int,
    channels: int,
    activation: int,
) -> None:
    net = Builder(dtype, rows)
    source = net.activation("x", (1, 9, 8, channels))
    output = net.conv("c", source, 6, size, stride, padding=padding, fusedActivationFunction=activation)
    for direct in (False, True):
        check(net.build([source], [output]), cache, groups=[Group(ops=(0,), kind="strips", rows=rows, direct=direct)])


@TYPES
@pytest.mark.parametrize(("size", "stride", "padding", "dilation", "channels", "activation"), CONVOLUTIONS)
def test_depthwise_convolutions_in_place(
    cache: Path, dtype: str, size: int, stride: int, padding: int, dilation: int, channels: int, activation: int
) -> None:
    net = Builder(dtype, size)
    source = net.activation("x", (1, 9, 8, channels))
    options = {
        "padding": padding,
        "fusedActivationFunction": activation,
        "dilationHFactor": dilation,
        "dilationWFactor": dilation,
    }
    output = (
        _dilated(net, "depthwise", source, (1, size, size, channels), options)
        if dilation > 1
        else net.depthwise("d", source, size, stride, **options)
    )
    check(net.build([source], [output]), cache, groups=[Group(ops=(0,), kind="in_place")])


@TYPES
def test_add_in_place(cache: Path, dtype: str) -> None:
    net = Builder(dtype)
    source = net.activation("x", (1, 6, 5, 4))
    conv = net.conv("c", source, 4, fusedActivationFunction=LINEAR)
    for inputs in [(source, conv), (conv, source)]:
        made = Builder(dtype)
        made.tensors, made.ops = list(net.tensors), list(net.ops)
        output = made.add("a", *inputs)
        check(made.build([source], [output]), cache, groups=[Group(ops=(1,), kind="in_place")])
