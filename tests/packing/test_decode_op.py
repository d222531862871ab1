"""The container of TensorFlow Lite Micro: bytes by hand, the published example, and the interpreter itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, cycle

import numpy as np
import pytest
from packing.tensors import fibonacci

from bqsearch.errors import CodecError
from bqsearch.graph.decode import Encoded, insert_decode
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Quantization
from bqsearch.packing.container import UNAVAILABLE, Coded, Symbols, Tally
from bqsearch.packing.decode_op import DECODE_OPERATOR, HEADER, MAX_WINDOW, decode, encode, sizes
from bqsearch.runtime import tflm
from bqsearch.types import Array, Bytes
from decoding import need_tflm
from networks import LINEAR, REACH, Builder

CODES = np.array([100, 128, 200], np.uint8)  # -28, 0 and 72
INDICES = np.array([1, 1, 2, 1, 0, 1, 1, 2, 1], np.uint8)
ONE = Symbols(indices=INDICES, values=CODES[None], zero=1, zero_byte=128, inner=9)
TWO = Symbols(
    indices=INDICES[:8], values=np.array([[100, 128, 200], [1, 2, 3]], np.uint8), zero=-1, zero_byte=128, inner=4
)
GOLDEN = {  # of TensorFlow Lite Micro's own unit test, 64 symbols with an initial table of 8
    **{"m": "000", "a": "001", "j": "010", "o": "0110", "h": "0111", "d": "1000", "i": "10010", "f": "10011"},
    **{"c": "1010", "g": "101100", "l": "101101", "k": "10111", "e": "1100", "b": "1101", "p": "1110", "n": "1111"},
}
TEXT = "majohdifcglkebpnmmmmmmmaaaaaaajjjjjjoohhddebpnifglkcmajpebdohmaj"


def test_sizes_by_hand() -> None:
    """Whole words of Huffman codes with 14 bits to spare: 9, 28 and 5 bits; tables of 2, 6 (windows of 1 bit, 2 bits)
    and 4 entries of 2 bytes."""
    counts = np.zeros((3, 256), np.int64)
    counts[0, 9] = 9
    counts[1, [0, 1, 2, 128]] = 8, 4, 2, 2
    counts[2, [0, 1, 128]] = 1, 1, 1
    tally = Tally(counts=counts, zero=np.full(3, 128))
    rows = sizes(tally)
    assert tally.symbols.tolist() == [1, 4, 3]
    assert rows.bytes_of("raw").tolist() == [9, 16, 3]
    assert rows.stream["packed"].tolist() == [2, 4, 1]
    assert rows.table["packed"].tolist() == [16 + 1, 16 + 4, 16 + 3]
    assert rows.stream["huffman"].tolist() == [4, 8, 4]
    assert rows.table["huffman"].tolist() == [16 + 2 * 2, 16 + 2 * 6, 16 + 2 * 4]
    assert rows.stream["mask"].tolist() == [2, 2, 1]
    assert rows.table["mask"].tolist() == [16 + 9, 16 + 14, 16 + 2]


@pytest.mark.parametrize(
    ("coding", "header", "table", "stream"),
    [
        ("raw", "", "", "00004800e400004800"),
        ("packed", "0001000001f2", "e40048", "591640"),
        ("huffman", "010100000110", "00880088e4904890", "34600000"),
        ("mask", "020100000100", "48e448", "2900"),
    ],
)
def test_bytes_by_hand(coding: str, header: str, table: str, stream: str) -> None:
    """2-bit indices 1 1 2 1 0 1 1 2 1; codewords 10, 0 and 11, entries 0x8000 | bits << 11 | code; a bit for each that
    is not 0."""
    coded = encode(ONE, coding)
    stated = "" if coding == "raw" else header.ljust(2 * HEADER, "0")
    assert (coded.table.hex(), coded.stream.hex()) == (stated + table, stream)


def test_weights_lie_as_in_memory_and_all_codings_are_there() -> None:
    assert not DECODE_OPERATOR.by_channel
    assert DECODE_OPERATOR.codings == ("raw", "packed", "huffman", "mask")


@pytest.mark.parametrize(("inner", "axis"), [(4, 0), (1, 3)])
def test_tables_by_channel_by_hand(inner: int, axis: int) -> None:
    """2-bit indices 1 1 2 1 0 1 1 2; the axis and the width, and the bytes from a table to the next."""
    coded = encode(replace(TWO, inner=inner), "packed")
    assert coded.table.hex() == f"0001000001{axis}203".ljust(2 * HEADER, "0") + "e40048" + "818283"
    assert coded.stream.hex() == "5916"
    values = [128, 128, 200, 128, 1, 2, 2, 3] if inner == 4 else [128, 2, 200, 2, 100, 2, 128, 3]
    assert decode(coded).tolist() == values


def test_sizes_of_many_codebooks_by_hand() -> None:
    counts = np.array([[2, 4, 2], [1, 0, 1]], np.int64)
    tally = Tally(counts=counts, zero=np.array([-1, 0]), groups=2)
    rows = sizes(tally)
    assert tally.symbols.tolist() == [3, 3]
    assert (rows.stream["packed"].tolist(), rows.table["packed"].tolist()) == ([2, UNAVAILABLE], [16 + 6, 16 + 6])
    assert (rows.stream["mask"].tolist(), rows.table["mask"].tolist()) == ([1, 1], [16 + 8, 16 + 1])
    assert rows.bytes_of("huffman").tolist() == [UNAVAILABLE] * 2


@pytest.mark.parametrize(
    ("coding", "counts", "groups", "scaled", "reason"),
    [
        ("packed", [1] * 129, 1, True, "129 different values, and it holds 128 at most: choose fewer levels"),
        ("packed", [1] * 129, 2, False, "129 different values"),
        ("packed", [3, 4], 7, True, "a codebook of its own, and only one weight: choose a scheme with one codebook"),
        ("packed", [6, 8], 7, False, "this one has a single scale: .* or a model quantized per channel"),
        (
            "huffman",
            [6, 8],
            7,
            True,
            "a Huffman table serves all of them, .* choose .* one codebook for all, or packed",
        ),
    ],
)
def test_why_a_coding_is_not_available(coding: str, counts: list[int], groups: int, scaled: bool, reason: str) -> None:
    tally = Tally(counts=np.array([counts]), zero=np.array([-1]), groups=groups, scaled=scaled)
    assert sizes(tally).bytes_of(coding)[0] == UNAVAILABLE
    assert re.search(reason, DECODE_OPERATOR.refusal(tally, coding))


@pytest.mark.parametrize(("at", "byte"), [(5, 0xF2), (5, 0x32), (6, 0), (6, 2), (6, 4)])
def test_tables_of_another_axis_or_stride_are_refused(at: int, byte: int) -> None:
    coded = encode(TWO, "packed")
    header = bytearray(coded.table)
    header[at] = byte
    with pytest.raises(CodecError, match="do not fit 2 tables of 3 values"):
        decode(replace(coded, table=bytes(header)))


def test_huffman_serves_one_codebook_and_a_table_several_weights() -> None:
    with pytest.raises(CodecError, match="a Huffman table serves all weights, not 2 groups"):
        encode(TWO, "huffman")
    with pytest.raises(CodecError, match="not 3 values in 2 tables for 2 weights"):
        encode(replace(TWO, indices=np.array([0, 2], np.uint8), inner=1), "packed")
    with pytest.raises(CodecError, match="a Huffman table serves all weights, not 2 groups"):
        decode(replace(encode(ONE, "huffman"), groups=2))


@pytest.mark.parametrize("zero", [-1, 0, 1, 2])
def test_a_mask_leaves_out_what_stands_for_zero(zero: int) -> None:
    coded = encode(replace(ONE, zero=zero, zero_byte=int(CODES[zero])), "mask")
    kept = CODES[INDICES][zero != INDICES]
    assert coded.table[HEADER:] == (kept ^ 128).astype(np.uint8).tobytes()
    assert np.array_equal(decode(coded), CODES[INDICES])


def golden_table(words: Mapping[str, int], window: int) -> list[int]:
    """A table for these codewords, and behind it one for each window that begins several of them, as wide as the rest
    of the longest; their places count from the entry that names them."""
    entries, open_windows = [], {}
    for number in range(1 << window):
        bits = f"{number:0{window}b}"
        rests = {word[window:]: value for word, value in words.items() if word.startswith(bits)}
        found = [(len(word), value) for word, value in words.items() if bits.startswith(word)]
        if found:
            ((length, value),) = found
            entries.append(1 << 15 | length << 11 | value)
        else:
            open_windows[number] = rests
            entries.append(0)
    for number, rests in open_windows.items():
        width = max(map(len, rests))
        entries[number] = (width - 1) << 11 | (len(entries) - number)
        entries += golden_table(rests, width)
    return entries


def golden() -> Coded:
    """The published code in the published layout, which is not that of our encoder."""
    entries = golden_table({word: ord(letter) for letter, word in GOLDEN.items()}, 3)
    assert len(entries) == 8 + 2 + 4 + 8 + 2 + 2
    assert entries[:4] == [0x8000 | 3 << 11 | ord(letter) for letter in "maj"] + [0 << 11 | 8 - 3]
    assert entries[4] == 1 << 11 | 10 - 4
    header = bytes([1, 1, 0, 0, 1, (3 - 1) << 4]).ljust(HEADER, b"\0")
    bits = "".join(GOLDEN[letter] for letter in TEXT)
    words = -(-(len(bits) + 3) // 32)
    stream = int(bits.ljust(32 * words, "0"), 2).to_bytes(4 * words, "big")
    table = header + np.array(entries, "<u2").tobytes()
    return Coded(
        coding="huffman", count=len(TEXT), groups=1, inner=len(TEXT), zero_byte=128, table=table, stream=stream
    )


def test_the_published_huffman_example_decodes() -> None:
    assert sum(0.5 ** len(word) for word in GOLDEN.values()) == 1
    assert set(TEXT) == set(GOLDEN)
    assert len(TEXT) == 64
    decoded = decode(golden()) ^ np.uint8(128)
    assert decoded.tobytes().decode("ascii") == TEXT


def test_the_interpreter_decodes_the_published_example_too() -> None:
    need_tflm()
    net = Builder("int8")
    source = net.activation("x", (1, 8))
    graph = net.build([source], [net.dense("dense", source, 8)])
    weights = graph.ops[0].inputs[1]
    quantization = Quantization(scales=np.array([0.002], np.float32), zero_points=np.zeros(1, np.int64))
    codes = np.frombuffer(TEXT.encode(), np.int8).reshape(8, 8)
    graph = graph.with_tensors({weights: replace(graph.tensors[weights], quantization=quantization, data=codes)})
    graph = without_biases(graph)
    inputs = np.random.default_rng(0).integers(-128, 128, (30, 8)).astype(np.int8)
    coded = Encoded(stream=golden().stream, ancillary=golden().table)
    outputs = tflm.run(serialize(graph), inputs)
    assert all(len(np.unique(outputs[:, channel])) > 5 for channel in range(8))
    assert np.array_equal(tflm.run(serialize(insert_decode(graph, {weights: coded})), inputs), outputs)


def test_deep_codes_take_several_tables() -> None:
    """Codewords of 30 bits: windows reach 15 at most."""
    lengths = [*range(1, 31), 30]
    counts = np.array([2 ** (30 - length) for length in lengths], np.int64)
    row = np.zeros((1, 256), np.int64)
    row[0, : len(counts)] = counts
    stated = sizes(Tally(counts=row, zero=np.array([255])))
    assert stated.stream["huffman"][0] == -(-int((counts * lengths).sum() + MAX_WINDOW - 1) // 32) * 4
    assert stated.table["huffman"][0] == HEADER + 2 * 2 * 30  # a bit at a time: two entries for each inner node


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"table": b""}, "no decoder for the coding 'huffman' with the header"),
        ({"table": bytes([1, 1, 0, 0, 1])}, "no decoder"),
        ({"table": bytes(HEADER)}, "no decoder"),
        ({"table": bytes([1, 2]).ljust(HEADER, b"\0")}, "no decoder"),
        ({"table": bytes([1, 1]).ljust(HEADER, b"\0")}, "entry 0 is outside of a table of 0 entries"),
        ({"table": bytes([1, 1]).ljust(HEADER + 3, b"\0")}, "a Huffman table has entries of 2 B, not 3 B in all"),
        ({"table": bytes([1, 1]).ljust(HEADER + 4, b"\0")}, "ends before its last symbol"),  # it leads to itself
        ({"stream": bytes(5)}, "whole words of 4 B, not 5 B"),
        ({"count": 100}, "the stream of 4 B ends before 100 symbols"),
        ({"stream": bytes(12)}, "9 symbols take 9 bits, but the stream has 96"),
        ({"stream": b""}, "the stream of 0 B ends before 9 symbols"),
    ],
)
def test_malformed_huffman_is_refused(damage: dict, message: str) -> None:
    coded = encode(replace(ONE, indices=np.zeros(9, np.uint8)), "huffman")
    with pytest.raises(CodecError, match=message):
        decode(replace(coded, **damage))


def test_a_mask_that_keeps_another_number_is_refused() -> None:
    coded = encode(ONE, "mask")
    with pytest.raises(CodecError, match="the mask keeps 3 weights, but 2 are there"):
        decode(replace(coded, table=coded.table[:-1]))


def test_a_packed_index_beyond_the_table_is_refused() -> None:
    coded = encode(ONE, "packed")
    with pytest.raises(CodecError, match="index 2 is outside of a codebook of 2 values"):
        decode(replace(coded, table=coded.table[:-1]))


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A layer's weights: `conv`, `depthwise` or `dense`, and the output channels; a scale for each channel or one."""

    kind: str
    channels: int
    size: int
    per_channel: bool
    coding: str
    symbols: int
    skew: float


