"""The diet takes what nobody reads: all runtimes compute the same, bit for bit, from fewer bytes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from bqsearch.errors import ModelError
from bqsearch.graph.diet import diet, unshared, without_bias_quantization
from bqsearch.graph.flatbuffer import buffer_spans, serialize
from bqsearch.graph.ir import Graph, Quantization
from bqsearch.graph.ops import SUPPORTED, layers
from bqsearch.importers.tflite import load, parse
from bqsearch.runtime import tflm
from bqsearch.types import Array
from decoding import need_tflm
from networks import (
    Builder,
    newer_network,
    random_inputs,
    small_float_network,
    small_int8_network,
    small_uint8_network,
)

NETWORKS = [small_int8_network, small_uint8_network, small_float_network, newer_network]
RESOLVERS = [OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES]
Make = Callable[..., Graph]


def codes(graph: Graph, count: int) -> Array:
    """Any inputs of the network's own type."""
    rng, shape = np.random.default_rng(0), (count, *graph.input.shape[1:])
    if graph.input.dtype.startswith("float"):
        return rng.random(shape).astype(graph.input.dtype)
    limits = np.iinfo(graph.input.dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(graph.input.dtype)


def litert(content: bytes, inputs: Array, resolver: OpResolverType) -> list[Array]:
    """All outputs for each input."""
    made = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    made.allocate_tensors()
    found = []
    for value in inputs:
        made.set_tensor(made.get_input_details()[0]["index"], value[None])
        made.invoke()
        found += [made.get_tensor(detail["index"]) for detail in made.get_output_details()]
    return found


def check_litert(before: bytes, after: bytes, inputs: Array) -> None:
    assert len(after) < len(before)
    for resolver in RESOLVERS:
        pairs = zip(litert(before, inputs, resolver), litert(after, inputs, resolver), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("make", NETWORKS)
def test_litert_computes_the_same(make: Make) -> None:
    graph = make()
    check_litert(serialize(graph), serialize(diet(graph)), random_inputs(graph, 5))


def test_litert_computes_the_same_on_real_networks(shared_models: Path) -> None:
    for path in sorted(shared_models.glob("*.tflite")):
        graph = load(path)
        refused = path.stem == "person_detect_int8"  # by LiteRT: a quantized dimension that the importer repairs
        before = serialize(graph) if refused else path.read_bytes()
        check_litert(before, serialize(diet(graph)), codes(graph, 1))


@pytest.mark.parametrize("make", [small_int8_network, small_float_network, newer_network])
def test_the_interpreter_of_boards_computes_the_same(make: Make) -> None:
    need_tflm()
    graph = make()
    slim = serialize(without_bias_quantization(diet(graph)), short_zero_points=True)
    inputs = random_inputs(graph, 8)
    outputs = tflm.run(serialize(graph), inputs)
    assert len(np.unique(outputs, axis=0)) > 1
    assert np.array_equal(tflm.run(slim, inputs), outputs)


@pytest.mark.parametrize(
    "name",
    [
        *["anomaly_autoencoder", "hello_world", "kws_ds_cnn", "lenet_300_100", "micro_speech", "person_detect"],
        *["resnet8", "vww_96"],
        *[pytest.param(name, marks=pytest.mark.slow) for name in ("squeezenet_v1.1", "inception_v1")],
    ],
)
def test_boards_compute_the_same_on_real_networks(shared_models: Path, name: str) -> None:
    need_tflm()
    graph = load(shared_models / f"{name}_int8.tflite")
    slim = serialize(without_bias_quantization(diet(graph)), short_zero_points=True)
    inputs = codes(graph, 1)
    assert np.array_equal(tflm.run(slim, inputs), tflm.run(serialize(graph), inputs))


@pytest.mark.parametrize("make", NETWORKS)
def test_names_go_and_all_else_that_counts_stays(make: Make) -> None:
    graph = make()
    slim = diet(graph)
    assert slim.name == ""
    assert {t.name for t in slim.tensors} == {""}
    assert b"net/" in serialize(graph)
    assert b"net/" not in serialize(slim)
    assert (slim.inputs, slim.outputs, len(slim.ops)) == (graph.inputs, graph.outputs, len(graph.ops))
    for before, after in zip(graph.tensors, slim.tensors, strict=True):
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        assert (after.data is None) == (before.data is None)
        assert before.data is None or np.array_equal(after.data, before.data)
    for before, after in zip(graph.ops, slim.ops, strict=True):
        assert (after.code, after.inputs, after.outputs, after.version) == (
            before.code,
            before.inputs,
            before.outputs,
            before.version,
        )
        if before.code != "RESHAPE":
            assert (after.options, after.options_type) == (before.options, before.options_type)


def doubled() -> Graph:
    """Two branches over constants that are equal in content, of which one pair differs in shape only."""
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 3))
    one = net.conv("one", image, 5)
    other = net.conv("other", image, 5)
    for left, right in zip(net.ops[0].inputs[1:], net.ops[1].inputs[1:], strict=True):
        net.tensors[right] = replace(net.tensors[left], data=net.tensors[left].data.copy())
    net.constant("flat", net.tensors[net.ops[0].inputs[1]].data.reshape(-1).copy())
    summed = net.add("sum", one, other)
    return net.build([image], [net.dense("dense", net.mean("mean", summed), 4)])


