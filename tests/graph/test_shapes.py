"""Inferred shapes against those that LiteRT gives when it prepares the operator, and what cannot go together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph import shapes
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED
from bqsearch.importers.tflite import parse
from networks import SAME, VALID, Builder, newer_network, small_float_network

Case = tuple[str, list[Any], dict[str, Any]]
WINDOW = {"strideH": 1, "strideW": 1}
BACK = {"padding": SAME, "strideH": 2, "strideW": 2}


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def convolution(size: int, kernel: int, stride: int, dilation: int, padding: int) -> Case:
    options = {"padding": padding, "strideH": stride, "strideW": 1, "dilationHFactor": dilation, "dilationWFactor": 1}
    return "CONV_2D", [(1, size, 9, 2), floats(5, kernel, 3, 2), floats(5)], options


def depthwise(size: int, kernel: int, stride: int, dilation: int, padding: int) -> Case:
    _, _, options = convolution(size, kernel, stride, dilation, padding)
    return "DEPTHWISE_CONV_2D", [(1, size, 9, 2), floats(1, kernel, 3, 6), floats(6)], {**options, "depthMultiplier": 3}


def pool(code: str, size: int, filtered: int, stride: int, padding: int) -> Case:
    options = {"padding": padding, "strideH": stride, "strideW": 2, "filterHeight": filtered, "filterWidth": 3}
    return code, [(1, size, 9, 2)], options


def sliced(begin: list[int], end: list[int], strides: list[int], **masks: int) -> Case:
    return "STRIDED_SLICE", [(4, 5, 6), ints(*begin), ints(*end), ints(*strides)], masks


WINDOWS = [(8, 3, 2, 1), (7, 3, 2, 1), (9, 2, 3, 1), (9, 3, 1, 2), (5, 1, 4, 1), (6, 5, 1, 1)]
# An operator, its inputs (a tuple is an activation's shape, an array a constant) and its options.
GOOD: list[Case] = [
    *[convolution(*window, padding) for window in WINDOWS for padding in (SAME, VALID)],
    *[depthwise(*window, padding) for window in WINDOWS for padding in (SAME, VALID)],
    *[pool("MAX_POOL_2D", *window[:3], padding) for window in WINDOWS for padding in (SAME, VALID)],
    pool("AVERAGE_POOL_2D", 8, 3, 2, VALID),
    ("TRANSPOSE_CONV", [ints(1, 8, 6, 3), floats(3, 3, 3, 2), (1, 4, 3, 2)], BACK),
    ("TRANSPOSE_CONV", [ints(1, 7, 5, 3), floats(3, 3, 3, 2), (1, 4, 3, 2), floats(3)], BACK),
    ("FULLY_CONNECTED", [(1, 6), floats(4, 6)], {}),
    ("FULLY_CONNECTED", [(2, 3, 6), floats(4, 6)], {}),
    ("FULLY_CONNECTED", [(2, 3, 6), floats(4, 9)], {}),
    ("FULLY_CONNECTED", [(2, 3, 6), floats(4, 6)], {"keepNumDims": True}),
    ("ADD", [(1, 4, 4, 3), (1, 4, 4, 3)], {}),
    ("ADD", [(1, 4, 1, 3), floats(4, 3)], {}),
    ("SUB", [(3,), (2, 1, 3)], {}),
    ("MUL", [(2, 3), (1,)], {}),
    ("PRELU", [(1, 4, 4, 3), floats(1, 1, 3)], {}),
    ("PRELU", [(1, 4, 4, 3), floats(4, 4, 3)], {}),
    ("CONCATENATION", [(1, 4, 3), (1, 4, 5)], {"axis": 2}),
    ("CONCATENATION", [(1, 4, 3), (1, 2, 3), (1, 1, 3)], {"axis": -2}),
    *[(code, [(1, 4, 3)], {}) for code in ("HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "LOG_SOFTMAX", "RELU", "RELU6")],
    *[(code, [(1, 4, 3)], {}) for code in ("RSQRT", "TANH")],
    ("SOFTMAX", [(1, 4)], {"beta": 1.0}),
    ("MEAN", [(1, 4, 5, 3), ints(1, 2)], {}),
    ("MEAN", [(1, 4, 5, 3), ints(1, -2)], {"keepDims": True}),
    ("MEAN", [(1, 4, 5, 3), ints(-1, 3, 1)], {}),
    ("MEAN", [(4, 5), ints(0, 1)], {}),
    ("MEAN", [(4, 5), np.array(1, np.int32)], {}),
    ("PAD", [(1, 4, 5), ints([0, 0], [1, 2], [3, 0])], {}),
    ("RESHAPE", [(1, 4, 6), ints(1, 24)], {}),
    ("RESHAPE", [(1, 4, 6), ints(2, -1, 3)], {}),
    ("RESHAPE", [(1, 4, 6), ints(-1)], {"newShape": (1, 24)}),
    ("RESHAPE", [(1, 4, 6)], {"newShape": (8, -1)}),
    ("RESIZE_BILINEAR", [(1, 4, 5, 3), ints(9, 2)], {}),
    ("RESIZE_NEAREST_NEIGHBOR", [(1, 4, 5, 3), ints(8, 10)], {}),
    ("SQUEEZE", [(1, 1, 4, 1)], {"squeezeDims": (1, -1)}),
    ("SQUEEZE", [(1, 1, 4, 1)], {"squeezeDims": ()}),
    ("SPLIT", [np.array(1, np.int32), (1, 6, 3)], {"numSplits": 3}),
    ("SPLIT", [ints(-1), (1, 6, 3)], {"numSplits": 1}),
    sliced([0, 1, 2], [4, 4, 6], [1, 2, 3]),
    sliced([1], [3], [1]),
    sliced([0, -3, 5], [0, -1, -7], [1, 1, -2], beginMask=1, endMask=1),
    sliced([3, 9, 0], [0, 0, 99], [-1, 1, 4], beginMask=2, endMask=2),
    sliced([2, -1, 0], [0, 0, 2], [1, 1, 1], shrinkAxisMask=3),
    sliced([0, 0, 0], [0, 0, 0], [-1, -1, 1], beginMask=7, endMask=7),
]


def made(case: Case, outputs: int = 1) -> Graph:
    """The operator alone; its outputs' shapes are wrong."""
    code, inputs, options = case
    net = Builder("float32")
    tensors = [net.activation("x", i) if isinstance(i, tuple) else net.constant("c", i) for i in inputs]
    written = [net.activation(f"y{i}", (1, 2, 7)) for i in range(outputs)]
    net.op(code, tensors, written[0], SUPPORTED[code].options, **options)
    net.ops[0] = replace(net.ops[0], outputs=tuple(written))
    return net.build([t for t in tensors if net.tensors[t].data is None], written)


