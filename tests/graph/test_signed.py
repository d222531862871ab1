"""uint8 networks become int8 ones: exact where codes allow, within half a step elsewhere, and as accurate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import UnsupportedError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Tensor
from bqsearch.graph.ops import layers
from bqsearch.graph.signed import is_unsigned, to_signed
from bqsearch.importers.tflite import load
from bqsearch.runtime import tflm
from bqsearch.runtime.litert import Runner
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


def real(tensor: Tensor) -> Array:
    """A tensor's values, exactly enough."""
    quantization = tensor.quantization
    shape = [1] * len(tensor.shape)
    if quantization.per_channel:
        shape[quantization.axis] = -1
    steps = tensor.data.astype(np.float64) - quantization.zero_points.reshape(shape)
    return steps * quantization.scales.astype(np.float64).reshape(shape)


def wide(seed: int = 0) -> Graph:
    """A network with weights up to 185 codes from their zero point in every other channel, and within 127 elsewhere."""
    graph = small_uint8_network(seed)
    changes = {}
    for layer in layers(graph):
        tensor = graph.tensors[layer.weights]
        steps = np.moveaxis(tensor.data.astype(int) - int(tensor.quantization.zero_points[0]), layer.channel_axis, 0)
        steps[::2] = np.clip(steps[::2], -70, 127)
        steps[1::2] = np.clip(steps[1::2] * 1.5, -70, 185)
        steps.reshape(len(steps), -1)[1::2, 0] = 185
        data = np.moveaxis(steps + 70, 0, layer.channel_axis).astype(np.uint8)
        changes[layer.weights] = replace(
            tensor, data=data, quantization=replace(tensor.quantization, zero_points=np.array([70]))
        )
    return graph.with_tensors(changes)


def test_what_is_unsigned() -> None:
    assert is_unsigned(small_uint8_network())
    assert not any(is_unsigned(make()) for make in (small_int8_network, small_float_network, newer_network))


@pytest.mark.parametrize("make", [small_uint8_network, wide])
def test_activations_move_by_128(make) -> None:
    graph = make()
    signed = to_signed(graph)
    assert not is_unsigned(signed)
    assert "uint8" not in {t.dtype for t in signed.tensors}
    for before, after in zip(graph.tensors, signed.tensors, strict=True):
        if before.data is None:
            assert (after.dtype, after.shape, after.data) == ("int8", before.shape, None)
            assert after.quantization.scales is before.quantization.scales
            assert np.array_equal(after.quantization.zero_points, before.quantization.zero_points - 128)
    assert signed.ops == graph.ops
    assert (signed.inputs, signed.outputs) == (graph.inputs, graph.outputs)


def test_constants_that_are_no_weights_move_too() -> None:
    net = Builder("uint8")
    image = net.activation("image", (1, 2, 2, 3))
    factor = net.constant("factor", np.array([[[[0, 128, 255]]]], np.uint8), net.tensors[image].quantization)
    output = net.op("MUL", (image, factor), net.activation("out", (1, 2, 2, 3)), "MulOptions")
    graph = net.build([image], [output])
    moved = to_signed(graph).tensors[factor]
    assert moved.data.tolist() == [[[[-128, 0, 127]]]]
    assert np.array_equal(real(moved), real(graph.tensors[factor]))


def test_indices_and_shapes_stay() -> None:
    graph = small_uint8_network()
    signed = to_signed(graph)
    biases = {layer.bias for layer in layers(graph)}
    kept = [i for i, t in enumerate(graph.tensors) if t.dtype == "int32" and i not in biases]
    assert kept
    assert all(signed.tensors[i] is graph.tensors[i] for i in kept)


@pytest.mark.parametrize("make", [small_uint8_network, wide])
@pytest.mark.parametrize("seed", [0, 1])
def test_weights_are_exact_where_they_fit_and_within_half_a_step_elsewhere(make, seed: int) -> None:
    graph = make(seed)
    signed = to_signed(graph)
    exact = rounded = 0
    for layer in layers(graph):
        before, after = graph.tensors[layer.weights], signed.tensors[layer.weights]
        assert (after.dtype, after.shape) == ("int8", before.shape)
        assert (after.quantization.axis, len(after.quantization.scales)) == (layer.channel_axis, layer.channels)
        assert not after.quantization.zero_points.any()
        steps = before.data.astype(int) - int(before.quantization.zero_points[0])
        by_channel = np.moveaxis(steps, layer.channel_axis, 0).reshape(layer.channels, -1)
        codes = np.moveaxis(after.data, layer.channel_axis, 0).reshape(layer.channels, -1)
        apart = np.moveaxis(np.abs(real(after) - real(before)), layer.channel_axis, 0).reshape(layer.channels, -1)
        for channel, scale in enumerate(after.quantization.scales):
            if np.abs(by_channel[channel]).max() <= 127:
                assert np.array_equal(codes[channel], by_channel[channel])
                assert scale == before.quantization.scales[0]
                exact += 1
            else:
                assert np.abs(codes[channel]).max() == 127  # the widest code fills the range
                assert apart[channel].max() <= 0.5 * scale * (1 + 1e-5)
                rounded += 1
    assert exact > 0
    assert rounded > 0 or make is not wide


