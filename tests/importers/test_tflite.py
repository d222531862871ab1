"""Files are untrusted: a good one becomes a Graph, a bad one an error that says what is wrong, and nothing else."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph.flatbuffer import IDENTIFIER, serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, layers
from bqsearch.importers.tflite import load, parse
from networks import Builder, newer_network, small_float_network, small_int8_network, small_uint8_network

GRAPH = small_int8_network()
CONTENT = serialize(GRAPH)
STEM, STEM_BIAS = GRAPH.ops[0].inputs[1:]


def rewritten(change: Callable[[Any], None], content: bytes = CONTENT) -> bytes:
    """A good file with a change to its object tree."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    return packed(model)


def packed(model: Any) -> bytes:
    builder = schema.flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(CONTENT)
    assert load(path).fingerprint == GRAPH.fingerprint


@pytest.mark.parametrize("path", ["missing.tflite", "."])
def test_a_path_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(ModelError, match="cannot read the model"):
        load(tmp_path / path)


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"\0" * 100, b"\x89HDF\r\n\x1a\n" * 10, CONTENT[4:], b"PK" + CONTENT]
)
def test_no_tflite_file(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"pic\.bin is not a TFLite file"):
        parse(content, "pic.bin")


@pytest.mark.parametrize("root", [0, 4, 8, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_root_that_points_anywhere(root: int) -> None:
    with pytest.raises(ModelError):
        parse(root.to_bytes(4, "little") + IDENTIFIER)
    with pytest.raises(ModelError):
        parse(root.to_bytes(4, "little") + CONTENT[4:])


def test_a_truncated_file_is_refused_or_has_lost_nothing() -> None:
    refused = 0
    for length in (*range(0, 64), *range(64, len(CONTENT), 19), *range(len(CONTENT) - 40, len(CONTENT))):
        try:
            assert parse(CONTENT[:length]).fingerprint == GRAPH.fingerprint
        except ModelError:
            refused += 1
    assert refused > 300


def first_code(model: Any) -> Any:
    """The operator code of the first operator."""
    return model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]


def test_an_unsupported_operator_is_named_with_its_tensor_and_the_list() -> None:
    def change(model: Any) -> None:
        first_code(model).builtinCode = schema.BuiltinOperator.SVDF

    with pytest.raises(UnsupportedError, match="SVDF") as caught:
        parse(rewritten(change), "net.tflite")
    message = str(caught.value)
    assert message.startswith("net.tflite: operator 0 (SVDF)")
    assert "'net/stem/out'" in message
    assert all(code in message for code in SUPPORTED)


def test_an_unknown_operator_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match=r"operator 0 \(code 5000\), which writes tensor 'net/stem/out',"):
        parse(rewritten(lambda m: setattr(first_code(m), "builtinCode", 5000)))


def custom(code: str | None) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        first_code(model).builtinCode = schema.BuiltinOperator.CUSTOM
        first_code(model).customCode = code

    return change


@pytest.mark.parametrize("code", ["Flex", None, "x" * 5000])
def test_a_custom_operator_is_named_by_its_own_code(code: str | None) -> None:
    with pytest.raises(UnsupportedError, match=r"operator 0 \(CUSTOM\), custom code '") as caught:
        parse(rewritten(custom(code)))
    assert (code or "")[:90] in str(caught.value)
    assert len(str(caught.value)) < 2000


def with_metadata(model: Any) -> None:
    entry = schema.MetadataT()
    entry.name = b"COMPRESSION_METADATA"
    model.metadata = [entry]


@pytest.mark.parametrize("change", [custom("TFLM_DECODE"), with_metadata])
def test_a_compressed_file_is_sent_back_for_the_original(change: Callable[[Any], None]) -> None:
    with pytest.raises(UnsupportedError, match=r"^net is compressed for .*; give bqsearch the model that it was made"):
        parse(rewritten(change), "net")


def test_an_unsupported_type_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"tensor 0 \('image'\) has type INT4; supported: bool, float16"):
        parse(rewritten(lambda m: setattr(m.subgraphs[0].tensors[0], "type", schema.TensorType.INT4)))


@pytest.mark.parametrize("count", [0, 2])
def test_models_have_one_subgraph(count: int) -> None:
    with pytest.raises(UnsupportedError, match=f"has {count} subgraphs"):
        parse(rewritten(lambda m: setattr(m, "subgraphs", m.subgraphs * count)))


def tensor(model: Any, index: int) -> Any:
    return model.subgraphs[0].tensors[index]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def op(model: Any, index: int) -> Any:
    return model.subgraphs[0].operators[index]


