"""Graphs survive being written and read: same fingerprint, same outputs, constants where the runtime wants them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.flatbuffer import IDENTIFIER, buffer_spans, serialize
from bqsearch.graph.ir import Graph
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
    content = serialize(replace(graph, outputs=(*graph.outputs, graph.ops[3].outputs[0])))
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
