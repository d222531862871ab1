"""Graphs survive being written and read: same fingerprint, same outputs, constants where the runtime wants them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.flatbuffer import IDENTIFIER, buffer_spans, data_bytes, file_bytes, serialize, unaligned_bytes
from bqsearch.graph.ir import Graph, Op
from bqsearch.importers.tflite import load, parse
from bqsearch.runtime.litert import interpreter
from bqsearch.types import Array
from networks import (
    Builder,
    random_inputs,
    small_float_network,
    small_int8_network,
    small_uint8_network,
)

NETWORKS = [small_int8_network, small_uint8_network, small_float_network]
Make = Callable[..., Graph]


def outputs_of(content: bytes, inputs: Array) -> list[Array]:
    """What LiteRT computes, one input at a time."""
    runtime = interpreter(content)
    (entry,) = runtime.get_input_details()
    collected = []
    for value in inputs:
        runtime.set_tensor(entry["index"], value[None])
        runtime.invoke()
        collected.append([runtime.get_tensor(detail["index"]) for detail in runtime.get_output_details()])
    return [np.concatenate(values) for values in zip(*collected, strict=True)]


def constants(graph: Graph) -> list[int]:
    return [i for i, t in enumerate(graph.tensors) if t.data is not None]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("make", NETWORKS)
def test_a_network_comes_back(make: Make, seed: int) -> None:
    graph = make(seed)
    content = serialize(graph)
    back = parse(content)
    assert back.fingerprint == graph.fingerprint
    assert [t.name for t in back.tensors] == [t.name for t in graph.tensors]
    assert [op.version for op in back.ops] == [op.version for op in graph.ops]
    assert serialize(back) == content


@pytest.mark.parametrize("make", NETWORKS)
def test_the_runtime_computes_the_same_from_what_came_back(make: Make) -> None:
    graph = make()
    inputs = random_inputs(graph, 5)
    (before,), (after,) = (outputs_of(serialize(g), inputs) for g in (graph, parse(serialize(graph))))
    assert np.array_equal(before, after)
    assert len(np.unique(before, axis=0)) == 5  # the network does look at its input


def test_real_networks_come_back(shared_models: Path) -> None:
    for path in sorted(shared_models.glob("*.tflite")):
        graph = load(path)
        assert parse(serialize(graph)).fingerprint == graph.fingerprint, path.name


REAL = ["micro_speech_uint8", "kws_ds_cnn_int8", "resnet8_int8", "anomaly_autoencoder_float", "mnist_conv_float"]


@pytest.mark.parametrize("name", REAL)
def test_real_networks_compute_the_same_after_being_written(shared_models: Path, name: str) -> None:
    path = shared_models / f"{name}.tflite"
    graph = load(path)
    inputs = random_inputs(graph, 2)
    before, after = outputs_of(path.read_bytes(), inputs), outputs_of(serialize(graph), inputs)
    assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("make", NETWORKS)
def test_constants_are_aligned(make: Make) -> None:
    graph = make()
    spans = buffer_spans(graph, serialize(graph), constants(graph))
    assert spans
    assert {span.start % 16 for span in spans.values()} == {0}  # the schema's force_align


@pytest.mark.parametrize("make", NETWORKS)
def test_spans_hold_the_constants_and_nothing_else(make: Make) -> None:
    graph = make()
    content = serialize(graph)
    spans = buffer_spans(graph, content, constants(graph))
    for tensor, span in spans.items():
        assert content[span] == graph.tensors[tensor].data.tobytes()
    ordered = sorted(spans.values(), key=lambda span: span.start)
    assert all(a.stop <= b.start for a, b in pairwise(ordered))


def test_overwriting_a_span_is_the_same_as_writing_the_file_anew() -> None:
    graph = small_int8_network()
    kernel = graph.ops[5].inputs[1]
    changed = graph.with_data({kernel: graph.tensors[kernel].data[::-1].copy()})
    content = bytearray(serialize(graph))
    content[buffer_spans(graph, bytes(content), [kernel])[kernel]] = changed.tensors[kernel].data.tobytes()
    assert bytes(content) == serialize(changed)
    assert parse(bytes(content)).fingerprint == changed.fingerprint != graph.fingerprint


def test_a_constant_that_is_not_contiguous_is_written_in_order() -> None:
    graph = small_int8_network()
    kernel = graph.ops[5].inputs[1]
    changed = graph.with_data({kernel: np.asfortranarray(graph.tensors[kernel].data)})
    assert serialize(changed) == serialize(graph)


def test_ends_are_named_in_the_signature() -> None:
    graph = small_int8_network()
    content = serialize(replace(graph, outputs=(*graph.outputs, graph.ops[3].outputs[0])), signature=True)
    assert content[4:8] == IDENTIFIER
    runner = interpreter(content).get_signature_runner("serving_default")
    assert list(runner.get_input_details()) == ["input_0"]
    assert sorted(runner.get_output_details()) == ["output_0", "output_1"]


def test_an_operator_is_listed_once_for_each_version() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    tensor = net.conv("c", net.conv("b", net.conv("a", source, 2), 2), 2)
    net.ops[1] = replace(net.ops[1], version=5)
    model = schema.ModelT.InitFromPackedBuf(serialize(net.build([source], [tensor])), 0)
    assert [(code.builtinCode, code.version) for code in model.operatorCodes] == [(3, 3), (3, 5)]
    assert [op.opcodeIndex for op in model.subgraphs[0].operators] == [0, 1, 0]


def test_operators_beyond_the_old_code_range_carry_the_placeholder() -> None:
    net = Builder("float32")
    source = net.activation("x", (1, 4))
    graph = net.build([source], [net.op("HARD_SWISH", (source,), net.activation("y", (1, 4)), "HardSwishOptions")])
    assert parse(serialize(graph)).ops[0].code == "HARD_SWISH"
    model = schema.ModelT.InitFromPackedBuf(serialize(graph), 0)
    assert model.operatorCodes[0].deprecatedBuiltinCode == 117 == model.operatorCodes[0].builtinCode


def unpacked(graph: Graph, **options: Any) -> schema.ModelT:
    return schema.ModelT.InitFromPackedBuf(serialize(graph, **options), 0)


def test_without_a_signature_there_is_none() -> None:
    graph = small_int8_network()
    assert unpacked(graph).signatureDefs is None
    assert len(serialize(graph)) < len(serialize(graph, signature=True))


def test_constants_that_are_one_array_share_a_buffer() -> None:
    graph = small_int8_network()
    kernel = graph.ops[5].inputs[1]
    data = graph.tensors[kernel].data
    twins = [replace(graph.tensors[kernel], data=values) for values in (data, data.copy())]
    extra = replace(graph, tensors=(*graph.tensors, *twins))
    buffers = [t.buffer for t in unpacked(extra).subgraphs[0].tensors]
    assert buffers[-2] == buffers[kernel] != buffers[-1]
    shared, apart = (replace(graph, tensors=(*graph.tensors, twin)) for twin in twins)
    assert unaligned_bytes(apart) - unaligned_bytes(shared) >= data_bytes(data.nbytes)


def test_a_shared_buffer_reads_back_for_each_tensor() -> None:
    graph = small_int8_network()
    kernel = graph.ops[5].inputs[1]
    extra = replace(graph, tensors=(*graph.tensors, replace(graph.tensors[kernel], name="twin")))
    spans = buffer_spans(extra, serialize(extra), [kernel, len(graph.tensors)])
    assert spans[kernel] == spans[len(graph.tensors)]


def test_equal_zero_points_can_be_written_once() -> None:
    graph = small_int8_network()
    long, short = (unpacked(graph, short_zero_points=s).subgraphs[0].tensors for s in (False, True))
    channels = [len(t.quantization.scales) if t.quantization else 0 for t in graph.tensors]
    assert max(channels) == 16
    for before, after, count in zip(long, short, channels, strict=True):
        if count:
            assert (len(before.quantization.zeroPoint), len(after.quantization.zeroPoint)) == (count, 1)
            assert len(after.quantization.scale) == count
    assert len(serialize(graph, short_zero_points=True)) < len(serialize(graph))


def test_unequal_zero_points_stay() -> None:
    graph = small_int8_network()
    kernel = graph.ops[0].inputs[1]
    quantization = graph.tensors[kernel].quantization
    mixed = replace(quantization, zero_points=np.arange(len(quantization.scales)))
    changed = graph.with_tensors({kernel: replace(graph.tensors[kernel], quantization=mixed)})
    written = unpacked(changed, short_zero_points=True).subgraphs[0].tensors[kernel].quantization.zeroPoint
    assert written.tolist() == list(range(16))


def test_metadata_is_found_by_name() -> None:
    graph = small_int8_network()
    notes = {"first": b"\x01\x02\x03", "second": b"more"}
    model = unpacked(graph, metadata=notes)
    found = {entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata}
    assert found == notes
    assert parse(serialize(graph, metadata=notes)).fingerprint == graph.fingerprint
    assert unpacked(graph).metadata is None


def test_metadata_is_aligned() -> None:
    content = serialize(small_int8_network(), metadata={"note": b"sixteen bytes!!!" * 2})
    assert content.index(b"sixteen bytes!!!") % 16 == 0


def test_unknown_operators_become_custom_ones_and_come_last() -> None:
    graph = small_int8_network()
    source = graph.ops[0].inputs[0]
    mine = Op(code="MY_OWN", inputs=(source,), outputs=graph.ops[0].outputs, options={})
    model = unpacked(replace(graph, ops=(mine, *graph.ops[1:])))
    assert model.operatorCodes[-1].customCode == b"MY_OWN"
    assert model.operatorCodes[-1].builtinCode == schema.BuiltinOperator.CUSTOM
    assert all(code.customCode is None for code in model.operatorCodes[:-1])
    assert model.subgraphs[0].operators[0].opcodeIndex == len(model.operatorCodes) - 1


def test_empty_names_are_not_written() -> None:
    graph = small_int8_network()
    bare = replace(graph, name="", tensors=tuple(replace(t, name="") for t in graph.tensors))
    model = unpacked(bare)
    assert {t.name for t in model.subgraphs[0].tensors} == {None} == {model.subgraphs[0].name}
    assert len(serialize(bare)) < len(serialize(graph))
    assert parse(serialize(bare)).fingerprint == graph.fingerprint


def test_equal_options_and_quantizations_are_written_once() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    both = net.build([source], [net.add("b", net.add("a", source, source), source)])
    first, second = (len(serialize(replace(both, ops=ops))) for ops in (both.ops, both.ops[:1]))
    model = schema.Model.GetRootAs(serialize(both))
    options = [model.Subgraphs(0).Operators(i).BuiltinOptions() for i in range(2)]
    assert options[0].Pos == options[1].Pos
    kinds = [model.Subgraphs(0).Tensors(i).Quantization()._tab.Pos for i in range(3)]
    assert kinds[1] == kinds[2] != kinds[0]
    assert 0 < first - second <= 48


@pytest.mark.parametrize("make", NETWORKS)
def test_the_size_of_a_file_is_the_sum_of_its_parts(make: Make) -> None:
    graph = make()
    assert len(serialize(graph)) == file_bytes(unaligned_bytes(graph))
    twin = replace(graph, tensors=(*graph.tensors, graph.tensors[1]))
    for count in (1, 12, 13, 100):
        own = replace(graph, tensors=(*graph.tensors, replace(graph.tensors[1], data=np.zeros(count, np.uint8))))
        record = 12  # a buffer's table, and its place in the list of buffers
        assert unaligned_bytes(own) - unaligned_bytes(twin) == data_bytes(count) + record
        assert len(serialize(own)) == file_bytes(unaligned_bytes(own))
    empty = [file_bytes(n) for n in (0, 8, 9, 24)]
    assert empty == [16, 16, 32, 32]