def prepared(graph: Graph) -> list[tuple[int, ...]]:
    """The output shapes that LiteRT gives."""
    made = Interpreter(model_content=serialize(graph))
    made.allocate_tensors()
    made.invoke()
    return [tuple(detail["shape"].tolist()) for detail in made.get_output_details()]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case[0])
def test_shapes_are_those_of_litert(case: Case) -> None:
    graph = made(case, case[2].get("numSplits", 1))
    found = [tuple(shape) for shape in shapes.infer(graph.ops[0], graph.tensors)]
    assert found == prepared(graph)
    with pytest.raises(ModelError, match=r"of shape \(1, 2, 7\), but shape \(.*\) follows from its inputs"):
        shapes.check(graph.ops[0], graph.tensors)
    right = zip(graph.outputs, found, strict=True)
    shapes.check(
        graph.ops[0], graph.with_tensors({o: replace(graph.tensors[o], shape=shape) for o, shape in right}).tensors
    )


def test_every_operator_has_a_rule_or_is_opaque() -> None:
    assert {code for code, kind in SUPPORTED.items() if not kind.opaque} == set(shapes._RULES)
    assert {case[0] for case in GOOD} | {"DEQUANTIZE", "QUANTIZE"} == set(shapes._RULES)


@pytest.mark.parametrize("graph", [small_float_network(), newer_network()], ids=["small", "newer"])
def test_networks_pass(graph: Graph) -> None:
    for op in graph.ops:
        shapes.check(op, graph.tensors)
        found = [tuple(shape) for shape in shapes.infer(op, graph.tensors)]
        assert found == [graph.tensors[output].shape for output in op.outputs]


