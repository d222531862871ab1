"""Compressed networks in C, and what the C runtime refuses."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bank.samples import NETWORKS, bank_of
from bqsearch.compress import CompressedModel, compress
from bqsearch.errors import UnsupportedError
from bqsearch.firmware import host
from bqsearch.firmware.emit import check_kernels, emit, emit_graph
from bqsearch.graph.ir import Graph, Quantization
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Plan
from decoding import need_tflm
from firmware.checks import check
from firmware.plans import Group, plan
from firmware.reference import any_inputs, expected
from firmware.samples import everything, layered
from networks import LINEAR, SAME, Builder, newer_network, small_int8_network


def compressed(network: str, turn: int) -> CompressedModel:
    """Each layer under another scheme and coding; over all turns, every layer under every coding."""
    bank = bank_of(network)
    choices = {}
    for index, entry in enumerate(bank.layers):
        coding = STREAMS.codings[(index + turn) % len(STREAMS.codings)]
        offered = [choice for choice, _, _ in entry.choices() if choice.coding == coding]
        choices[entry.layer.name] = offered[(7 * turn + 13 * index) % len(offered)]
    return compress(NETWORKS[network], bank, Plan(choices=choices, method=bank.layers[0].method))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("turn", range(5))
def test_compressed_networks(cache: Path, network: str, turn: int) -> None:
    model = compressed(network, turn)
    schedule = plan(model.graph, {entry.layer.op: entry.coded for entry in model.layers})
    built = host.build(model.decoded(), emit(model, schedule), cache)
    inputs = any_inputs(model.graph, 5)
    if model.graph.input.dtype == "int8":
        need_tflm()
    assert np.array_equal(built.run(inputs), expected(model.decoded(), inputs))


def test_sizes_stand_in_the_header() -> None:
    graph = small_int8_network()
    schedule = plan(graph)
    header = emit_graph(graph, {}, schedule).header
    assert dict(re.findall(r"#define (BQ_\w+) (\d+)", header)) == {
        "BQ_ARENA_BYTES": str(schedule.nbytes),
        "BQ_INPUT_BYTES": "192",
        "BQ_OUTPUT_BYTES": "10",
    }


def test_only_kernels_in_use_are_named() -> None:
    graph = small_int8_network()
    named = set(re.findall(r"\.run = (\w+)", emit_graph(graph, {}, plan(graph)).source))
    assert named == {"bq_conv_s8", "bq_depthwise_s8", "bq_add_s8", "bq_mean_s8", "bq_dense_s8", "bq_softmax_s8"}


@pytest.mark.parametrize("gap_below", [0, 1])
def test_a_chain_may_overwrite_its_input_as_far_as_it_has_read_it(cache: Path, gap_below: int) -> None:
    """The output begins just so far before the input that no strip writes a row which a later one expands; and one row
    nearer, the outputs differ."""
    need_tflm()
    net, rows = Builder("int8"), 2
    source = net.activation("x", (1, 12, 9, 6))
    expanded = net.conv("e", source, 10)
    last = net.conv("p", net.depthwise("d", expanded, 3, 1), 6, fusedActivationFunction=LINEAR)
    graph = net.build([source], [last])
    schedule = plan(graph, groups=[Group(ops=(0, 1, 2), kind="strips", rows=rows)])
    pitch_in, pitch_out, height = 9 * 6, 9 * 6, 12
    read = [min(y + rows + 1, height) for y in range(0, height - rows, rows)]  # rows expanded after each strip
    gap = max((y + rows) * pitch_out - done * pitch_in for y, done in zip(range(0, height, rows), read, strict=False))
    top = schedule.nbytes + 1000
    moved = {graph.inputs[0]: top, graph.outputs[0]: top - gap + gap_below * pitch_out}
    buffers = [replace(b, offset=moved.get(b.tensor, b.offset)) for b in schedule.buffers]
    buffers.append(replace(schedule.buffers[-1], offset=top + 2000))
    inputs = any_inputs(graph, 3)
    found = host.build(graph, emit_graph(graph, {}, replace(schedule, buffers=tuple(buffers))), cache).run(inputs)
    assert np.array_equal(found, expected(graph, inputs)) == (gap_below == 0)


def test_a_view_without_a_place_of_its_own_lies_where_its_source_does(cache: Path) -> None:
    graph = layered("int8")
    view = next(op.outputs[0] for op in graph.ops if op.code == "RESHAPE")
    schedule = plan(graph)
    kept = tuple(buffer for buffer in schedule.buffers if buffer.tensor != view)
    assert emit_graph(graph, {}, replace(schedule, buffers=kept)) == emit_graph(graph, {}, schedule)


def test_a_view_in_another_place_is_copied(cache: Path) -> None:
    graph = layered("int8")
    view = next(i for i, op in enumerate(graph.ops) if op.code == "RESHAPE")
    check(graph, cache, groups=[Group(ops=(view,), kind="whole")])


def multiplied_depths() -> Graph:
    """A depthwise convolution that cannot lie where its input does: it makes eight channels of one."""
    net = Builder("int8")
    source = net.activation("x", (1, 9, 8, 1))
    return net.build([source], [net.depthwise("c", source, depthMultiplier=8)])


@pytest.mark.parametrize(
    "make", [lambda: layered("uint8"), lambda: everything("int8")[0], small_int8_network, multiplied_depths]
)
def test_networks_with_kernels_for_everything(make) -> None:
    check_kernels(make())


def test_operators_without_a_kernel_are_named() -> None:
    with pytest.raises(UnsupportedError, match=r"no kernel for SPLIT; it has ADD, AVERAGE_POOL_2D"):
        check_kernels(newer_network())


def broadcast() -> Graph:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    small = net.activation("y", (1, 1, 1, 2))
    net.op("MEAN", (source, net.ints(1, 2)), small, "ReducerOptions", keepDims=True)
    return net.build([source], [net.op("ADD", (source, small), net.activation("o", (1, 4, 4, 2)), "AddOptions")])


def real_input() -> Graph:
    net = Builder("int8")
    source = net.tensor("x", (1, 8), "float32")
    return net.build([source], [net.op("QUANTIZE", (source,), net.activation("q", (1, 8)), "QuantizeOptions")])


def split_mean() -> Graph:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    return net.build([source], [net.mean("m", source, (1, 3))])


def unequal_scales() -> Graph:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    joined = net.activation("o", (1, 4, 4, 4), -9.0, 9.0)
    return net.build([source], [net.op("CONCATENATION", (source, source), joined, "ConcatenationOptions", axis=3)])


def weights_with_zero_points() -> Graph:
    graph = layered("int8")
    tensor = graph.ops[0].inputs[1]
    found = graph.tensors[tensor].quantization
    moved = Quantization(scales=found.scales, zero_points=found.zero_points + 3, axis=found.axis)
    return graph.with_tensors({tensor: replace(graph.tensors[tensor], quantization=moved)})


def many_inputs() -> Graph:
    net = Builder("int8")
    left, right = net.activation("x", (1, 8)), net.activation("y", (1, 8))
    return net.build([left, right], [net.add("a", left, right)])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (broadcast, "adds activations of equal shape only"),
        (real_input, "keeps 8-bit types"),
        (split_mean, "means over neighboring dimensions"),
        (unequal_scales, "int8 activations of equal scale only"),
        (weights_with_zero_points, "int8 weights with a zero point"),
        (many_inputs, "one input and one output"),
    ],
)
def test_what_kernels_cannot_do_is_refused(make, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        check_kernels(make())


def multiplied() -> Graph:
    """A depthwise convolution with two outputs for each channel."""
    net = Builder("int8")
    source = net.activation("x", (1, 6, 6, 2))
    weights, bias = net.weights("w", source, (1, 3, 3, 4), 3, 9)
    options = {"padding": SAME, "strideH": 2, "strideW": 2, "depthMultiplier": 2}
    output = net.activation("o", (1, 3, 3, 4))
    return net.build(
        [source], [net.op("DEPTHWISE_CONV_2D", (source, weights, bias), output, "DepthwiseConv2DOptions", **options)]
    )


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (Group(ops=(0,), kind="in_place"), "does not fit in place"),
        (Group(ops=(0,), kind="strips", rows=1), "no strips for depthwise convolutions with a multiplier"),
    ],
)
def test_steps_that_do_not_fit_an_operator_are_refused(group: Group, reason: str) -> None:
    graph = multiplied()
    with pytest.raises(UnsupportedError, match=reason):
        emit_graph(graph, {}, plan(graph, groups=[group]))


def test_chains_of_other_operators_are_refused() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 6, 6, 2))
    wide = net.conv("c", source, 4, size=3)
    graph = net.build([source], [net.depthwise("d", wide)])
    with pytest.raises(UnsupportedError, match="no kernel for the chain CONV_2D, DEPTHWISE_CONV_2D"):
        emit_graph(graph, {}, plan(graph, groups=[Group(ops=(0, 1), kind="strips", rows=1)]))


def test_inputs_of_another_shape_or_type_are_refused(cache: Path) -> None:
    graph = small_int8_network()
    built = host.build(graph, emit_graph(graph, {}, plan(graph)), cache)
    for inputs in (np.zeros((2, 8, 8, 4), np.int8), np.zeros((2, 8, 8, 3), np.uint8)):
        with pytest.raises(Exception, match="the network reads int8"):
            built.run(inputs)


def test_threads_and_batches_change_nothing(cache: Path) -> None:
    graph = small_int8_network()
    built = host.build(graph, emit_graph(graph, {}, plan(graph)), cache)
    inputs = any_inputs(graph, 37)
    one = built.run(inputs)
    assert np.array_equal(built.run(inputs, threads=3), one)
    assert np.array_equal(np.concatenate([built.run(value[None]) for value in inputs]), one)
