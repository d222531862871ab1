"""Files are untrusted: a good one becomes a Graph, a bad one an error that says what is wrong, and nothing else."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import IDENTIFIER, serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, elements, layers, macs
from bqsearch.importers.tflite import load, parse
from networks import VALID, Builder, small_float_network, small_int8_network, small_uint8_network

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


def with_pad_and_reshape() -> Graph:
    """The operators of which the passes read more than their inputs."""
    net = Builder("int8", 1)
    image = net.activation("x", (1, 8, 8, 3))
    padded = net.pad("pad", image, [(0, 0), (0, 1), (0, 1), (0, 0)])
    tensor = net.conv("conv", padded, 4, 3, 2, padding=VALID)
    tensor = net.op(
        "CONCATENATION", (tensor, tensor), net.activation("both", (1, 4, 4, 8)), "ConcatenationOptions", axis=3
    )
    window = {"filterHeight": 4, "filterWidth": 4, "strideH": 4, "strideW": 4}
    tensor = net.op("MAX_POOL_2D", (tensor,), net.activation("pool", (1, 1, 1, 8)), "Pool2DOptions", **window)
    tensor = net.op("SQUEEZE", (tensor,), net.activation("flat", (1, 8)), "SqueezeOptions", squeezeDims=(1, 2))
    return net.build([image], [net.dense("dense", net.reshape("reshape", tensor, (1, 8)), 3)])


MUTATED = {
    "int8": small_int8_network,
    "uint8": small_uint8_network,
    "float": small_float_network,
    "pad, pool, squeeze, reshape": with_pad_and_reshape,
}
_WORDS = [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0, 1, 100_000]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three faults: a byte, a bit or a whole word."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(changed) - 4))
        kind = rng.integers(3)
        if kind == 0:
            changed[at] = int(rng.integers(256))
        elif kind == 1:
            changed[at] ^= 1 << int(rng.integers(8))
        else:
            changed[at // 4 * 4 : at // 4 * 4 + 4] = int(rng.choice(_WORDS)).to_bytes(4, "little")
    return bytes(changed)


def work_with(graph: Graph) -> None:
    """What the rest of bqsearch does with a network before it first runs it."""
    for rewrite in (passes.fuse_padding, passes.integer_io, passes.logits, passes.prune):
        rewrite(graph)
    with suppress(UnsupportedError):
        passes.with_batch(graph, 4)
    assert len({layer.name for layer in layers(graph)}) == len(layers(graph))
    assert all(macs(graph, op) >= 0 and elements(graph, op) >= 0 for op in graph.ops)
    assert parse(serialize(graph)).fingerprint == graph.fingerprint


@pytest.mark.parametrize("name", MUTATED)
def test_a_damaged_file_is_refused_or_can_be_worked_with(name: str) -> None:
    content, rng = serialize(MUTATED[name]()), np.random.default_rng(7)
    refused = 0
    for _ in range(300):
        started = perf_counter()
        try:
            work_with(parse(mutated(content, rng)))
        except ModelError:
            refused += 1
        assert perf_counter() - started < 2
    assert 60 < refused < 290


def test_an_unsupported_operator_is_named_with_its_tensor_and_the_list() -> None:
    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode = schema.BuiltinOperator.TRANSPOSE_CONV

    with pytest.raises(UnsupportedError, match="TRANSPOSE_CONV") as caught:
        parse(rewritten(change), "net.tflite")
    message = str(caught.value)
    assert message.startswith("net.tflite: operator 0 (TRANSPOSE_CONV)")
    assert "'net/stem/out'" in message
    assert all(code in message for code in SUPPORTED)


def test_a_custom_or_unknown_operator_is_unsupported() -> None:
    for code, name in ((schema.BuiltinOperator.CUSTOM, "CUSTOM"), (5000, "code 5000")):
        with pytest.raises(UnsupportedError, match=rf"operator 0 \({name}\)"):
            parse(rewritten(lambda m, code=code: setattr(m.operatorCodes[0], "builtinCode", code)))


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
    "an input of another rank": (lambda m: setattr(tensor(m, 0), "shape", ints(1, 192)), "input and an output with 4"),
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
        "strides and dilations of 1 or more",
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
    work_with(parse(content))


def test_an_unnamed_network() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].name = None
        for entry in model.subgraphs[0].tensors:
            entry.name = None

    graph = parse(rewritten(change))
    assert graph.fingerprint == GRAPH.fingerprint
    assert replace(graph, name="").name == graph.name
    assert len({layer.name for layer in layers(graph)}) == 4