def test_opaque_operators_are_believed() -> None:
    graph = made(("TRANSPOSE", [(1, 4, 3), ints(0, 2, 1)], {}))
    shapes.check(graph.ops[0], graph.tensors)
    assert parse(serialize(graph)).output.shape == (1, 2, 7)
    assert prepared(graph) == [(1, 3, 4)]


BAD: list[tuple[Case, str]] = [
    (convolution(2, 3, 1, 1, VALID), "does not fit into an input of"),
    (convolution(8, 3, 0, 1, SAME), "must be 1 or more"),
    (convolution(8, 3, 1, 0, SAME), "must be 1 or more"),
    (convolution(8, 3, 1, 1, 2), "has padding 2"),
    (("CONV_2D", [(1, 9, 2), floats(5, 3, 3, 2)], {"strideH": 1, "strideW": 1}), "needs an input with 4 dimensions"),
    (("CONV_2D", [(1, 9, 9, 2), floats(5, 2)], {"strideH": 1, "strideW": 1}), "needs weights with 4 dimensions"),
    (("DEPTHWISE_CONV_2D", [(1, 9, 9, 2), floats(1, 3, 3, 5)], {**WINDOW, "depthMultiplier": 2}), "multiplier of 2"),
    (("DEPTHWISE_CONV_2D", [(1, 9, 9, 2), floats(2, 3, 3, 4)], {**WINDOW, "depthMultiplier": 2}), "multiplier of 2"),
    (pool("MAX_POOL_2D", 8, 0, 1, SAME), "has a filter of"),
    (("TRANSPOSE_CONV", [ints(1, 9, 6, 3), floats(3, 3, 3, 2), (1, 4, 3, 2)], BACK), "a convolution would make"),
    (("TRANSPOSE_CONV", [ints(1, 8, 6, 4), floats(3, 3, 3, 2), (1, 4, 3, 2)], BACK), "with weights of shape"),
    (("TRANSPOSE_CONV", [ints(2, 8, 6, 3), floats(3, 3, 3, 2), (1, 4, 3, 2)], BACK), "with weights of shape"),
    (("TRANSPOSE_CONV", [ints(1, 8, 6, 3), floats(3, 3, 3, 5), (1, 4, 3, 2)], BACK), "with weights of shape"),
    (("TRANSPOSE_CONV", [ints(8, 6), floats(3, 3, 3, 2), (1, 4, 3, 2)], BACK), "with weights of shape"),
    (("FULLY_CONNECTED", [(1, 7), floats(4, 6)], {}), "with weights of shape"),
    (("FULLY_CONNECTED", [(2, 3, 6), floats(4, 9)], {"keepNumDims": True}), "with weights of shape"),
    (("ADD", [(1, 4), (1, 3)], {}), "do not go together"),
    (("PRELU", [(1, 4, 3), floats(2, 4, 3)], {}), "slopes of shape"),
    (("CONCATENATION", [(1, 4, 3), (1, 5, 3)], {"axis": 2}), "do not go together"),
    (("CONCATENATION", [(1, 4, 3), (1, 4)], {"axis": 2}), "do not go together"),
    (("CONCATENATION", [(1, 4, 3)], {"axis": 3}), "names axis 3 of 3 dimensions"),
    (("CONCATENATION", [()], {"axis": 0}), "names axis 0 of 0 dimensions"),
    (("MEAN", [(1, 4), ints(2)], {}), "names axis 2 of 2 dimensions"),
    (("MEAN", [(1, 4), floats(1)], {}), "axes of type float32"),
    (("MEAN", [(1, 4), ints(*[1] * 65)], {}), "axes of 65 values"),
    (("PAD", [(1, 4), ints([0, 0])], {}), "do not go together"),
    (("PAD", [(1, 4), ints([0, 0], [1, -1])], {}), "negative margins"),
    (("RESHAPE", [(1, 4), ints(5)], {}), r"turns shape \(1, 4\) into \(5,\)"),
    (("RESHAPE", [(1, 4), ints(-1, -1)], {}), "turns shape"),
    (("RESHAPE", [(1, 4), ints(-2, -2)], {}), "turns shape"),
    (("RESHAPE", [(1, 4), ints(-1, 0)], {}), "turns shape"),
    (("RESHAPE", [(1, 4), ints(-1, 3)], {}), "turns shape"),
    (("RESHAPE", [(1, 4), ints(*[1] * 8, 4)], {}), "turns shape"),
    (("RESHAPE", [(1, 4)], {}), "has no new shape"),
    (("RESIZE_BILINEAR", [(1, 4, 5, 3), ints(9)], {}), "a height and a width"),
    (("RESIZE_BILINEAR", [(1, 4, 5, 3), ints(9, 0)], {}), "a height and a width"),
    (("SOFTMAX", [()], {}), "reads a scalar"),
    (("SQUEEZE", [(1, 4)], {"squeezeDims": (1,)}), "squeezes dimensions"),
    (("SQUEEZE", [(1, 4)], {"squeezeDims": (7,)}), "names axis 7"),
    (("SPLIT", [ints(1), (1, 6)], {"numSplits": 2}), "has 1 outputs, but splits into 2"),
    (("SPLIT", [ints(0), (3, 6)], {"numSplits": 0}), "has 1 outputs, but splits into 0"),
    (("SPLIT", [ints(1, 1), (1, 6)], {"numSplits": 1}), "has 2 axes"),
    (sliced([0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]), "slices shape"),
    (sliced([0, 0], [1, 1], [1]), "slices shape"),
    (sliced([0], [1], [0]), "slices shape"),
    (sliced([4], [5], [1], shrinkAxisMask=1), "takes element 4"),
]