CHANNELS = 5  # of the input
SIDES = (4, 6)
SHAPES = [
    *[("conv", 7, 3), ("depthwise", 1, 3), ("dense", 11, 0), ("conv", 16, 2), ("conv", 13, 1), ("depthwise", 3, 5)],
    *[("dense", 3, 0), ("dense", 16, 0), ("conv", 1, 3), ("depthwise", 4, 1), ("depthwise", 7, 3)],
]
SYMBOLS = {"raw": [256], "mask": [1, 3, 17, 256], "packed": [1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 60, 100, 128]}
SYMBOLS["huffman"] = [1, 2, 3, 5, 16, 33, 128, 200, 255, 256]


def cases(coding: str) -> Iterator[Weights]:
    """Three layers for each alphabet, of sizes that leave all kinds of rests when divided by 16 and 32."""
    skews, numbers = cycle([0.0, 1.0, 0.3, 3.0]), count()
    shapes = cycle(SHAPES)
    for symbols in SYMBOLS[coding] * 3:
        number = next(numbers)
        kind, channels, size = next(s for s in shapes if weights_in(*s) >= symbols)
        fields = {"coding": coding, "symbols": symbols, "skew": next(skews), "per_channel": number % 2 == 0}
        yield Weights(kind=kind, channels=channels + number // 11, size=size, **fields)


def weights_in(kind: str, channels: int, size: int) -> int:
    return channels * CHANNELS * (SIDES[0] * SIDES[1] if kind == "dense" else size * size)


def codes_of(wanted: Weights, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random codes; with skew the first values, zero among them, take most of the tensor."""
    size = int(np.prod(shape))
    values = np.append(rng.permutation([v for v in range(-128, 128) if v]), 0)
    values = np.roll(values, 1 + (wanted.symbols > 2))[: min(wanted.symbols, size)]
    share = np.exp(-wanted.skew * np.arange(len(values)))
    rest = rng.choice(values, size - len(values), p=share / share.sum())
    return rng.permutation(np.concatenate([values, rest])).astype(np.int8).reshape(shape)


def network(wanted: list[Weights], seed: int) -> tuple[Graph, list[int]]:
    """All layers over one input, their outputs one behind the other; and the tensors of their weights."""
    net = Builder("int8", seed)
    image = net.activation("image", (1, *SIDES, CHANNELS), -REACH, REACH)
    flat = net.reshape("flat", image, (1, SIDES[0] * SIDES[1] * CHANNELS))
    outputs, weights = [], []
    for index, layer in enumerate(wanted):
        made = _layer(net, f"{index}", layer, image, flat)
        weights.append(net.ops[-1].inputs[1])
        _set(net, layer)
        outputs.append(net.reshape(f"{index}/flat", made, (1, int(np.prod(net.tensors[made].shape)))))
    while len(outputs) > 1:  # the interpreter concatenates ten at most
        outputs = [_joined(net, outputs[i : i + 10]) for i in range(0, len(outputs), 10)]
    return net.build([image], outputs), weights


def _layer(net: Builder, name: str, layer: Weights, image: int, flat: int) -> int:
    if layer.kind == "dense":
        return net.dense(name, flat, layer.channels)
    if layer.kind == "conv":
        return net.conv(name, image, layer.channels, size=layer.size, fusedActivationFunction=LINEAR)
    options = {"depthMultiplier": layer.channels, "fusedActivationFunction": LINEAR}
    shape = (1, layer.size, layer.size, CHANNELS * layer.channels)
    return net._convolution(name, image, "DEPTHWISE_CONV_2D", shape, 3, 1, options)


def _set(net: Builder, layer: Weights) -> None:
    """Codes, scales under which the outputs fill their range, and no bias."""
    source, weights, bias = net.ops[-1].inputs
    (output,) = net.ops[-1].outputs
    tensor, axis = net.tensors[weights], 3 if layer.kind == "depthwise" else 0
    codes = codes_of(layer, tensor.shape, net.rng)
    channels = tensor.shape[axis]
    fan_in = codes.size // channels
    length = max(np.sqrt((codes.astype(float) ** 2).mean() * fan_in), 1.0)
    scales = net.rng.uniform(0.5, 1.0, channels if layer.per_channel else 1) / length
    scales = scales.astype(np.float32)
    zeros = np.zeros(len(scales), np.int64)
    of_weights = Quantization(scales=scales, zero_points=zeros, axis=axis if layer.per_channel else 0)
    net.tensors[weights] = replace(tensor, data=codes, quantization=of_weights)
    of_input = net.tensors[source].quantization
    of_bias = Quantization(scales=scales * of_input.scales[0], zero_points=zeros)
    net.tensors[bias] = replace(net.tensors[bias], data=np.zeros(channels, np.int32), quantization=of_bias)
    net.tensors[output] = replace(net.tensors[output], quantization=of_input)


def _joined(net: Builder, parts: list[int]) -> int:
    width = sum(net.tensors[part].shape[1] for part in parts)
    output = net.activation(f"joined_{len(net.ops)}", (1, width), -REACH, REACH)
    return net.op("CONCATENATION", parts, output, "ConcatenationOptions", axis=1)


def without_biases(graph: Graph) -> Graph:
    return replace(graph, ops=tuple(replace(op, inputs=op.inputs[:2]) for op in graph.ops))


def encode_all(graph: Graph, codings: Mapping[int, str]) -> dict[int, Encoded]:
    """Constants in coded form, by tensor index, with one codebook."""
    encoded = {}
    for tensor, coding in codings.items():
        values, indices = np.unique(raw_bytes(graph, tensor), return_inverse=True)
        zero = int(np.searchsorted(values, 128)) if 128 in values else -1
        made = Symbols(indices=indices.astype(np.uint8), values=values[None], zero=zero, zero_byte=128, inner=1)
        encoded[tensor] = in_file(encode(made, coding))
    return encoded


def raw_bytes(graph: Graph, tensor: int) -> Bytes:
    return graph.tensors[tensor].data.reshape(-1).view(np.uint8) ^ np.uint8(128)


def in_file(coded: Coded) -> Encoded:
    return Encoded(stream=coded.stream, ancillary=coded.table)


@pytest.mark.parametrize("coding", ["packed", "huffman", "mask"])
def test_the_interpreter_decodes_what_was_coded(coding: str) -> None:
    """Every shape and alphabet, per tensor and per channel, on the first axis and on the last."""
    need_tflm()
    wanted = list(cases(coding))
    graph, weights = network(wanted, 1)
    sizes_of = {graph.tensors[t].size % 32 for t in weights}
    assert len(sizes_of) > 6
    assert {len(np.unique(graph.tensors[t].data)) for t in weights} >= set(SYMBOLS[coding])
    coded = insert_decode(graph, encode_all(graph, dict.fromkeys(weights, coding)))
    inputs = np.random.default_rng(2).integers(-128, 128, (6, *SIDES, CHANNELS)).astype(np.int8)
    outputs = tflm.run(serialize(graph), inputs)
    assert (outputs != outputs[:1]).any(axis=0).mean() > 0.6
    assert (np.abs(outputs.astype(int)) < 127).mean() > 0.8
    assert np.array_equal(tflm.run(serialize(coded, short_zero_points=True), inputs), outputs)


@pytest.mark.parametrize("symbols", [16, 20])
def test_the_interpreter_decodes_the_deepest_codes(symbols: int) -> None:
    """Fibonacci counts: the rarest codeword has a bit for each other symbol."""
    need_tflm()
    counts, features = fibonacci(symbols), 163
    flat = np.repeat(np.arange(symbols) * 11 - 100, counts)
    flat = np.resize(flat, -(-len(flat) // features) * features).astype(np.int8)
    net = Builder("int8")
    source = net.activation("x", (1, features))
    graph = net.build([source], [net.dense("dense", source, len(flat) // features)])
    weights = graph.ops[0].inputs[1]
    data = np.random.default_rng(0).permutation(flat).reshape(-1, features)
    graph = graph.with_data({weights: data})
    coded = encode_all(graph, {weights: "huffman"})
    inputs = np.random.default_rng(0).integers(-128, 128, (10, features)).astype(np.int8)
    outputs = tflm.run(serialize(graph), inputs)
    assert len(np.unique(outputs)) > 5
    assert np.array_equal(tflm.run(serialize(insert_decode(graph, coded)), inputs), outputs)


def by_channel(graph: Graph, tensor: int, symbols: int, rng: np.random.Generator) -> Symbols:
    """A codebook of random values for each channel, and random indices."""
    of = graph.tensors[tensor]
    inner = 1 if of.quantization.axis == 3 else of.size // of.shape[0]
    groups = of.shape[of.quantization.axis]
    values = rng.integers(0, 256, (groups, symbols)).astype(np.uint8)
    indices = rng.permutation(np.resize(np.arange(symbols), of.size)).astype(np.uint8)
    return Symbols(indices=indices, values=values, zero=-1, zero_byte=128, inner=inner)


@pytest.mark.parametrize("coding", ["packed", "mask"])
def test_the_interpreter_reads_a_table_for_each_channel(coding: str) -> None:
    """Dense, convolution and depthwise layers, on both axes, of all widths of indices."""
    need_tflm()
    rng = np.random.default_rng(3)
    counts = [2, 3, 4, 5, 8, 9, 16, 17, 32, 60, 100, 128]
    shapes = [("dense", 7, 0), ("conv", 6, 3), ("depthwise", 4, 5)]
    fields = {"per_channel": True, "coding": coding, "symbols": 9, "skew": 0.0}
    made = [(Weights(kind=k, channels=c + n % 3, size=s, **fields), n) for n in counts for k, c, s in shapes]
    graph, tensors = network([weights for weights, _ in made], 1)
    pairs = zip(tensors, made, strict=True)
    symbols = {t: by_channel(graph, t, min(n, graph.tensors[t].size), rng) for t, (_, n) in pairs}
    codes = {t: (one.raw_bytes ^ np.uint8(128)).view(np.int8) for t, one in symbols.items()}
    graph = graph.with_data({t: code.reshape(graph.tensors[t].shape) for t, code in codes.items()})
    encoded = {t: in_file(encode(one, coding)) for t, one in symbols.items()}
    inputs = np.random.default_rng(2).integers(-128, 128, (6, *SIDES, CHANNELS)).astype(np.int8)
    outputs = tflm.run(serialize(graph), inputs)
    assert (outputs != outputs[:1]).any(axis=0).mean() > 0.6
    assert np.array_equal(tflm.run(serialize(insert_decode(graph, encoded), short_zero_points=True), inputs), outputs)
