"""The container of TensorFlow Lite Micro: streams and ancillary bytes of its operator `TFLM_DECODE`, version 1.

    packed    LUT: n-bit indices, and a table of values that all channels share, or one for each channel
    huffman   codewords and two-byte table entries, below
    mask      pruning: a bit for each weight, and the weights that are not zero

A table for each channel says the channels' axis (0, or 3 where they change from weight to weight) and its own length as
the stride. The interpreter of August 2026 does not read the axis: it takes channels and axis from the tensor's
quantization, which has to be per channel therefore (tflite-micro issue 3685).

Ancillary bytes begin with a header of 16: type, version 1, two reserved bytes, and 12 for the type. Bits go most
significant first. (tensorflow/tflite-micro: `kernels/decode_state*.h`, and "TFLM DECODE Operator Design", May 2025.)

The Huffman decoder looks up a window of bits in a table: an entry is either a symbol with the bits that its codeword
takes of the window (the rest is put back), or the place of the next table and its window's width. Here each table
begins at one of a few *cuts*, depths of the canonical code tree, and its window reaches to the next one; the cuts are
those of the fewest entries in all, found by dynamic programming over the depths.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.packing import bits, codebook, huffman
from bqsearch.packing.container import UNAVAILABLE, Coded, Container, Sizes, Symbols, Tally, too_many
from bqsearch.types import Bytes, Ints

HEADER = 16
LUT, HUFFMAN, PRUNE = 0, 1, 2
KINDS = {"packed": LUT, "huffman": HUFFMAN, "mask": PRUNE}
MAX_WINDOW = 15  # bits: what an entry can say of a codeword's part in its window
_SHARED_TABLE = 15  # the LUT's axis field; with a stride of 0 all channels read one table
_LAST_AXIS = 3  # of a depthwise convolution's weights, whose channels change from weight to weight
_FOUND, _COUNT_SHIFT, _VALUE_MASK = 0x8000, 11, 0x07FF
_WORD = 4  # the Huffman decoder reads 32 bits at a time
_SIGN = np.uint8(128)  # int8 codes lie in memory as they are, and raw bytes are counted from -128


def sizes(tally: Tally) -> Sizes:
    """A packed alphabet has at most 128 symbols (7 bits). Many codebooks can be packed or masked, not Huffman-coded.

    Codebooks that serve a weight each cannot be packed: on which axis they lie is open, and they make nothing smaller.
    Nor can those of a tensor without a scale for each: the interpreter would read one for all (see above).
    """
    total, symbols = tally.counts.sum(axis=1), tally.symbols
    widths = np.maximum(bits.widths_of(symbols), 1)
    packable = (symbols <= bits.MOST_PACKED) & ((tally.groups == 1) | (tally.scaled & (total > tally.groups)))
    huffman_stream, huffman_table = _huffman_sizes(tally)
    return Sizes(
        stream={
            "raw": total,
            "packed": np.where(packable, bits.packed_sizes(total, widths), UNAVAILABLE),
            "huffman": huffman_stream,
            "mask": -(-total // 8),
        },
        table={
            "raw": np.zeros_like(total),
            "packed": HEADER + tally.groups * symbols,
            "huffman": huffman_table,
            "mask": HEADER + tally.nonzero,
        },
    )


def refusal(tally: Tally, coding: str) -> str:
    """Why a coding cannot hold the one tensor of a tally, and the cure."""
    one = "choose a scheme with one codebook for all"
    if coding == "huffman":
        return f"a Huffman table serves all of them, and every channel has a codebook of its own: {one}, or packed"
    if tally.symbols[0] > bits.MOST_PACKED:
        return too_many(tally, bits.MOST_PACKED)
    if tally.scaled:
        return f"every channel has a codebook of its own, and only one weight: {one}"
    return (
        "every channel has a codebook of its own, which TensorFlow Lite Micro finds only where the tensor has a scale "
        f"for each channel, and this one has a single scale: {one}, or a model quantized per channel"
    )


def _huffman_sizes(tally: Tally) -> tuple[Ints, Ints]:
    rows = len(tally.counts)
    if tally.groups > 1:
        return np.full(rows, UNAVAILABLE), np.zeros(rows, np.int64)
    lengths = huffman.code_lengths(tally.counts, limit=None)
    entries, _ = _smallest(_internal_nodes(lengths))
    return _stream_bytes((tally.counts * lengths).sum(axis=1)), HEADER + 2 * entries


def encode(symbols: Symbols, coding: str) -> Coded:
    """What lies in flash, the values as int8 codes.

    Raises:
        CodecError: The coding cannot hold these symbols.
    """
    table, stream = _ENCODERS[coding](symbols)
    return symbols.coded(coding, table, stream)


def decode(coded: Coded) -> Bytes:
    """The `(count,)` raw bytes that `encode` was given.

    Raises:
        CodecError: Header, table or stream are malformed.
    """
    coded.check()
    if coded.coding == "raw" and not coded.table:
        return bits.unpack(coded.stream, coded.count, 8) ^ _SIGN
    header = coded.table[:HEADER]
    if coded.coding not in KINDS or len(header) < HEADER or header[0] != KINDS[coded.coding] or header[1] != 1:
        raise CodecError(f"no decoder for the coding {coded.coding!r} with the header {header.hex()}")
    return _DECODERS[coded.coding](coded, header, coded.table[HEADER:]) ^ _SIGN


def _header(kind: int, parameters: int = 0, stride: int = 0) -> bytes:
    return bytes([kind, 1, 0, 0, 1, parameters, stride]).ljust(HEADER, b"\0")


def _encode_raw(symbols: Symbols) -> tuple[bytes, bytes]:
    return b"", (symbols.raw_bytes ^ _SIGN).tobytes()


def _encode_mask(symbols: Symbols) -> tuple[bytes, bytes]:
    nonzero = symbols.indices != symbols.zero
    kept = (symbols.raw_bytes ^ _SIGN)[nonzero].tobytes()
    return _header(PRUNE) + kept, np.packbits(nonzero).tobytes()


def _decode_mask(coded: Coded, header: bytes, kept: bytes) -> Bytes:
    del header
    flags = bits.unpack(coded.stream, coded.count, 1).astype(bool)
    if flags.sum() != len(kept):
        raise CodecError(f"the mask keeps {flags.sum()} weights, but {len(kept)} are there")
    values = np.full(coded.count, coded.zero_byte, np.uint8) ^ _SIGN
    values[flags] = np.frombuffer(kept, np.uint8)
    return values


def _encode_packed(symbols: Symbols) -> tuple[bytes, bytes]:
    values = symbols.codebooks ^ _SIGN
    if values.shape[1] > bits.MOST_PACKED or len(symbols.indices) <= symbols.groups > 1:
        raise CodecError(
            f"a table has at most {bits.MOST_PACKED} values and serves several weights: not {values.shape[1]} values in"
            f" {symbols.groups} tables for {len(symbols.indices)} weights"
        )
    width = max(bits.width_of(values.shape[1]), 1)
    axis, stride = _axis_and_stride(symbols.groups, symbols.inner, values.shape[1])
    return _header(LUT, axis << 4 | width, stride) + values.tobytes(), bits.pack(symbols.indices, width)


def _decode_packed(coded: Coded, header: bytes, body: bytes) -> Bytes:
    values = codebook.read(body, coded.groups)
    found = (header[5] >> 4, header[6])
    if found != _axis_and_stride(coded.groups, coded.inner, values.shape[1]):
        raise CodecError(f"axis and stride {found} do not fit {coded.groups} tables of {values.shape[1]} values")
    indices = bits.unpack(coded.stream, coded.count, header[5] & 7)
    return codebook.look_up(values, indices, np.arange(coded.count), coded.inner)


def _axis_and_stride(groups: int, inner: int, symbols: int) -> tuple[int, int]:
    """The LUT's fields: which axis of the tensor has the tables, and the bytes from one to the next."""
    if groups == 1:
        return _SHARED_TABLE, 0
    return _LAST_AXIS if inner == 1 else 0, symbols


