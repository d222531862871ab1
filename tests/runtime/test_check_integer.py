"""Networks that only look like 8-bit ones are refused, and float16 weights become float32."""

from dataclasses import replace

import numpy as np
import pytest

from bqsearch.errors import UnsupportedError
from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Op
from bqsearch.graph.ops import layers
from bqsearch.runtime.int8 import check_integer
from bqsearch.runtime.litert import Runner
from networks import small_float_network, small_int8_network


def test_an_int8_network_passes() -> None:
    graph = small_int8_network()
    check_integer(graph)
    assert {graph.tensors[layer.weights].dtype for layer in layers(graph)} == {"int8"}


@pytest.mark.parametrize("part", ["input", "output", "bias"])
def test_a_layer_of_another_type_is_refused(part: str) -> None:
    graph = small_int8_network()
    layer = layers(graph)[1]
    op = graph.ops[layer.op]
    tensor = {"input": op.inputs[0], "output": op.outputs[0], "bias": layer.bias}[part]
    assert tensor is not None
    odd = graph.with_tensors({tensor: replace(graph.tensors[tensor], dtype="int16")})
    with pytest.raises(UnsupportedError, match=r"layer '.+' \(.+\) mixes|bias of int16"):
        check_integer(odd)


def test_float16_weights_are_folded_without_a_change_of_values() -> None:
    graph = small_float_network()
    halved = with_float16_weights(graph)
    assert len(halved.ops) > len(graph.ops)
    folded = passes.fold_float16(halved)
    assert [op.code for op in folded.ops] == [op.code for op in graph.ops]
    assert len(layers(folded)) == len(layers(graph))
    inputs = np.random.default_rng(0).random((3, *graph.input.shape[1:])).astype(np.float32)
    np.testing.assert_allclose(Runner(folded).run(inputs)[0], Runner(halved).run(inputs)[0], rtol=1e-5, atol=1e-6)


def with_float16_weights(graph: Graph) -> Graph:
    """Every layer's weights as float16 constants behind a DEQUANTIZE, as converters write them."""
    tensors, widening = list(graph.tensors), []
    for layer in layers(graph):
        weights = tensors[layer.weights]
        assert weights.data is not None
        tensors[layer.weights] = replace(weights, data=None)
        tensors.append(
            replace(weights, name=f"{weights.name}_half", dtype="float16", data=weights.data.astype("float16"))
        )
        widening.append(Op(code="DEQUANTIZE", inputs=(len(tensors) - 1,), outputs=(layer.weights,), options={}))
    made = replace(graph, tensors=tuple(tensors), ops=(*widening, *graph.ops))
    assert serialize(made)
    return made