@pytest.mark.parametrize("make", [small_uint8_network, wide])
def test_biases_are_counted_in_the_new_steps(make) -> None:
    graph = make()
    signed = to_signed(graph)
    for layer in layers(graph):
        before, after = graph.tensors[layer.bias], signed.tensors[layer.bias]
        source = graph.tensors[graph.ops[layer.op].inputs[0]].quantization
        scales = signed.tensors[layer.weights].quantization.scales
        assert after.data.dtype == np.int32
        np.testing.assert_allclose(after.quantization.scales, source.scales[0] * scales, rtol=1e-6)
        assert not after.quantization.zero_points.any()
        step = after.quantization.scales.astype(np.float64)
        old = before.data * float(source.scales[0]) * float(graph.tensors[layer.weights].quantization.scales[0])
        assert (np.abs(after.data * step - old) <= 0.5 * step + 1e-6 * np.abs(old)).all()


def test_a_layer_without_bias() -> None:
    net = Builder("uint8")
    source = net.activation("x", (1, 6))
    graph = net.build([source], [net.dense("dense", source, 4)])
    bare = replace(graph, ops=(replace(graph.ops[0], inputs=graph.ops[0].inputs[:2]),))
    signed = to_signed(bare)
    assert signed.tensors[bare.ops[0].inputs[1]].dtype == "int8"
    assert signed.tensors[graph.ops[0].inputs[2]] is graph.tensors[graph.ops[0].inputs[2]]


@pytest.mark.parametrize("make", [small_int8_network, small_float_network])
def test_what_is_signed_stays(make) -> None:
    graph = make()
    assert to_signed(graph).fingerprint == graph.fingerprint


@pytest.mark.parametrize("make", [small_uint8_network, wide])
def test_boards_compute_what_litert_did(make) -> None:
    need_tflm()
    steps, answers = [], []
    for seed in range(3):
        graph = make(seed)
        logits = replace(graph, ops=graph.ops[:-1], outputs=graph.ops[-1].inputs)
        inputs = random_inputs(graph, 60, seed)
        signed = (inputs ^ np.uint8(128)).view(np.int8)
        before = Runner(logits).run(inputs)[0].astype(int) - 128
        after = tflm.run(serialize(to_signed(logits)), signed).astype(int)
        steps.append(np.abs(before - after))
        answers += [before, after]
        assert len(np.unique(before, axis=0)) > 30
    assert np.max(steps) <= 4
    assert np.mean(steps) < 1


def test_litert_computes_the_same_from_both() -> None:
    graph = small_uint8_network()
    inputs = random_inputs(graph, 40)
    before = Runner(graph).run(inputs)[0].astype(int) - 128
    after = Runner(to_signed(graph)).run((inputs ^ np.uint8(128)).view(np.int8))[0].astype(int)
    assert np.abs(before - after).max() <= 4


def test_shared_weights_are_refused() -> None:
    net = Builder("uint8")
    source = net.activation("x", (1, 6))
    middle = net.dense("b", net.dense("a", source, 6), 6)
    net.ops[1] = replace(net.ops[1], inputs=(net.ops[1].inputs[0], *net.ops[0].inputs[1:]))
    with pytest.raises(UnsupportedError, match="shares its weights: the conversion to int8 cannot split them"):
        to_signed(net.build([source], [middle]))


def test_keywords_are_told_as_before(shared_models: Path, shared_data: Path) -> None:
    """90.84 % of 819, on LiteRT in uint8 and on boards in int8."""
    need_tflm()
    graph = load(shared_models / "micro_speech_uint8.tflite")
    signed = to_signed(graph)
    data = np.load(shared_data / "micro_speech.npz")
    features = data["x_test"].reshape(-1, *graph.input.shape[1:])
    before = Runner(graph).run(features.view(np.uint8) ^ np.uint8(128))[0].argmax(axis=1)
    after = tflm.run(serialize(signed), features).argmax(axis=1)
    for answers in (before, after):
        assert round(100 * float((answers == data["y_test"]).mean()), 2) == 90.84