def _encode_huffman(symbols: Symbols) -> tuple[bytes, bytes]:
    if symbols.groups > 1:
        raise CodecError(f"a Huffman table serves all weights, not {symbols.groups} groups of them")
    values, indices = symbols.codebooks[0] ^ _SIGN, symbols.indices
    lengths = huffman.code_lengths(np.bincount(indices, minlength=len(values))[None], limit=None)
    nodes = _internal_nodes(lengths)
    cuts = _cuts(_smallest(nodes)[1][0], nodes[0])
    table = _huffman_table(lengths[0], values, cuts, nodes[0])
    padded = int(_stream_bytes(np.array([lengths[0][indices].sum()]))[0])
    stream = huffman.encode(indices, lengths[0]).ljust(padded, b"\0")
    return _header(HUFFMAN, (cuts[1] - 1) << 4) + table.astype("<u2").tobytes(), stream


def _stream_bytes(coded_bits: Ints) -> Ints:
    """Whole words, with room for what the last window reads beyond its codeword."""
    return -(-(coded_bits + MAX_WINDOW - 1) // (8 * _WORD)) * _WORD


def _internal_nodes(lengths: Ints) -> Ints:
    """Number of inner nodes at each depth of the code trees, `(n, longest)`, from `(n, k)` codeword lengths."""
    depths = int(lengths.max(initial=1))
    leaves = np.stack([(lengths == depth).sum(axis=1) for depth in range(1, depths + 1)], axis=1)
    nodes = np.ones((len(lengths), depths), np.int64)
    for depth in range(1, depths):
        nodes[:, depth] = np.maximum(2 * nodes[:, depth - 1] - leaves[:, depth - 1], 0)
    few = leaves.sum(axis=1) <= 1
    nodes[few, 1:] = 0
    return nodes


def _smallest(nodes: Ints) -> tuple[Ints, Ints]:
    """Entries of the smallest tables, `(n,)`, and the window that they begin with at each depth, `(n, longest)`."""
    rows, depths = nodes.shape
    entries = np.zeros((rows, depths + 1), np.int64)
    windows = np.zeros((rows, depths), np.int64)
    for depth in range(depths - 1, -1, -1):
        widths = np.arange(1, min(MAX_WINDOW, depths - depth) + 1)
        costs = (nodes[:, depth, None] << widths) + entries[:, depth + widths]
        widest = len(widths) - 1 - np.argmin(costs[:, ::-1], axis=1)  # of equal costs the widest window is the fastest
        entries[:, depth] = costs[np.arange(rows), widest]
        windows[:, depth] = widths[widest]
    return entries[:, 0], windows


def _cuts(windows: Ints, nodes: Ints) -> list[int]:
    """Depths at which one code's tables begin, and the one that the last of them reach to."""
    cuts = [0]
    while cuts[-1] < len(windows) and nodes[cuts[-1]] > 0:
        cuts.append(cuts[-1] + int(windows[cuts[-1]]))
    return cuts


def _huffman_table(lengths: Ints, symbols: Bytes, cuts: list[int], nodes: Ints) -> Ints:
    """All entries: the tables of a cut lie in the order of their prefixes, cut after cut."""
    starts = _table_starts(cuts, nodes)
    entries = np.zeros(sum(len(places) << cuts[i + 1] - cuts[i] for i, places in enumerate(starts)), np.int64)
    for index, (depth, end) in enumerate(pairwise(cuts)):
        for place, start in starts[index].items():
            first = place << end - depth
            for entry in range(1 << end - depth):
                target = starts[index + 1].get(first + entry) if index + 1 < len(starts) else None
                if target is not None:
                    window = cuts[index + 2] - end
                    entries[start + entry] = (window - 1) << _COUNT_SHIFT | (target - start - entry)
    return _with_symbols(entries, lengths, symbols, cuts, starts)


def _table_starts(cuts: list[int], nodes: Ints) -> list[dict[int, int]]:
    """For each cut: the first entry of each table, by the prefix that leads to it. Inner nodes come last at a depth."""
    starts: list[dict[int, int]] = []
    place = 0
    for depth, end in pairwise(cuts):
        count = int(nodes[depth])
        prefixes = range((1 << depth) - count, 1 << depth)
        starts.append({prefix: place + (i << end - depth) for i, prefix in enumerate(prefixes)})
        place += count << end - depth
    return starts


def _with_symbols(entries: Ints, lengths: Ints, symbols: Bytes, cuts: list[int], starts: list[dict[int, int]]) -> Ints:
    """Every window that begins with a codeword's last bits says its symbol."""
    alone = int((lengths > 0).sum()) == 1
    for symbol, codeword in zip(np.flatnonzero(lengths), huffman.codewords(lengths)[lengths > 0], strict=True):
        length = int(lengths[symbol])
        cut = next(i for i, end in enumerate(cuts[1:]) if length <= end)
        depth, end = cuts[cut], cuts[cut + 1]
        part = length - depth
        start = starts[cut][int(codeword) >> part] + ((int(codeword) & (1 << part) - 1) << end - length)
        span = 1 << end - length if not alone else len(entries)
        entries[start : start + span] = _FOUND | part << _COUNT_SHIFT | int(symbols[symbol])
    return entries


def _decode_huffman(coded: Coded, header: bytes, body: bytes) -> Bytes:
    """As the runtime does, step by step."""
    if len(body) % 2:
        raise CodecError(f"a Huffman table has entries of 2 B, not {len(body)} B in all")
    if len(coded.stream) % _WORD:
        raise CodecError(f"a Huffman stream has whole words of {_WORD} B, not {len(coded.stream)} B")
    if coded.groups > 1:
        raise CodecError(f"a Huffman table serves all weights, not {coded.groups} groups of them")
    if coded.count > 8 * len(coded.stream):
        raise CodecError(f"the stream of {len(coded.stream)} B ends before {coded.count} symbols")
    table, first = np.frombuffer(body, "<u2").tolist(), (header[5] >> 4) + 1
    values, position = np.empty(coded.count, np.uint8), 0
    for index in range(coded.count):
        values[index], position = _next_symbol(coded.stream, position, table, first)
    left = 8 * len(coded.stream) - position
    if left < 0 or left >= MAX_WINDOW - 1 + 8 * _WORD:
        raise CodecError(f"{coded.count} symbols take {position} bits, but the stream has {8 * len(coded.stream)}")
    return values


def _next_symbol(stream: bytes, position: int, table: list[int], width: int) -> tuple[int, int]:
    """The symbol at a position, and the position behind its codeword."""
    place = 0
    while True:
        if position + width > 8 * len(stream):
            raise CodecError(f"the stream of {len(stream)} B ends before its last symbol")
        window = int.from_bytes(stream[position // 8 : position // 8 + 3].ljust(3, b"\0"), "big")
        place += window >> 24 - position % 8 - width & (1 << width) - 1
        if place >= len(table):
            raise CodecError(f"entry {place} is outside of a table of {len(table)} entries")
        entry, count = table[place], table[place] >> _COUNT_SHIFT & 15
        if entry & _FOUND:
            return entry & 0xFF, position + count
        position, place, width = position + width, place + (entry & _VALUE_MASK), count + 1


_ENCODERS: Mapping[str, Callable[[Symbols], tuple[bytes, bytes]]] = {
    "raw": _encode_raw,
    "packed": _encode_packed,
    "huffman": _encode_huffman,
    "mask": _encode_mask,
}
_DECODERS: Mapping[str, Callable[[Coded, bytes, bytes], Bytes]] = {
    "packed": _decode_packed,
    "huffman": _decode_huffman,
    "mask": _decode_mask,
}

DECODE_OPERATOR = Container(
    name="tflm",
    codings=tuple(_ENCODERS),
    placements=("flash",),
    by_channel=False,
    sizes=sizes,
    refusal=refusal,
    encode=encode,
    decode=decode,
)