@pytest.mark.parametrize(("case", "reason"), BAD)
def test_what_does_not_go_together(case: Case, reason: str) -> None:
    graph = made(case)
    with pytest.raises(ModelError, match=reason) as caught:
        shapes.check(graph.ops[0], graph.tensors)
    assert not isinstance(caught.value, UnsupportedError)


def test_parts_must_be_equal() -> None:
    graph = made(("SPLIT", [ints(1), (1, 7)], {"numSplits": 2}), outputs=2)
    with pytest.raises(ModelError, match=r"splits dimension 1 of shape \(1, 7\) into 2 parts"):
        shapes.check(graph.ops[0], graph.tensors)


def test_a_second_output() -> None:
    graph = made(("ADD", [(1, 4), (1, 4)], {}), outputs=2)
    with pytest.raises(ModelError, match="has 2 outputs; 1 follow"):
        shapes.check(graph.ops[0], graph.tensors)


UNSUPPORTED: list[tuple[Case, str]] = [
    (("CONV_2D", [(1, 9, 9, 4), floats(6, 3, 3, 2)], WINDOW), "grouped convolution"),
    (("FULLY_CONNECTED", [(1, 6), floats(4, 6)], {"weightsFormat": 1}), "shuffled format"),
    (("MEAN", [(1, 4), (1,)], {}), "has axes computed at run time"),
    (sliced([0], [1], [1], ellipsisMask=1), "an ellipsis"),
    (sliced([0], [1], [1], newAxisMask=1), "an ellipsis, a new axis"),
    (sliced([0], [1], [1], offset=1), "or an offset"),
]


@pytest.mark.parametrize(("case", "reason"), UNSUPPORTED, ids=lambda value: str(value)[:30])
def test_what_is_sound_but_unsupported(case: Case, reason: str) -> None:
    graph = made(case)
    with pytest.raises(UnsupportedError, match=reason):
        shapes.check(graph.ops[0], graph.tensors)
