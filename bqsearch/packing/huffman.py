"""Canonical Huffman coding of indices.

A table is the number of codewords of each length and the symbols in canonical order (by length, then by value), as in
RFC 1951, section 3.2.2; the symbols are the codebook's values, so that no second table is needed:

    1 byte   length of the longest codeword, L
    L bytes  number of codewords of length 1..L
    k bytes  values, in canonical order

Bits are written most significant first and padded with zeros to a byte.
"""

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.types import Bytes, Ints

MAX_SYMBOLS = 255  # a count of codewords is one byte
_WINDOW = 16  # bits that the decoder looks up at once; longer codewords are finished bit by bit


def code_lengths(counts: Ints) -> Ints:
    """Codeword lengths of optimal prefix codes, many alphabets at once.

    Two-queue construction (van Leeuwen 1976), run in step over the rows; ties take a leaf before a node, which keeps
    the longest codeword as short as can be.

    Args:
        counts: `(n, k)` int64 occurrences; a symbol that does not occur gets no codeword.

    Returns:
        `(n, k)` int64 lengths in bits, 0 for symbols that do not occur. A lone symbol gets one bit.
    """
    rows, symbols = counts.shape
    order = np.argsort(np.where(counts > 0, counts, np.iinfo(np.int64).max), axis=1, kind="stable")
    parents = _merge(np.take_along_axis(counts, order, axis=1))
    depth = np.zeros(parents.shape, np.int64)
    for node in range(parents.shape[1] - 2, -1, -1):
        parent = parents[:, node]
        depth[:, node] = np.where(parent >= 0, depth[np.arange(rows), parent] + 1, 0)
    lengths = np.zeros((rows, symbols), np.int64)
    np.put_along_axis(lengths, order, depth[:, :symbols], axis=1)
    alone = (counts > 0).sum(axis=1) == 1
    lengths[alone] = (counts[alone] > 0).astype(np.int64)
    return lengths


def _merge(leaves: Ints) -> Ints:
    """Parents in the Huffman trees over rows of ascending counts, whose zeros stand at the end.

    Returns:
        `(n, 2k)` int64 node indices; nodes below k are leaves, node k + j is the j-th merge; -1 has no parent.
    """
    rows, symbols = leaves.shape
    endless = np.iinfo(np.int64).max // 4
    used = (leaves > 0).sum(axis=1)
    queue = np.full((rows, 2 * symbols + 2), endless, np.int64)
    queue[:, :symbols] = np.where(leaves > 0, leaves, endless)
    parents = np.full((rows, 2 * symbols), -1, np.int64)
    every = np.arange(rows)
    leaf, node = np.zeros(rows, np.int64), np.full(rows, symbols, np.int64)
    for merge in range(int(used.max(initial=0)) - 1):
        active = merge < used - 1
        total = np.zeros(rows, np.int64)
        for _ in range(2):
            leaf_first = (leaf < used) & (queue[every, np.minimum(leaf, symbols)] <= queue[every, node])
            taken = np.where(leaf_first, leaf, node)
            total += queue[every, taken]
            parents[every[active], taken[active]] = symbols + merge
            leaf, node = leaf + (leaf_first & active), node + (~leaf_first & active)
        queue[active, symbols + merge] = total[active]
    return parents


def table_bytes(lengths: Ints) -> Ints:
    """Bytes of the table for each row of `lengths`, `(n, k)`."""
    return 1 + lengths.max(axis=1, initial=0) + (lengths > 0).sum(axis=1)


def codewords(lengths: Ints) -> Ints:
    """Canonical codewords for `(k,)` lengths: the values of their bits, `(k,)` int64."""
    codes = np.zeros(len(lengths), np.int64)
    code, previous = 0, 0
    for symbol in canonical_order(lengths):
        code <<= int(lengths[symbol]) - previous
        previous = int(lengths[symbol])
        codes[symbol] = code
        code += 1
    return codes


def canonical_order(lengths: Ints) -> Ints:
    """Symbols that have a codeword, by length and then by value."""
    order = np.lexsort((np.arange(len(lengths)), lengths))
    return order[lengths[order] > 0].astype(np.int64)


