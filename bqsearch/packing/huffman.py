"""Canonical, length-limited Huffman coding of indices.

A table is the number of codewords of each length and the symbols in canonical order (by length, then by index), as in
RFC 1951, section 3.2.2; the symbols are the codebook's values, so that no second table is needed:

    1 byte            length of the longest codeword, L, at most 15
    L bytes           number of codewords of length 1..L
    groups * k bytes  values of the k symbols in canonical order, group after group

Bits are written most significant first and padded with zeros to a byte. With 15 bits at most a decoder holds codewords
and its place among them in 16 bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bqsearch.errors import CodecError
from bqsearch.packing import codebook
from bqsearch.types import Bytes, Ints

MAX_SYMBOLS = 255  # a count of codewords is one byte
MAX_LENGTH = 15
_WINDOW = (1 << MAX_LENGTH) - 1
_ENDLESS = np.iinfo(np.int64).max // 4  # no sum of counts, and no overflow where two are added


def code_lengths(counts: Ints, limit: int | None = MAX_LENGTH) -> Ints:
    """Codeword lengths of optimal prefix codes, many alphabets at once.

    Two-queue construction (van Leeuwen 1976), run in step over the rows; ties take a leaf before a node, which keeps
    the longest codeword as short as can be. Rows whose longest codeword is still beyond the limit are made again by
    package-merge, which is optimal among the codes that keep it.

    Args:
        counts: `(n, k)` int64 occurrences; a symbol that does not occur gets no codeword.
        limit: Of a codeword's bits, `2**limit >= k`; None for no limit.

    Returns:
        `(n, k)` int64 lengths in bits, 0 for symbols that do not occur. A lone symbol gets one bit.
    """
    order = np.argsort(np.where(counts > 0, counts, _ENDLESS), axis=1, kind="stable")
    leaves = np.take_along_axis(counts, order, axis=1)
    depths = _depths(leaves)
    if limit is not None:
        deep = np.flatnonzero(depths.max(axis=1, initial=0) > limit)
        depths[deep] = _package_merge(leaves[deep], limit)
    lengths = np.zeros(counts.shape, np.int64)
    np.put_along_axis(lengths, order, depths, axis=1)
    alone = (counts > 0).sum(axis=1) == 1
    lengths[alone] = (counts[alone] > 0).astype(np.int64)
    return lengths


def _depths(leaves: Ints) -> Ints:
    """Depths in the Huffman trees over rows of ascending counts, whose zeros stand at the end, `(n, k)`."""
    rows, symbols = leaves.shape
    parents = _merge(leaves)
    depth = np.zeros(parents.shape, np.int64)
    for node in range(parents.shape[1] - 2, -1, -1):
        parent = parents[:, node]
        depth[:, node] = np.where(parent >= 0, depth[np.arange(rows), parent] + 1, 0)
    return depth[:, :symbols]


def _package_merge(leaves: Ints, limit: int) -> Ints:
    """Depths in the cheapest trees no deeper than `limit`, `(n, k)`, over rows as in `_depths`.

    Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", J. ACM 37(3), 1990: of the
    cheapest `2m - 2` leaves and packages of the last level, those that are leaves lengthen their codewords by a bit,
    and those that are packages are as many pairs of the level before.
    """
    symbols, used = leaves.shape[1], (leaves > 0).sum(axis=1)
    coins = np.where(leaves > 0, leaves, _ENDLESS)
    merged = coins
    levels: list[NDArray[np.bool_]] = [np.ones(coins.shape, np.bool_)]
    for _ in range(limit - 1):
        even = merged.shape[1] // 2 * 2
        packages = np.minimum(merged[:, 0:even:2] + merged[:, 1:even:2], _ENDLESS)
        both = np.concatenate([coins, packages], axis=1)
        order = np.argsort(both, axis=1, kind="stable")
        merged = np.take_along_axis(both, order, axis=1)
        levels.append(order < symbols)
    depths, taken = np.zeros(leaves.shape, np.int64), 2 * used - 2
    for is_leaf in reversed(levels):
        chosen = (is_leaf & (np.arange(is_leaf.shape[1]) < taken[:, None])).sum(axis=1)
        depths += np.arange(symbols) < chosen[:, None]
        taken = 2 * (taken - chosen)
    return depths


def _merge(leaves: Ints) -> Ints:
    """Parents in the Huffman trees over rows of ascending counts, whose zeros stand at the end.

    Returns:
        `(n, 2k)` int64 node indices; nodes below k are leaves, node k + j is the j-th merge; -1 has no parent.
    """
    rows, symbols = leaves.shape
    used = (leaves > 0).sum(axis=1)
    queue = np.full((rows, 2 * symbols + 2), _ENDLESS, np.int64)
    queue[:, :symbols] = np.where(leaves > 0, leaves, _ENDLESS)
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


def table_bytes(lengths: Ints, groups: int = 1) -> Ints:
    """Bytes of the table for each row of `lengths`, `(n, k)`."""
    return 1 + lengths.max(axis=1, initial=0) + groups * (lengths > 0).sum(axis=1)


def stream_bytes(counts: Ints, lengths: Ints) -> Ints:
    """Bytes of the stream for each row of occurrences and codeword lengths, `(n, k)` both."""
    return -(-(counts * lengths).sum(axis=1) // 8)


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
    """Symbols that have a codeword, by length and then by index."""
    order = np.lexsort((np.arange(len(lengths)), lengths))
    return order[lengths[order] > 0].astype(np.int64)


def bits_of(indices: Bytes, lengths: Ints) -> tuple[Ints, Ints]:
    """Codewords of flat indices under `(k,)` lengths: values of their bits and their lengths, `(count,)` both."""
    return codewords(lengths)[indices], lengths[indices]


def write(codes: Ints, sizes: Ints) -> bytes:
    """The bit stream of codewords: their bits' values and their lengths, `(count,)` both."""
    starts = np.cumsum(sizes) - sizes
    bits = np.zeros(int(sizes.sum()), np.uint8)
    for position in range(int(sizes.max(initial=0))):
        reaching = sizes > position
        shift = sizes[reaching] - 1 - position
        bits[starts[reaching] + position] = (codes[reaching] >> shift) & 1
    return np.packbits(bits).tobytes()