def buffers(content: bytes) -> list[int]:
    """The buffer of each tensor."""
    subgraph = schema.Model.GetRootAs(content).Subgraphs(0)
    return [subgraph.Tensors(i).Buffer() for i in range(subgraph.TensorsLength())]


def test_equal_constants_lie_in_the_file_once() -> None:
    graph = doubled()
    first, second = graph.ops[0].inputs[1:], graph.ops[1].inputs[1:]
    apart, together = buffers(serialize(graph)), buffers(serialize(diet(graph)))
    for one, other in zip(first, second, strict=True):
        assert apart[one] != apart[other]
        assert together[one] == together[other] != 0
    flat = next(i for i, t in enumerate(graph.tensors) if t.name == "flat")
    assert together[flat] not in (0, together[first[0]])
    check_litert(serialize(graph), serialize(diet(graph)), codes(graph, 3))
    back = parse(serialize(diet(graph)))
    for index in (*first, *second, flat):
        assert np.array_equal(back.tensors[index].data, graph.tensors[index].data)


def test_constants_of_other_types_never_share() -> None:
    """Zeros are zeros, but int8 weights and int32 biases are two buffers."""
    net = Builder("int8")
    source = net.activation("x", (1, 4))
    graph = net.build([source], [net.dense("dense", source, 4)])
    weights, bias = graph.ops[0].inputs[1:]
    zeros = {weights: np.zeros((4, 4), np.int8), bias: np.zeros(4, np.int32)}
    slim = diet(graph.with_data(zeros))
    assert slim.tensors[weights].data.tobytes() == slim.tensors[bias].data.tobytes()
    assert slim.tensors[weights].data.dtype == np.int8
    assert slim.tensors[bias].data.dtype == np.int32


def test_unshared_constants_get_buffers_of_their_own() -> None:
    graph = doubled()
    (weights, bias), (twin, _) = graph.ops[0].inputs[1:], graph.ops[1].inputs[1:]
    own = unshared(diet(graph), [weights, bias])
    held = buffers(serialize(own))
    assert held[weights] != held[twin]
    spans = buffer_spans(own, serialize(own), [weights, twin])
    assert spans[weights] != spans[twin]
    assert own.fingerprint == diet(graph).fingerprint
    activation = graph.ops[0].outputs[0]
    assert unshared(graph, [activation]).tensors[activation].data is None


def reshaping(second: str) -> Graph:
    """RESHAPE with an option, and a second input: `constant`, `int64`, `computed`, or none."""
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 2))
    flat = net.reshape("flat", image, (1, 32))
    op, shape = net.ops[0], net.ops[0].inputs[1]
    if second == "int64":
        net.tensors[shape] = replace(net.tensors[shape], dtype="int64", data=np.array([1, 32], np.int64))
    elif second == "computed":
        net.tensors[shape] = replace(net.tensors[shape], data=None)
    elif second == "none":
        net.ops[0] = replace(op, inputs=op.inputs[:1])
    elif second == "left out":
        net.ops[0] = replace(op, inputs=(op.inputs[0], -1))
    return net.build([image], [flat])


@pytest.mark.parametrize(
    ("second", "dropped"),
    [("constant", True), ("int64", False), ("computed", False), ("none", False), ("left out", False)],
)
def test_a_reshape_loses_its_option_only_to_a_constant_int32_shape(second: str, dropped: bool) -> None:
    graph = reshaping(second)
    (op,) = diet(graph).ops
    assert (op.options == {}) == (op.options_type == "") == dropped
    if not dropped:
        assert op.options["newShape"] == (1, 32)
    if second in ("constant", "none"):
        check_litert(serialize(graph), serialize(diet(graph)), codes(graph, 2))


def test_indices_lose_their_quantization_and_biases_keep_theirs() -> None:
    graph = small_int8_network()
    odd = Quantization(scales=np.ones(1, np.float32), zero_points=np.zeros(1, np.int64))
    axes = next(op for op in graph.ops if op.code == "MEAN").inputs[1]
    graph = graph.with_tensors({axes: replace(graph.tensors[axes], quantization=odd)})
    slim = diet(graph)
    assert slim.tensors[axes].quantization is None
    for layer in layers(graph):
        for tensor in (layer.weights, layer.bias):
            assert slim.tensors[tensor].quantization is graph.tensors[tensor].quantization is not None
    activations = [i for i, t in enumerate(graph.tensors) if t.data is None]
    assert all(slim.tensors[i].quantization is graph.tensors[i].quantization for i in activations)