def encode(indices: Bytes, lengths: Ints) -> bytes:
    """The bit stream of flat indices under `(k,)` codeword lengths."""
    size, code = lengths[indices], codewords(lengths)[indices]
    starts = np.cumsum(size) - size
    bits = np.zeros(int(size.sum()), np.uint8)
    for position in range(int(size.max(initial=0))):
        reaching = size > position
        shift = size[reaching] - 1 - position
        bits[starts[reaching] + position] = (code[reaching] >> shift) & 1
    return np.packbits(bits).tobytes()


def write_table(lengths: Ints, values: Bytes) -> bytes:
    """The table: codewords for each length, and `(k,)` values (as raw bytes) in canonical order.

    Raises:
        CodecError: More symbols occur than a table can count.
    """
    order = canonical_order(lengths)
    if len(order) > MAX_SYMBOLS:
        raise CodecError(f"a Huffman table holds at most {MAX_SYMBOLS} symbols, not {len(order)}")
    longest = int(lengths.max(initial=0))
    counts = np.bincount(lengths[order], minlength=longest + 1)[1:]
    return bytes([longest]) + counts.astype(np.uint8).tobytes() + values[order].astype(np.uint8).tobytes()


def decode(table: bytes, stream: bytes, count: int) -> Bytes:
    """The `count` values that `encode` wrote, `(count,)` raw bytes.

    Raises:
        CodecError: The table is malformed, or the stream ends early, goes on after the end or leaves the code.
    """
    counts, values = _read_table(table)
    symbols, advance = _window_table(counts)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))
    padded = np.concatenate([bits, np.zeros(len(counts) + _WINDOW, np.uint8)])
    windows = np.zeros(len(bits) + 1, np.int64)
    for offset in range(_WINDOW):
        windows = (windows << 1) | padded[offset : offset + len(windows)]
    out = np.empty(min(count, len(bits)), np.int64)  # a codeword takes a bit or more
    position = 0
    for index in range(count):
        if position >= len(bits):
            raise CodecError(f"the stream of {len(stream)} B ends after {index} of {count} symbols")
        window = windows[position]
        symbol, length = int(symbols[window]), int(advance[window])
        if length == 0:
            symbol, length = _long_codeword(counts, padded, position)
        out[index], position = symbol, position + length
    if not len(bits) - 8 < position <= len(bits):
        raise CodecError(f"{count} symbols take {position} bits, but the stream has {len(bits)}")
    return values[out]


def _read_table(table: bytes) -> tuple[Ints, Bytes]:
    longest = table[0] if table else 0
    counts = np.frombuffer(table[1 : 1 + longest], np.uint8).astype(np.int64)
    values = np.frombuffer(table[1 + longest :], np.uint8)
    lengths = np.arange(1, longest + 1)
    kraft = float((counts * 0.5 ** lengths[: len(counts)]).sum())
    if len(counts) != longest or counts.sum() != len(values) or kraft > 1 or (len(values) > 1 and kraft < 1):
        raise CodecError(
            f"a Huffman table of {len(table)} B is malformed: its codeword counts do not make a prefix code"
        )
    return counts, values


def _window_table(counts: Ints) -> tuple[Ints, Ints]:
    """For each window of bits: the symbol that it begins with and the codeword's length, 0 if it is longer."""
    lengths = np.repeat(np.arange(1, len(counts) + 1), counts)
    short = np.flatnonzero(lengths <= _WINDOW)
    spans = 1 << (_WINDOW - lengths[short])
    symbol, advance = np.zeros(1 << _WINDOW, np.int64), np.zeros(1 << _WINDOW, np.int64)
    filled = int(spans.sum())  # canonical codewords ascend, so the spans lie end to end
    symbol[:filled], advance[:filled] = np.repeat(short, spans), np.repeat(lengths[short], spans)
    return symbol, advance


def _long_codeword(counts: Ints, bits: Bytes, position: int) -> tuple[int, int]:
    """Canonical decoding bit by bit (RFC 1951): `first` is the first codeword of the length reached."""
    code = first = index = 0
    for length, here in enumerate(counts, start=1):
        code |= int(bits[position + length - 1])
        if code - first < here:
            return index + code - first, length
        index, first, code = index + int(here), (first + int(here)) << 1, code << 1
    raise CodecError(f"the bits at position {position} begin no codeword")