def encode(indices: Bytes, lengths: Ints) -> bytes:
    """The bit stream of flat indices under `(k,)` codeword lengths."""
    return write(*bits_of(indices, lengths))


def write_table(lengths: Ints, values: Bytes) -> bytes:
    """The table: codewords for each length, and `(groups, k)` values (as raw bytes) in canonical order.

    Raises:
        CodecError: More symbols occur than a table can count.
    """
    order = canonical_order(lengths)
    if len(order) > MAX_SYMBOLS:
        raise CodecError(f"a Huffman table holds at most {MAX_SYMBOLS} symbols, not {len(order)}")
    longest = int(lengths.max(initial=0))
    counts = np.bincount(lengths[order], minlength=longest + 1)[1:]
    return bytes([longest]) + counts.astype(np.uint8).tobytes() + values[:, order].astype(np.uint8).tobytes()


@dataclass(frozen=True, kw_only=True, eq=False)
class Code:
    """A table as a decoder uses it.

    Attributes:
        values: `(groups, k)` raw bytes in canonical order.
        ranks: Place in that order of the codeword that each window of `MAX_LENGTH` bits begins with.
        lengths: That codeword's bits; 0 where a window begins none.
    """

    values: Bytes
    ranks: list[int]
    lengths: list[int]


def read_table(table: bytes, groups: int = 1) -> tuple[Code, bytes]:
    """The code of a table, and the bytes behind it.

    Raises:
        CodecError: Codewords are too long, bytes are missing, or the counts do not make a complete prefix code.
    """
    longest = table[0] if table else 0
    if longest > MAX_LENGTH:
        raise CodecError(f"codewords of {longest} bits: at most {MAX_LENGTH} are allowed")
    counts = np.frombuffer(table[1 : 1 + longest], np.uint8).astype(np.int64)
    lengths = np.repeat(np.arange(1, len(counts) + 1), counts)
    end = 1 + longest + groups * len(lengths)
    if len(table) < end:
        raise CodecError(f"a Huffman table of {len(table)} B is cut off: its codewords need {end} B")
    spans = 1 << (MAX_LENGTH - lengths)
    if spans.sum() != (0, 1 << MAX_LENGTH - 1, 1 << MAX_LENGTH)[min(len(lengths), 2)]:
        raise CodecError(f"codewords of {lengths.tolist()} bits do not make a complete prefix code")
    ranks, advance = np.zeros(1 << MAX_LENGTH, np.int64), np.zeros(1 << MAX_LENGTH, np.int64)
    filled = int(spans.sum())  # canonical codewords ascend, so the spans lie end to end
    ranks[:filled], advance[:filled] = np.repeat(np.arange(len(lengths)), spans), np.repeat(lengths, spans)
    values = codebook.read(table[1 + longest : end], groups)
    return Code(values=values, ranks=ranks.tolist(), lengths=advance.tolist()), table[end:]


class Reader:
    """Codewords of a stream, one after the other."""

    def __init__(self, stream: bytes) -> None:
        self._padded, self._end, self._position = stream + bytes(3), 8 * len(stream), 0

    def next(self, code: Code) -> int:
        """The rank of the next codeword, which may be of another code than the last one's.

        Raises:
            CodecError: The stream ends, or its next bits begin no codeword.
        """
        byte, bit = divmod(self._position, 8)
        window = int.from_bytes(self._padded[byte : byte + 3], "big") >> (24 - MAX_LENGTH - bit) & _WINDOW
        length = code.lengths[window]
        if self._position + max(length, 1) > self._end:
            raise CodecError(f"the stream of {self._end // 8} B ends before its last codeword")
        if length == 0:
            raise CodecError(f"the bits at position {self._position} begin no codeword")
        self._position += length
        return code.ranks[window]

    def close(self) -> None:
        """Check that the stream ends here, but for the bits that fill its last byte.

        Raises:
            CodecError: Bytes are left over.
        """
        if self._position <= self._end - 8:
            raise CodecError(f"the codewords take {self._position} bits, but the stream has {self._end}")


def decode(table: bytes, stream: bytes, count: int, groups: int = 1, inner: int = 1) -> Bytes:
    """The `count` values that `encode` wrote, `(count,)` raw bytes.

    Raises:
        CodecError: The table is malformed, or the stream ends early, goes on after the end or leaves the code.
    """
    code, rest = read_table(table, groups)
    if rest:
        raise CodecError(f"{len(rest)} B are left over behind a Huffman table")
    if count > 8 * len(stream):
        raise CodecError(f"{count} codewords need {count} bits or more: the stream of {len(stream)} B ends before")
    reader = Reader(stream)
    ranks = np.fromiter((reader.next(code) for _ in range(count)), np.uint8, count)
    reader.close()
    return codebook.look_up(code.values, ranks, np.arange(count), inner)