def test_float_constants_lose_what_means_nothing_there() -> None:
    graph = small_float_network()
    odd = Quantization(scales=np.ones(1, np.float32), zero_points=np.zeros(1, np.int64))
    weights = layers(graph)[0].weights
    graph = graph.with_tensors({weights: replace(graph.tensors[weights], quantization=odd)})
    assert diet(graph).tensors[weights].quantization is None


def dense(ratio: float, per_channel: bool = False) -> Graph:
    """A layer whose product of scales is `ratio` times the output's scale."""
    net = Builder("int8")
    source = net.activation("x", (1, 24))
    output = net.dense("dense", source, 6)
    _, weights, bias = net.ops[0].inputs
    scales = np.full(6 if per_channel else 1, 0.01, np.float32)
    zeros = np.zeros(len(scales), np.int64)
    product = scales * net.tensors[source].quantization.scales[0]
    for tensor, found in ((weights, scales), (bias, product), (output, product[:1] / np.float32(ratio))):
        quantization = Quantization(scales=found, zero_points=zeros[: len(found)])
        net.tensors[tensor] = replace(net.tensors[tensor], quantization=quantization)
    return net.build([source], [output])


def has_bias_scale(graph: Graph) -> bool:
    return graph.tensors[graph.ops[0].inputs[2]].quantization is not None


@pytest.mark.parametrize(
    ("ratio", "kept", "per_channel"),
    [(0.0197, False, False), (0.0203, True, False), (0.0197, False, True), (0.5, True, True)],
)
def test_a_dense_bias_keeps_its_scale_unless_it_is_negligible(ratio: float, kept: bool, per_channel: bool) -> None:
    need_tflm()
    graph = dense(ratio, per_channel)
    slim, bias = without_bias_quantization(graph), graph.tensors[graph.ops[0].inputs[2]]
    assert has_bias_scale(slim) == kept
    inputs = codes(graph, 1)
    outputs = tflm.run(serialize(graph), inputs)
    assert np.array_equal(tflm.run(serialize(slim), inputs), outputs)
    if kept and not per_channel:  # what the rule is for; a scale for each channel is not compared
        bare = graph.with_tensors({graph.ops[0].inputs[2]: replace(bias, quantization=None)})
        with pytest.raises(ModelError, match=r"output_scale <= 0.02 was not true"):
            tflm.run(serialize(bare), inputs)


@pytest.mark.parametrize(("ratio", "kept"), [(1e-9, False), (0.0197, False), (0.0203, True), (1.0, True)])
def test_the_rule_for_dense_biases(ratio: float, kept: bool) -> None:
    graph = dense(ratio)
    slim = without_bias_quantization(graph)
    assert has_bias_scale(slim) == kept
    assert slim.tensors[graph.ops[0].inputs[1]] is graph.tensors[graph.ops[0].inputs[1]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_bias_of_two_layers_keeps_its_scale_for_the_one_that_needs_it(order: tuple[int, int]) -> None:
    one, other = dense(0.5), dense(0.001)
    tensors = (*one.tensors, other.tensors[other.outputs[0]])
    second = replace(one.ops[0], outputs=(len(one.tensors),))
    ops = tuple((one.ops[0], second)[i] for i in order)
    graph = replace(one, tensors=tensors, ops=ops, outputs=(one.outputs[0], len(one.tensors)))
    assert has_bias_scale(without_bias_quantization(graph))


def test_the_biases_of_convolutions_lose_their_scales() -> None:
    graph = small_int8_network()
    slim = without_bias_quantization(graph)
    for layer in layers(graph):
        if layer.operator != "FULLY_CONNECTED":
            assert graph.tensors[layer.bias].quantization is not None
            assert slim.tensors[layer.bias].quantization is None
        assert slim.tensors[layer.bias].data is graph.tensors[layer.bias].data
        assert slim.tensors[layer.weights] is graph.tensors[layer.weights]
    assert {layer.operator for layer in layers(graph)} >= {"CONV_2D", "DEPTHWISE_CONV_2D"}


@pytest.mark.parametrize("make", NETWORKS)
def test_only_biases_change(make: Make) -> None:
    graph = make()
    biases = {
        op.inputs[SUPPORTED[op.code].bias]
        for op in graph.ops
        if SUPPORTED[op.code].bias is not None and len(op.inputs) > SUPPORTED[op.code].bias
    }
    pairs = zip(graph.tensors, without_bias_quantization(graph).tensors, strict=True)
    assert {i for i, (before, after) in enumerate(pairs) if before is not after} <= biases


@pytest.mark.parametrize("make", NETWORKS)
def test_the_diet_of_a_diet_is_itself(make: Make) -> None:
    slim = diet(make())
    assert serialize(diet(slim)) == serialize(slim)
    assert serialize(diet(make())) == serialize(slim)
