"""Decoders stand before every reader, and the interpreter computes the same through them."""

from dataclasses import replace

import numpy as np
import pytest

from bqsearch.graph.decode import DECODE, insert_decode
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.passes import prune
from bqsearch.importers.tflite import load
from bqsearch.runtime import tflm
from decoding import coarse, encode, need_tflm, weights
from networks import Builder, newer_network, random_inputs, small_int8_network


def twice_read() -> Graph:
    """Two dense layers, one behind the other, over the same weights and bias."""
    net = Builder("int8")
    source = net.activation("x", (1, 8))
    first = net.dense("dense", source, 8)
    again = net.activation("again", (1, 8))
    net.op("FULLY_CONNECTED", (first, *net.ops[0].inputs[1:]), again, "FullyConnectedOptions")
    return coarse(net.build([source], [again]))


def test_a_decoder_stands_before_its_reader() -> None:
    graph = coarse(small_int8_network())
    encoded = encode(graph, dict.fromkeys(weights(graph), "packed"))
    decoded = insert_decode(graph, encoded)
    readers = [i for i, op in enumerate(graph.ops) if set(op.inputs) & set(encoded)]
    assert [op.code for op in decoded.ops if op.code != DECODE] == [op.code for op in graph.ops]
    assert sum(op.code == DECODE for op in decoded.ops) == len(readers)
    for decoder, reader in zip(decoded.ops, decoded.ops[1:], strict=False):
        if decoder.code == DECODE:
            assert set(decoder.outputs) <= set(reader.inputs)


def test_what_is_decoded_looks_like_the_constant() -> None:
    graph = coarse(small_int8_network())
    (tensor, *_) = weights(graph)
    encoded = encode(graph, {tensor: "packed"})
    decoded = insert_decode(graph, encoded)
    (decoder,) = (op for op in decoded.ops if op.code == DECODE)
    stream, ancillary, output = (decoded.tensors[t] for t in (*decoder.inputs, *decoder.outputs))
    constant = graph.tensors[tensor]
    assert output.data is None
    assert (output.shape, output.dtype, output.quantization) == (constant.shape, constant.dtype, constant.quantization)
    assert stream.data.tobytes() == encoded[tensor].stream
    assert ancillary.data.tobytes() == encoded[tensor].ancillary
    assert (stream.dtype, stream.quantization) == ("uint8", None)


def test_the_constant_itself_is_gone() -> None:
    graph = coarse(small_int8_network())
    encoded = encode(graph, dict.fromkeys(weights(graph), "packed"))
    decoded = insert_decode(graph, encoded)
    kept = {id(t.data) for t in decoded.tensors}
    assert not kept & {id(graph.tensors[t].data) for t in encoded}


def test_a_constant_that_two_operators_read_is_decoded_before_each() -> None:
    graph = twice_read()
    decoded = insert_decode(graph, encode(graph, dict.fromkeys(weights(graph), "packed")))
    decoders = [op for op in decoded.ops if op.code == DECODE]
    assert [op.code for op in decoded.ops] == [DECODE, "FULLY_CONNECTED"] * 2
    assert decoders[0].inputs == decoders[1].inputs
    assert decoders[0].outputs != decoders[1].outputs


def test_two_constants_of_one_operator_share_a_decoder() -> None:
    graph = coarse(small_int8_network())
    reader = graph.ops[0]
    both = reader.inputs[1:]
    encoded = dict.fromkeys(both, next(iter(encode(graph, {both[0]: "packed"}).values())))
    decoder = insert_decode(graph, encoded).ops[0]
    assert (len(decoder.inputs), len(decoder.outputs)) == (4, 2)


def test_nothing_to_decode_leaves_the_network_as_it_is() -> None:
    graph = small_int8_network()
    assert insert_decode(graph, {}).fingerprint == prune(graph).fingerprint
    unread = replace(graph, tensors=(*graph.tensors, replace(graph.tensors[1], name="unread")))
    encoded = encode(coarse(graph), {weights(graph)[0]: "packed"})
    content = next(iter(encoded.values()))
    assert insert_decode(unread, {len(graph.tensors): content}).fingerprint == prune(graph).fingerprint


@pytest.mark.parametrize("coding", ["packed", "huffman", "mask"])
@pytest.mark.parametrize("make", [small_int8_network, newer_network, twice_read])
def test_the_interpreter_computes_the_same(make, coding: str) -> None:
    need_tflm()
    graph = coarse(make())
    decoded = insert_decode(graph, encode(graph, dict.fromkeys(weights(graph), coding)))
    if graph.input.shape == (1, 8):
        inputs = np.random.default_rng(0).integers(-128, 128, (8, 8)).astype(np.int8)
    else:
        inputs = random_inputs(graph, 8)
    outputs = tflm.run(serialize(graph), inputs)
    assert len(np.unique(outputs, axis=0)) > 1
    assert np.array_equal(tflm.run(serialize(decoded, short_zero_points=True), inputs), outputs)


def test_a_real_network_computes_the_same(shared_models) -> None:
    need_tflm()
    graph = coarse(load(shared_models / "kws_ds_cnn_int8.tflite"))
    decoded = insert_decode(graph, encode(graph, dict.fromkeys(weights(graph), "packed")))
    inputs = np.random.default_rng(0).integers(-128, 128, (20, 49, 10, 1)).astype(np.int8)
    assert np.array_equal(tflm.run(serialize(graph), inputs), tflm.run(serialize(decoded), inputs))
