"""The container of TensorFlow Lite Micro: streams and ancillary bytes of its operator `TFLM_DECODE`, version 1.

    packed    LUT: n-bit indices, and a table of values that all channels share
    huffman   codewords and two-byte table entries, below
    mask      pruning: a bit for each weight, and the weights that are not zero

Ancillary bytes begin with a header of 16: type, version 1, two reserved bytes, and 12 for the type. Bits go most
significant first. (tensorflow/tflite-micro: `kernels/decode_state*.h`, and "TFLM DECODE Operator Design", May 2025.)

The Huffman decoder looks up a window of bits in a table: an entry is either a symbol with the bits that its codeword
takes of the window (the rest is put back), or the place of the next table and its window's width. Here each table
begins at one of a few *cuts*, depths of the canonical code tree, and its window reaches to the next one; the cuts are
those of the fewest entries in all, found by dynamic programming over the depths.
"""

from itertools import pairwise

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.packing import bits, huffman
from bqsearch.packing.container import UNAVAILABLE, Coded, Container, Sizes
from bqsearch.types import Bytes, Ints

HEADER = 16
LUT, HUFFMAN, PRUNE = 0, 1, 2
KINDS = {"packed": LUT, "huffman": HUFFMAN, "mask": PRUNE}
MAX_WINDOW = 15  # bits: what an entry can say of a codeword's part in its window
_SHARED_TABLE = 15  # the LUT's axis field; with a stride of 0 all channels read one table
_FOUND, _COUNT_SHIFT, _VALUE_MASK = 0x8000, 11, 0x07FF
_WORD = 4  # the Huffman decoder reads 32 bits at a time


def sizes(counts: Ints, zero: int) -> Sizes:
    """A packed alphabet has at most 128 symbols (7 bits)."""
    total, symbols = counts.sum(axis=1), (counts > 0).sum(axis=1)
    widths = np.maximum([bits.width_of(int(s)) for s in symbols], 1)
    lengths = huffman.code_lengths(counts)
    entries, _ = _smallest(_internal_nodes(lengths))
    kept = total - counts[:, zero]
    return Sizes(
        stream={
            "raw": total,
            "packed": np.where(widths <= 7, -(-total * widths // 8), UNAVAILABLE),
            "huffman": _stream_bytes((counts * lengths).sum(axis=1)),
            "mask": -(-total // 8),
        },
        table={
            "raw": np.zeros_like(total),
            "packed": HEADER + symbols,
            "huffman": HEADER + 2 * entries,
            "mask": HEADER + kept,
        },
        symbols=symbols,
    )


def encode(indices: Bytes, values: Bytes, coding: str, zero: int) -> Coded:
    """Code flat `indices` into `(k,)` uint8 `values` (int8 codes, counted from -128), all of which occur."""
    codes = (values ^ np.uint8(128))[indices]
    if coding == "raw":
        return Coded(coding=coding, count=len(indices), table=b"", stream=codes.tobytes())
    if coding == "mask":
        kept = values[indices] != zero
        return _coded(coding, indices, _header(PRUNE), codes[kept].tobytes(), np.packbits(kept).tobytes())
    if coding == "packed":
        width = max(bits.width_of(len(values)), 1)
        header = _header(LUT, _SHARED_TABLE << 4 | width)
        return _coded(coding, indices, header, (values ^ np.uint8(128)).tobytes(), bits.pack(indices, width))
    lengths = huffman.code_lengths(np.bincount(indices, minlength=len(values))[None])
    nodes = _internal_nodes(lengths)
    cuts = _cuts(_smallest(nodes)[1][0], nodes[0])
    header = _header(HUFFMAN, (cuts[1] - 1) << 4)
    table = _huffman_table(lengths[0], values ^ np.uint8(128), cuts, nodes[0])
    stream = huffman.encode(indices, lengths[0])
    padded = int(_stream_bytes(np.array([(lengths[0][indices]).sum()]))[0])
    return _coded(coding, indices, header, table.astype("<u2").tobytes(), stream.ljust(padded, b"\0"))


def decode(coded: Coded, zero: int) -> Bytes:
    """The `(count,)` uint8 values that `encode` was given.

    Raises:
        CodecError: Header, table or stream are malformed.
    """
    if coded.coding == "raw" and not coded.table:
        return bits.unpack(coded.stream, coded.count, 8) ^ np.uint8(128)
    header = coded.table[:HEADER]
    if coded.coding not in KINDS or len(header) < HEADER or header[0] != KINDS[coded.coding] or header[1] != 1:
        raise CodecError(f"no decoder for the coding {coded.coding!r} with the header {header.hex()}")
    body = coded.table[HEADER:]
    if coded.coding == "packed":
        indices = bits.unpack(coded.stream, coded.count, header[5] & 7)
        return bits.look_up(np.frombuffer(body, np.uint8), indices) ^ np.uint8(128)
    if coded.coding == "mask":
        return _unmask(coded, body, zero)
    if len(body) % 2:
        raise CodecError(f"a Huffman table has entries of 2 B, not {len(body)} B in all")
    return _decode_huffman(coded, np.frombuffer(body, "<u2").astype(np.int64), (header[5] >> 4) + 1)


DECODE_OPERATOR = Container(
    name="tflm",
    codings=("raw", "packed", "huffman", "mask"),
    by_channel=False,
    sizes=sizes,
    encode=encode,
    decode=decode,
)


def _header(kind: int, parameters: int = 0) -> bytes:
    return bytes([kind, 1, 0, 0, 1, parameters]).ljust(HEADER, b"\0")


def _coded(coding: str, indices: Bytes, header: bytes, table: bytes, stream: bytes) -> Coded:
    return Coded(coding=coding, count=len(indices), table=header + table, stream=stream)


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
    alone = leaves.sum(axis=1) == 1
    nodes[alone, 1:] = 0
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


def _decode_huffman(coded: Coded, table: Ints, window: int) -> Bytes:
    """As the runtime does, step by step."""
    if len(coded.stream) % _WORD:
        raise CodecError(f"a Huffman stream has whole words of {_WORD} B, not {len(coded.stream)} B")
    stream, end = int.from_bytes(coded.stream, "big"), 8 * len(coded.stream)
    values = np.empty(coded.count, np.uint8)
    position = 0
    for index in range(coded.count):
        width, place = window, 0
        while True:
            if position + width > end:
                raise CodecError(f"the stream of {len(coded.stream)} B ends after {index} of {coded.count} symbols")
            place += stream >> end - position - width & (1 << width) - 1
            if place >= len(table):
                raise CodecError(f"entry {place} is outside of a table of {len(table)} entries")
            entry = int(table[place])
            count = entry >> _COUNT_SHIFT & 15
            if entry & _FOUND:
                break
            position += width
            place, width = place + (entry & _VALUE_MASK), count + 1
        position += count
        values[index] = entry & 0xFF
    return values ^ np.uint8(128)


def _unmask(coded: Coded, kept: bytes, zero: int) -> Bytes:
    flags = bits.unpack(coded.stream, coded.count, 1).astype(bool)
    if flags.sum() != len(kept):
        raise CodecError(f"the mask keeps {flags.sum()} weights, but {len(kept)} are there")
    values = np.full(coded.count, zero, np.uint8)
    values[flags] = np.frombuffer(kept, np.uint8) ^ np.uint8(128)
    return values