def set_nan(model: Any) -> None:
    tensor(model, STEM).type = schema.TensorType.FLOAT32
    tensor(model, STEM).quantization = None
    model.buffers[tensor(model, STEM).buffer].data = np.full(432, np.nan, np.float32).view(np.uint8)


def scaled(scale: float) -> Callable[[Any], None]:
    return lambda m: setattr(tensor(m, STEM).quantization, "scale", np.full(16, scale, np.float32))


def cycle(model: Any) -> None:
    """The depthwise convolution reads what the pointwise one behind it makes."""
    op(model, 1).inputs = ints(op(model, 2).outputs[0], *op(model, 1).inputs[1:])


def swapped(model: Any) -> None:
    operators = model.subgraphs[0].operators
    operators[0], operators[1] = operators[1], operators[0]


FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "negative shape": (lambda m: setattr(tensor(m, 0), "shape", ints(1, -8, 8, 3)), r"shape \(1, -8, 8, 3\)"),
    "endless shape": (lambda m: setattr(tensor(m, 0), "shape", ints(*[2**31 - 1] * 4)), "at most 2\\^31 elements"),
    "too little data": (
        lambda m: setattr(m.buffers[tensor(m, STEM).buffer], "data", np.zeros(431, np.uint8)),
        r"has 431 B of data; shape \(16, 3, 3, 3\) of int8 needs 432 B",
    ),
    "too much data": (
        lambda m: setattr(m.buffers[tensor(m, STEM).buffer], "data", np.zeros(433, np.uint8)),
        "has 433 B of data",
    ),
    "NaN weights": (set_nan, "holds NaN or infinite values"),
    "NaN scale": (scaled(np.nan), "malformed quantization"),
    "infinite scale": (scaled(np.inf), "malformed quantization"),
    "negative scale": (scaled(-1.0), "malformed quantization"),
    "zero points of another number": (
        lambda m: setattr(tensor(m, STEM).quantization, "zeroPoint", np.zeros(5, np.int64)),
        "16 scales, 5 zero points",
    ),
    "scales that fit no dimension": (
        lambda m: (
            setattr(tensor(m, STEM).quantization, "scale", np.ones(7, np.float32)),
            setattr(tensor(m, STEM).quantization, "zeroPoint", np.zeros(7, np.int64)),
        ),
        "has 7 scales along dimension 0",
    ),
    "cycle": (cycle, r"operator 1 \(DEPTHWISE_CONV_2D\) reads tensor \d+ before it is written"),
    "operators out of order": (swapped, r"operator 0 \(DEPTHWISE_CONV_2D\) reads tensor"),
    "a tensor written twice": (
        lambda m: setattr(op(m, 1), "outputs", op(m, 0).outputs),
        r"operator 1 \(DEPTHWISE_CONV_2D\) writes tensor \d+ again",
    ),
    "a constant that is written": (lambda m: setattr(op(m, 0), "outputs", ints(STEM)), "writes tensor"),
    "an output that is never written": (
        lambda m: setattr(m.subgraphs[0], "operators", m.subgraphs[0].operators[:-1]),
        "the graph's output, tensor 16, is never written",
    ),
    "no buffers": (lambda m: setattr(m, "buffers", None), "the file has 0 buffers"),
    "a missing buffer": (lambda m: setattr(tensor(m, STEM), "buffer", 999), "names buffer 999"),
    "no inputs": (lambda m: setattr(m.subgraphs[0], "inputs", None), "at least one input"),
    "no outputs": (lambda m: setattr(m.subgraphs[0], "outputs", None), "at least one input, one output"),
    "no tensors": (lambda m: setattr(m.subgraphs[0], "tensors", None), "outside"),
    "an input beyond the tensors": (
        lambda m: setattr(m.subgraphs[0], "inputs", ints(99)),
        "tensor index 99 is outside",
    ),
    "an input that is left out": (lambda m: setattr(m.subgraphs[0], "inputs", ints(-1)), "tensor index -1 is outside"),
    "an operator's input beyond the tensors": (lambda m: setattr(op(m, 0), "inputs", ints(0, 99)), "tensor index 99"),
    "an operator without outputs": (lambda m: setattr(op(m, 0), "outputs", None), "3 inputs and 0 outputs: too few"),
    "a convolution without weights": (
        lambda m: setattr(op(m, 0), "inputs", ints(0)),
        "1 inputs and 1 outputs: too few",
    ),
    "weights that are left out": (lambda m: setattr(op(m, 0), "inputs", ints(0, -1, -1)), "too few"),
    "weights of another rank": (lambda m: setattr(op(m, 0), "inputs", ints(0, STEM_BIAS)), "weights with 4 dimensions"),
    "an input of another rank": (lambda m: setattr(tensor(m, 0), "shape", ints(1, 192)), "an input with 4 dimensions"),
    "an output of another shape": (
        lambda m: setattr(tensor(m, STEM + 2), "shape", ints(1, 4, 4, 17)),
        r"'net/stem/out' of shape \(1, 4, 4, 17\), but shape \(1, 4, 4, 16\) follows from its inputs",
    ),
    "a bias of another layer": (
        lambda m: setattr(op(m, 0), "inputs", ints(0, STEM, op(m, 5).inputs[2])),
        r"operator 0 \(CONV_2D\) has a bias 'net/dense/bias' of shape \(10,\) for 16 output channels",
    ),
    "scales along the input channels": (
        lambda m: (
            setattr(tensor(m, op(m, 2).inputs[1]).quantization, "quantizedDimension", 3),
            setattr(tensor(m, op(m, 2).inputs[1]), "shape", ints(16, 1, 1, 16)),
        ),
        "a scale for each step of dimension 3; their output channels are dimension 0",
    ),
    "an activation with a scale for each channel": (
        lambda m: (
            setattr(tensor(m, 0).quantization, "scale", np.ones(3, np.float32)),
            setattr(tensor(m, 0).quantization, "zeroPoint", np.zeros(3, np.int64)),
        ),
        "has tensor 'image' with 3 scales; it needs one",
    ),
    "an unknown activation function": (
        lambda m: setattr(op(m, 0).builtinOptions, "fusedActivationFunction", 6),
        "has activation function 6",
    ),
    "an input named twice": (lambda m: setattr(m.subgraphs[0], "inputs", ints(0, 0)), "names a tensor twice"),
    "an input that is a constant": (
        lambda m: setattr(m.subgraphs[0], "inputs", ints(0, STEM)),
        f"the graph's input, tensor {STEM}, is a constant",
    ),
    "an output written twice by one operator": (
        lambda m: setattr(op(m, 0), "outputs", ints(STEM + 2, STEM + 2)),
        "has 2 outputs; 1 follow",
    ),
    "endlessly many inputs": (
        lambda m: setattr(op(m, 3), "inputs", np.full(5000, STEM + 2, np.int32)),
        "names 5,000 tensors; at most 4,096 may be named",
    ),
    "no options": (
        lambda m: (setattr(op(m, 0), "builtinOptionsType", 0), setattr(op(m, 0), "builtinOptions", None)),
        "no options in place of Conv2DOptions",
    ),
    "another operator's options": (
        lambda m: (
            setattr(op(m, 0), "builtinOptionsType", schema.BuiltinOptions.SoftmaxOptions),
            setattr(op(m, 0), "builtinOptions", schema.SoftmaxOptionsT()),
        ),
        "SoftmaxOptions in place of Conv2DOptions",
    ),
    "a stride of zero": (
        lambda m: setattr(op(m, 0).builtinOptions, "strideH", 0),
        r"has strides \(0, 2\) and dilations \(1, 1\); they must be 1 or more",
    ),
    "an unlisted operator code": (lambda m: setattr(op(m, 0), "opcodeIndex", 77), "names operator code 77 of 6"),
    "a buffer behind the end": (
        lambda m: (setattr(m.buffers[1], "offset", 1 << 40), setattr(m.buffers[1], "size", 64)),
        r"is truncated: buffer 1 ends at byte 1099511627840",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_hold_together(fault: str) -> None:
    change, message = FAULTS[fault]
    with pytest.raises(ModelError, match=message) as caught:
        parse(rewritten(change), "net.tflite")
    assert str(caught.value).startswith("net.tflite")
    assert not isinstance(caught.value, UnsupportedError)


def sparse(model: Any) -> None:
    tensor(model, STEM).sparsity = schema.SparsityParametersT()


def later_options(model: Any) -> None:
    op(model, 0).builtinOptions2Type = 3
    op(model, 0).builtinOptions2 = schema.StablehloSliceOptionsT()


def spec(model: Any) -> None:
    op(model, 5).builtinOptions.quantSpec = [1]


UNSUPPORTED: dict[str, tuple[Callable[[Any], None], str]] = {
    "too many dimensions": (lambda m: setattr(tensor(m, 0), "shape", ints(*[1] * 9)), "has 9 dimensions"),
    "no elements": (lambda m: setattr(tensor(m, 0), "shape", ints(1, 0, 8, 3)), "tensors without elements"),
    "sparse weights": (sparse, "is sparse"),
    "weights in another file": (lambda m: setattr(tensor(m, STEM), "externalBuffer", 7), "lies in another file"),
    "custom quantization": (
        lambda m: (
            setattr(tensor(m, STEM).quantization, "detailsType", schema.QuantizationDetails.CustomQuantization),
            setattr(tensor(m, STEM).quantization, "details", schema.CustomQuantizationT()),
        ),
        "block-wise or custom quantization",
    ),
    "options of a later schema": (later_options, "options of a later schema"),
    "a quantization of its own": (spec, "has quantSpec in its options"),
    "grouped": (lambda m: setattr(tensor(m, 0), "shape", ints(1, 8, 4, 6)), "is a grouped convolution"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_a_sound_file_that_is_not_supported(case: str) -> None:
    change, message = UNSUPPORTED[case]
    with pytest.raises(UnsupportedError, match=message) as caught:
        parse(rewritten(change), "net.tflite")
    assert str(caught.value).startswith("net.tflite: ")


def test_constants_are_views_into_the_file() -> None:
    data = parse(CONTENT).tensors[STEM].data
    assert data is not None
    assert np.shares_memory(data, np.frombuffer(CONTENT, np.uint8))
    assert not data.flags.writeable


def test_tensors_of_one_buffer_have_one_array() -> None:
    def change(model: Any) -> None:
        first, second = tensor(model, op(model, 0).inputs[2]), tensor(model, op(model, 1).inputs[2])
        second.buffer = first.buffer

    graph = parse(rewritten(change))
    first, second = (graph.tensors[graph.ops[i].inputs[2]] for i in (0, 1))
    assert first.data is second.data
    assert first.data is not graph.tensors[graph.ops[2].inputs[2]].data


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.tflite")
    with pytest.raises(ModelError, match="it is not a file"):
        load(tmp_path / "net.tflite")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    with path.open("wb") as file:
        file.write(CONTENT)
        file.truncate((1 << 29) + 1)  # sparse
    with pytest.raises(UnsupportedError, match="larger than 536,870,912 B"):
        load(path)


@pytest.mark.parametrize("make", [newer_network, lambda: newer_network("float32"), lambda: newer_network("uint8")])
def test_newer_operators_are_read(make: Callable[[], Graph]) -> None:
    assert parse(serialize(make())).fingerprint == make().fingerprint


def test_operators_that_are_only_carried_along() -> None:
    net = Builder("float32")
    source = net.activation("x", (1, 4, 3))
    turned = net.like("TRANSPOSE", "turned", source, (1, 3, 4), net.ints(0, 2, 1))
    graph = net.build([source], [net.like("SUM", "sum", turned, (1, 3), net.ints(2))])
    assert parse(serialize(graph)).fingerprint == graph.fingerprint


def test_every_shared_model_is_read(shared_models: Path) -> None:
    for path in sorted(shared_models.glob("*.tflite")):
        graph = load(path)
        assert parse(serialize(graph)).fingerprint == graph.fingerprint, path.name


def long_chain(count: int) -> bytes:
    """`count` slices one behind the other: of all operators they take the longest to check."""
    net = Builder("int8")
    source = tensor = net.activation("x", (1, 8, 8, 4))
    bounds = [net.ints(*[0] * 4), net.ints(*[0] * 4), net.ints(*[1] * 4)]
    for _ in range(count):
        tensor = net.like("STRIDED_SLICE", "y", tensor, (1, 8, 8, 4), *bounds, beginMask=15, endMask=15)
    return serialize(net.build([source], [tensor]))


def wide_chain(count: int) -> bytes:
    """`count` concatenations of as many parts as may be, no two alike."""
    net = Builder("float32")
    ends = [net.activation("x", (1, 4)), net.activation("y", (1, 4))]
    made = []
    for number in range(count):
        parts = [ends[number == place] for place in range(4096)]
        output = net.activation("z", (1, 4 * 4096))
        made.append(net.op("CONCATENATION", parts, output, "ConcatenationOptions", axis=1))
    return serialize(net.build(ends, made))


def overlapping(count: int) -> bytes:
    """`count` tensors over one buffer of floats, each with a shape of its own."""
    net = Builder("float32")
    source = net.activation("x", (1, 4))
    for number in range(count):
        net.constant("c", np.zeros((1 << number % 20, (1 << 20) >> number % 20), np.float32))
    net.like("RELU", "y", source, (1, 4))
    content = serialize(net.build([source], [len(net.tensors) - 1]))

    def change(model: Any) -> None:
        for entry in model.subgraphs[0].tensors[1:-1]:
            entry.buffer = 1
        model.buffers = model.buffers[:2]

    return rewritten(change, content)


@pytest.mark.parametrize(
    ("make", "count"), [(long_chain, 8000), (long_chain, 12_000), (wide_chain, 450), (overlapping, 40)]
)
def test_the_most_that_a_file_can_ask_for_takes_less_than_two_seconds(make: Callable[[int], bytes], count: int) -> None:
    content = make(count)
    started = process_time()
    with suppress(ModelError):
        parse(content)
    assert process_time() - started < 2


def test_limits_are_far_from_networks() -> None:
    assert len(parse(long_chain(5000)).ops) == 5000
    with pytest.raises(ModelError, match="its tables overlap, or are more"):
        parse(long_chain(12_000))
    with pytest.raises(ModelError, match="named by too many tensors"):
        parse(overlapping(40))


def behind(content: bytes) -> bytes:
    """The same network with its constants behind the flatbuffer, as writers of large files put them."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    stored = [buffer.data for buffer in model.buffers]
    for buffer, data in zip(model.buffers, stored, strict=True):
        buffer.data = None
        buffer.offset, buffer.size = (1, 1) if data is not None else (0, 0)  # keeps the fields' room in the file
    position, tail = -(-len(packed(model)) // 16) * 16, bytearray()
    for buffer, data in zip(model.buffers, stored, strict=True):
        if data is not None:
            buffer.offset, buffer.size = position + len(tail), len(data)
            tail += data.tobytes() + bytes(-len(data) % 16)
    return packed(model).ljust(position, b"\0") + tail


@pytest.mark.parametrize("make", [small_int8_network, small_uint8_network, small_float_network])
def test_constants_behind_the_flatbuffer(make: Callable[[], Graph]) -> None:
    content = behind(serialize(make()))
    assert parse(content).fingerprint == make().fingerprint
    with pytest.raises(ModelError, match=r"truncated: buffer \d+ ends at byte"):
        parse(content[:-40])


def test_older_files_carry_only_the_deprecated_code() -> None:
    def change(model: Any) -> None:
        for code in model.operatorCodes:
            code.builtinCode = 0

    content = rewritten(change)
    assert schema.ModelT.InitFromPackedBuf(content, 0).operatorCodes[-1].deprecatedBuiltinCode == 25
    assert parse(content).fingerprint == GRAPH.fingerprint


def test_new_operators_are_known_by_the_new_code() -> None:
    net = Builder("float32")
    source = net.activation("x", (1, 4))
    graph = net.build([source], [net.op("HARD_SWISH", (source,), net.activation("y", (1, 4)), "HardSwishOptions")])
    content = rewritten(lambda m: setattr(m.operatorCodes[0], "deprecatedBuiltinCode", 127), serialize(graph))
    assert parse(rewritten(lambda m: None, serialize(graph))).ops[0].code == "HARD_SWISH"
    with pytest.raises(UnsupportedError):
        parse(content)  # 127 is the larger of both, and another operator


def test_a_bias_with_its_weights_dimension_is_repaired() -> None:
    content = rewritten(lambda m: setattr(tensor(m, STEM_BIAS).quantization, "quantizedDimension", 3))
    assert parse(content).fingerprint == GRAPH.fingerprint


def test_one_zero_point_stands_for_all_channels() -> None:
    content = rewritten(lambda m: setattr(tensor(m, STEM).quantization, "zeroPoint", np.zeros(1, np.int64)))
    assert parse(content).fingerprint == GRAPH.fingerprint


def test_missing_zero_points_are_zero() -> None:
    content = rewritten(lambda m: setattr(tensor(m, STEM).quantization, "zeroPoint", None))
    assert parse(content).fingerprint == GRAPH.fingerprint


def test_a_left_out_bias_is_allowed() -> None:
    content = rewritten(lambda m: setattr(op(m, 0), "inputs", ints(0, STEM, -1)))
    assert parse(content).ops[0].inputs == (0, STEM, -1)


def test_names_that_are_no_text_are_read_all_the_same() -> None:
    content = rewritten(lambda m: setattr(tensor(m, 0), "name", b"\xff\xfe\xc3"))
    assert parse(content).fingerprint == GRAPH.fingerprint
    assert parse(serialize(parse(content))).fingerprint == GRAPH.fingerprint


def test_an_unnamed_network() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].name = None
        for entry in model.subgraphs[0].tensors:
            entry.name = None

    graph = parse(rewritten(change))
    assert graph.fingerprint == GRAPH.fingerprint
    assert replace(graph, name="").name == graph.name
    assert len({layer.name for layer in layers(graph)}) == 4
