"""Rewrites keep what the network computes, in LiteRT's own arithmetic, or stay away."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bqsearch.errors import UnsupportedError
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph, Op, Quantization, Tensor
from bqsearch.graph.ops import SUPPORTED
from bqsearch.runtime.litert import Runner
from bqsearch.types import Array
from networks import (
    SAME,
    VALID,
    Builder,
    newer_network,
    random_inputs,
    small_float_network,
    small_int8_network,
    small_uint8_network,
)

NETWORKS = [small_int8_network, small_uint8_network, small_float_network]
BATCHED = [*NETWORKS, newer_network, lambda: newer_network("uint8"), lambda: newer_network("float32")]
Make = Callable[..., Graph]


def codes(graph: Graph) -> list[str]:
    return [op.code for op in graph.ops]


def run(graph: Graph, inputs: Array, batch: int = 1) -> Array:
    runner = Runner(graph, batch=batch)
    assert runner.batch == batch
    return runner.run(inputs)[0]


def padded_conv(
    size: int, kernel: int, margins: tuple[int, int], depthwise: bool = False, dtype: str = "int8", stride: int = 2
) -> Graph:
    """PAD and a VALID convolution, as Keras writes blocks of stride 2."""
    net = Builder(dtype, 3)
    source = net.activation("x", (1, size, size, 4), -1.0, 3.0)
    padded = net.pad("pad", source, [(0, 0), margins, margins, (0, 0)])
    make = net.depthwise if depthwise else lambda *a, **k: net.conv(a[0], a[1], 6, *a[2:], **k)
    return net.build([source], [make("conv", padded, kernel, stride, padding=VALID)])


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("size", "kernel", "margins", "stride"),
    [(8, 3, (0, 1), 2), (7, 3, (1, 1), 2), (8, 5, (1, 2), 2), (6, 3, (1, 1), 1)],
)
def test_padding_is_fused(
    size: int, kernel: int, margins: tuple[int, int], stride: int, dtype: str, depthwise: bool
) -> None:
    graph = padded_conv(size, kernel, margins, depthwise, dtype, stride)
    fused = passes.fuse_padding(graph)
    assert len(fused.ops) == 1
    assert fused.ops[0].options["padding"] == SAME
    assert len(fused.tensors) == len(graph.tensors) - 2  # the padded copy and the margins
    inputs = random_inputs(graph, 6)
    assert np.array_equal(run(graph, inputs), run(fused, inputs))


@pytest.mark.parametrize(("size", "margins"), [(8, (1, 1)), (8, (1, 0)), (7, (0, 1)), (7, (2, 2))])
def test_other_margins_are_not_fused(size: int, margins: tuple[int, int]) -> None:
    graph = padded_conv(size, 3, margins)
    assert passes.fuse_padding(graph) is graph


def test_padding_that_others_need_is_not_fused() -> None:
    graph = padded_conv(8, 3, (0, 1))
    assert passes.fuse_padding(passes.expose(graph, [graph.ops[0].outputs[0]])).ops[0].code == "PAD"
    net = Builder("int8")
    source = net.activation("x", (1, 8, 8, 4))
    padded = net.pad("pad", source, [(0, 0), (0, 1), (0, 1), (0, 0)])
    convs = [net.conv(name, padded, 4, 3, 2, padding=VALID) for name in "ab"]
    assert codes(passes.fuse_padding(net.build([source], convs))) == ["PAD", "CONV_2D", "CONV_2D"]


def test_padding_before_a_same_convolution_is_not_fused() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 8, 8, 4))
    padded = net.pad("pad", source, [(0, 0), (0, 1), (0, 1), (0, 0)])
    assert codes(passes.fuse_padding(net.build([source], [net.conv("c", padded, 4, 3, 2)]))) == ["PAD", "CONV_2D"]


def test_padded_channels_are_not_fused() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 8, 8, 4))
    padded = net.pad("pad", source, [(0, 0), (0, 1), (0, 1), (0, 1)])
    graph = net.build([source], [net.conv("c", padded, 4, 3, 2, padding=VALID)])
    assert codes(passes.fuse_padding(graph)) == ["PAD", "CONV_2D"]


def test_every_pair_is_fused() -> None:
    net = Builder("int8", 5)
    tensor = source = net.activation("x", (1, 16, 16, 4))
    for name in "abc":
        padded = net.pad(f"pad_{name}", tensor, [(0, 0), (0, 1), (0, 1), (0, 0)])
        tensor = net.conv(name, padded, 4, 3, 2, padding=VALID)
    graph = net.build([source], [tensor])
    fused = passes.fuse_padding(graph)
    assert codes(fused) == ["CONV_2D"] * 3
    inputs = random_inputs(graph, 4)
    assert np.array_equal(run(graph, inputs), run(fused, inputs))


def float_ends() -> Graph:
    """A float input that is quantized, an integer layer, and an output that is dequantized."""
    net = Builder("int8", 2)
    image = net.tensor("image", (1, 8, 8, 3), "float32")
    quantized = net.op("QUANTIZE", (image,), net.activation("quantized", (1, 8, 8, 3), -1, 1), "QuantizeOptions")
    inner = net.conv("conv", quantized, 4)
    return net.build([image], [net.op("DEQUANTIZE", (inner,), net.tensor("y", (1, 8, 8, 4), "float32"))])


def test_integers_go_in_and_come_out() -> None:
    graph = float_ends()
    dieted = passes.integer_io(graph)
    assert codes(dieted) == ["CONV_2D"]
    assert (dieted.input.dtype, dieted.output.dtype) == ("int8", "int8")
    real = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(
        run(graph, real), real_values(dieted.output.quantization, run(dieted, as_codes(dieted, real)))
    )


@pytest.mark.parametrize("code", ["SOFTMAX", "LOG_SOFTMAX"])
def test_a_softmax_in_floats_is_left_to_the_caller(code: str) -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 8))
    scores = net.dense("d", source, 4)
    real = net.op("DEQUANTIZE", (scores,), net.tensor("r", (1, 4), "float32"), "DequantizeOptions")
    options = {"beta": 1.0} if code == "SOFTMAX" else {}
    last = net.op(code, (real,), net.tensor("p", (1, 4), "float32"), SUPPORTED[code].options, **options)
    graph = net.build([source], [last])
    assert codes(graph) == ["FULLY_CONNECTED", "DEQUANTIZE", code]
    cut = passes.integer_io(graph)
    assert codes(cut) == ["FULLY_CONNECTED"]
    inputs = np.random.default_rng(0).integers(-128, 128, (20, 8)).astype(np.int8)
    order = run(graph, inputs)[np.arange(20), run(cut, inputs).argmax(axis=1)]
    assert np.array_equal(order, run(graph, inputs).max(axis=1))


def as_codes(graph: Graph, real: Array) -> Array:
    quantization = graph.input.quantization
    assert quantization is not None
    return np.clip(np.rint(real / quantization.scales[0]) + quantization.zero_points[0], -128, 127).astype(np.int8)


def real_values(quantization: Quantization | None, found: Array) -> Array:
    assert quantization is not None
    return (found.astype(np.int64) - quantization.zero_points[0]).astype(np.float32) * quantization.scales[0]


@pytest.mark.parametrize("make", NETWORKS)
def test_networks_without_float_ends_stay(make: Make) -> None:
    assert passes.integer_io(make()).fingerprint == make().fingerprint


@pytest.mark.parametrize(
    ("scale", "zero_point", "left"),
    [(1.0, 128, ["RELU"]), (2.0, 128, ["QUANTIZE", "RELU"]), (1.0, 100, ["QUANTIZE", "RELU"])],
)
def test_a_quantize_of_codes_goes_only_where_it_moves_them_by_128(
    scale: float, zero_point: int, left: list[str]
) -> None:
    inner = Quantization(scales=np.ones(1, np.float32), zero_points=np.zeros(1, np.int64))
    outer = Quantization(scales=np.full(1, scale, np.float32), zero_points=np.full(1, zero_point, np.int64))
    shape = (1, 4)
    tensors = (
        Tensor(name="pixels", shape=shape, dtype="uint8", quantization=outer),
        Tensor(name="codes", shape=shape, dtype="int8", quantization=inner),
        Tensor(name="y", shape=shape, dtype="int8", quantization=inner),
    )
    ops = (
        Op(code="QUANTIZE", inputs=(0,), outputs=(1,), options={}),
        Op(code="RELU", inputs=(1,), outputs=(2,), options={}),
    )
    graph = Graph(name="", tensors=tensors, ops=ops, inputs=(0,), outputs=(2,))
    assert codes(passes.integer_io(graph)) == left


def test_a_float_input_that_others_read_stays() -> None:
    net = Builder("int8")
    image = net.tensor("image", (1, 4), "float32")
    quantized = net.op("QUANTIZE", (image,), net.activation("q", (1, 4)), "QuantizeOptions")
    both = net.op("ADD", (image, image), net.tensor("sum", (1, 4), "float32"), "AddOptions")
    assert passes.integer_io(net.build([image], [quantized, both])).ops[0].code == "QUANTIZE"


@pytest.mark.parametrize("make", NETWORKS)
def test_logits_are_what_the_softmax_read(make: Make) -> None:
    graph = make()
    cut = passes.logits(graph)
    assert codes(cut) == codes(graph)[:-1]
    assert cut.tensors == graph.tensors
    inputs = random_inputs(graph, 4)
    exposed = Runner(passes.expose(graph, [graph.ops[-1].inputs[0]])).run(inputs)[1]
    assert np.array_equal(run(cut, inputs), exposed)
    assert passes.logits(cut) is cut


def test_a_softmax_that_is_all_there_is_stays() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 4))
    graph = net.build([source], [net.softmax("s", source)])
    assert passes.logits(graph) is graph


def test_exposing_adds_each_activation_once_and_no_input() -> None:
    graph = small_int8_network()
    inner = graph.ops[0].outputs[0]
    exposed = passes.expose(graph, [inner, inner, *graph.inputs, *graph.outputs])
    assert exposed.outputs == (*graph.outputs, inner)
    outputs = Runner(exposed).run(random_inputs(graph, 2))
    assert [o.shape for o in outputs] == [(2, 10), (2, 4, 4, 16)]


@pytest.mark.parametrize("make", BATCHED)
def test_a_batch_gives_what_its_inputs_give_one_by_one(make: Make) -> None:
    graph = make()
    inputs = random_inputs(graph, 7)
    alone, together = run(graph, inputs), run(graph, inputs, batch=3)
    if graph.input.dtype == "float32":
        np.testing.assert_allclose(alone, together, atol=1e-6)
    else:
        assert np.array_equal(alone, together)


def reshaped(shape: tuple[int, ...]) -> Graph:
    net = Builder("int8", 4)
    source = net.activation("x", (1, 2, 2, 3), -1, 1)
    return net.build([source], [net.dense("dense", net.reshape("flat", source, shape), 5)])


def test_a_reshape_to_a_constant_shape_is_batched() -> None:
    graph = reshaped((1, 12))
    batched = passes.with_batch(graph, 4)
    (reshape,) = [op for op in batched.ops if op.code == "RESHAPE"]
    assert batched.tensors[reshape.inputs[1]].data.tolist() == [4, 12]
    assert reshape.options["newShape"] == (4, 12)
    inputs = random_inputs(graph, 8)
    assert np.array_equal(run(graph, inputs), run(graph, inputs, batch=4))


def test_a_reshape_without_a_constant_is_batched() -> None:
    graph = reshaped((1, 12))
    ops = (replace(graph.ops[0], inputs=graph.ops[0].inputs[:1]), *graph.ops[1:])
    graph = passes.prune(replace(graph, ops=ops))
    inputs = random_inputs(graph, 4)
    assert np.array_equal(run(graph, inputs), run(graph, inputs, batch=2))


def refusing(mixer: Callable[[Builder, int], int]) -> Graph:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    return net.build([source], [mixer(net, source)])


def _squeeze(axis: int) -> Callable[[Builder, int], int]:
    return lambda net, x: net.op("SQUEEZE", (x,), net.activation("y", (4, 4, 2)), "SqueezeOptions", squeezeDims=(axis,))


def _concatenation(axis: int) -> Callable[[Builder, int], int]:
    return lambda net, x: net.op(
        "CONCATENATION", (x, x), net.activation("y", (2, 4, 4, 2)), "ConcatenationOptions", axis=axis
    )


def _kept_mean(net: Builder, x: int) -> int:
    """Rank 1 in front stays, so that only the axes tell."""
    axes = net.constant("axes", np.array([0, 1], np.int32))
    return net.op("MEAN", (x, axes), net.activation("y", (1, 1, 4, 2)), "ReducerOptions", keepDims=True)


MIXERS: dict[str, Callable[[Builder, int], int]] = {
    "MEAN": _kept_mean,
    "MEAN over a negative axis": lambda net, x: net.op(
        "MEAN",
        (x, net.constant("axes", np.array([-4], np.int32))),
        net.activation("y", (1, 4, 4, 2)),
        "ReducerOptions",
        keepDims=True,
    ),
    "PAD": lambda net, x: net.pad("y", x, [(1, 0), (0, 0), (0, 0), (0, 0)]),
    "CONCATENATION": _concatenation(0),
    "CONCATENATION over a negative axis": _concatenation(-4),
    "SQUEEZE": _squeeze(0),
    "SQUEEZE of all": lambda net, x: net.op("SQUEEZE", (x,), net.activation("y", (4, 4, 2)), "SqueezeOptions"),
}


def float_layer(*shapes: tuple[int, ...], code: str, output: tuple[int, ...], **options: object) -> Graph:
    """An operator over activations of float32."""
    net = Builder("float32")
    inputs = [net.activation(f"x{i}", shape) for i, shape in enumerate(shapes)]
    made = net.op(code, inputs, net.activation("y", output), SUPPORTED[code].options, **options)
    return net.build(inputs, [made])


def over(code: str, *constants: Array, shape: tuple[int, ...], output: tuple[int, ...], **options: object) -> Graph:
    """An operator over an activation of float32 and constants."""
    net = Builder("float32")
    source = net.activation("x", shape)
    held = [net.constant("c", value) for value in constants]
    inputs = (*held, source) if code == "SPLIT" else (source, *held)
    return net.build([source], [net.op(code, inputs, net.activation("y", output), SUPPORTED[code].options, **options)])


def ints(*values: object) -> Array:
    return np.array(values, np.int32)


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


SOUND = {
    "a constant of lower rank": over("ADD", ones(3), shape=(1, 4, 3), output=(1, 4, 3)),
    "a constant with a batch of one": over("MUL", ones(1, 4, 1), shape=(1, 4, 3), output=(1, 4, 3)),
    "slopes": over("PRELU", -ones(1, 1, 3), shape=(1, 4, 4, 3), output=(1, 4, 4, 3)),
    "a maximum": float_layer((1, 4), (1, 4), code="MAXIMUM", output=(1, 4)),
    "a slice behind the batch": over(
        "STRIDED_SLICE", ints(0, 1), ints(0, 3), ints(1, 1), shape=(1, 4), output=(1, 2), beginMask=1, endMask=1
    ),
    "an exponential": over("EXP", shape=(1, 4), output=(1, 4)),
}


@pytest.mark.parametrize("case", SOUND)
def test_more_that_can_be_batched(case: str) -> None:
    graph = SOUND[case]
    values = np.random.default_rng(1).normal(0, 1, (6, *graph.input.shape[1:])).astype(np.float32)
    if len(graph.inputs) == 1:
        np.testing.assert_allclose(run(graph, values), run(graph, values, batch=3), rtol=1e-6)
    else:
        assert passes.with_batch(graph, 3).output.shape == (3, *graph.output.shape[1:])


def both_constant() -> Graph:
    """A constant that is widened: its first dimension of one is no batch."""
    net = Builder("float32")
    source = net.activation("x", (1, 4))
    half = net.constant("half", np.ones((1, 4), np.float16))
    widened = net.op("DEQUANTIZE", (half,), net.activation("wide", (1, 4)), "DequantizeOptions")
    return net.build([source], [net.add("sum", source, widened)])


UNSOUND = {
    "activations of two ranks": float_layer((1, 4), (1, 5, 4), code="ADD", output=(1, 5, 4)),
    "a constant of higher rank": over("ADD", ones(1, 1, 4), shape=(1, 4), output=(1, 1, 4)),
    "computed weights": float_layer((1, 4), (1, 4), code="FULLY_CONNECTED", output=(1, 1)),
    "a constant part": over("CONCATENATION", ones(1, 4), shape=(1, 4), output=(1, 8), axis=1),
    "a split of the batch": over("SPLIT", ints(0), shape=(1, 4), output=(1, 4), numSplits=1),
    "a slice of the batch": over("STRIDED_SLICE", ints(0), ints(1), ints(1), shape=(1, 4), output=(1, 4)),
    "a batch turned around": over(
        "STRIDED_SLICE", ints(0), ints(0), ints(-1), shape=(1, 4), output=(1, 4), beginMask=1, endMask=1
    ),
    "a batch shrunk away": over(
        "STRIDED_SLICE", ints(0), ints(0), ints(1), shape=(1, 1, 4), output=(1, 4), beginMask=1, endMask=1,
        shrinkAxisMask=1,
    ),
    "a softmax over the batch": over("SOFTMAX", shape=(1,), output=(1,), beta=1.0),
    "an opaque operator": over("TRANSPOSE", ints(1, 0), shape=(1, 1), output=(1, 1)),
    "a sum": over("SUM", ints(0), shape=(1, 1), output=(1,)),
    "a constant that is widened": both_constant(),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSOUND)
def test_what_a_batch_would_change_is_refused(case: str) -> None:
    with pytest.raises(UnsupportedError, match="mixes the inputs of a batch"):
        passes.with_batch(UNSOUND[case], 2)


def test_a_transposed_convolution_of_a_shared_shape_is_not_batched() -> None:
    net = Builder("float32")
    source = net.activation("x", (1, 4, 4, 2))
    first = net.transpose_conv("a", source, 2)
    second = net.transpose_conv("b", source, 2)
    net.ops[1] = replace(net.ops[1], inputs=(net.ops[0].inputs[0], *net.ops[1].inputs[1:]))
    with pytest.raises(UnsupportedError, match="TRANSPOSE_CONV to a computed or shared shape"):
        passes.with_batch(net.build([source], [first, second]), 2)


@pytest.mark.parametrize("mixer", MIXERS)
def test_what_mixes_a_batch_is_refused(mixer: str) -> None:
    with pytest.raises(UnsupportedError, match=r"mixes the inputs of a batch|no batch dimension of 1"):
        passes.with_batch(refusing(MIXERS[mixer]), 2)


@pytest.mark.parametrize("axis", [0, -3])
def test_squeezing_the_batch_away_is_refused_though_a_one_follows(axis: int) -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 1, 4))
    output = net.activation("y", (1, 4))
    net.op("SQUEEZE", (source,), output, "SqueezeOptions", squeezeDims=(axis,))
    with pytest.raises(UnsupportedError, match="SQUEEZE mixes"):
        passes.with_batch(net.build([source], [output]), 2)


def test_a_network_that_cannot_be_batched_runs_one_by_one() -> None:
    graph = refusing(MIXERS["MEAN"])
    assert Runner(graph, batch=8).batch == 1


@pytest.mark.parametrize("shape", [(2, 4), ()])
def test_an_activation_without_a_batch_of_one_is_refused(shape: tuple[int, ...]) -> None:
    net = Builder("float32")
    source = net.activation("x", shape)
    with pytest.raises(UnsupportedError, match="no batch dimension of 1"):
        passes.with_batch(net.build([source], [net.add("y", source, source)]), 2)


def test_pruning_drops_what_nothing_names() -> None:
    graph = small_int8_network()
    tensors = (graph.tensors[0], *graph.tensors)  # one too many in front
    moved = replace(
        graph,
        tensors=tensors,
        ops=tuple(replace(op, inputs=_moved(op.inputs), outputs=_moved(op.outputs)) for op in graph.ops),
        inputs=_moved(graph.inputs),
        outputs=_moved(graph.outputs),
    )
    assert passes.prune(moved).fingerprint == graph.fingerprint
    assert passes.prune(graph).fingerprint == graph.fingerprint


def test_pruning_keeps_left_out_inputs() -> None:
    graph = small_int8_network()
    ops = (replace(graph.ops[0], inputs=(*graph.ops[0].inputs[:2], -1)), *graph.ops[1:])
    pruned = passes.prune(replace(graph, ops=ops))
    assert pruned.ops[0].inputs[2] == -1
    assert len(pruned.tensors) == len(graph.tensors) - 1


def _moved(indices: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i + 1 for i in indices)
