"""Exact bytes of every coding, from counts alone, and the streams that have exactly these bytes."""

from dataclasses import dataclass

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.packing import bits, huffman
from bqsearch.types import Bytes, Ints

UNAVAILABLE = np.iinfo(np.int64).max // 4  # bytes of a coding that cannot hold the alphabet


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of many index histograms under each coding, `(n,)` int64 each.

    Attributes:
        raw: One byte a weight; no table.
        packed: Codebook and n-bit indices.
        huffman_stream: Bits of the code, padded to a byte.
        huffman_table: Codeword counts and codebook.
        symbols: Distinct values.
    """

    raw: Ints
    packed: Ints
    huffman_stream: Ints
    huffman_table: Ints
    symbols: Ints

    def bytes_of(self, coding: str) -> Ints:
        """Stream and table under a coding."""
        return {"raw": self.raw, "packed": self.packed, "huffman": self.huffman_stream + self.huffman_table}[coding]


def sizes(counts: Ints) -> Sizes:
    """Sizes for `(n, k)` int64 occurrences of each symbol.

    A packed alphabet has at most 128 symbols (7 bits), a Huffman table at most 255; beyond, the coding is unavailable.
    """
    total, symbols = counts.sum(axis=1), (counts > 0).sum(axis=1)
    widths = np.array([bits.width_of(int(s)) for s in symbols], np.int64)
    packed = symbols + -(-total * widths // 8)
    lengths = huffman.code_lengths(counts)
    stream = -(-(counts * lengths).sum(axis=1) // 8)
    return Sizes(
        raw=total,
        packed=np.where(widths <= 7, packed, UNAVAILABLE),
        huffman_stream=np.where(symbols <= huffman.MAX_SYMBOLS, stream, UNAVAILABLE),
        huffman_table=np.where(symbols <= huffman.MAX_SYMBOLS, huffman.table_bytes(lengths), 0),
        symbols=symbols,
    )


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One tensor as it lies in flash.

    Attributes:
        coding: Which decoder reads it.
        count: Number of weights.
        table: Codebook, and codeword counts for Huffman; empty for raw.
        stream: The weights.
    """

    coding: str
    count: int
    table: bytes
    stream: bytes

    @property
    def nbytes(self) -> int:
        """Table and stream."""
        return len(self.table) + len(self.stream)


def encode(indices: Bytes, values: Bytes, coding: str) -> Coded:
    """Code flat `indices` into `(k,)` uint8 `values`, all of which occur."""
    if coding == "raw":
        return Coded(coding=coding, count=len(indices), table=b"", stream=values[indices].tobytes())
    if coding == "packed":
        stream = bits.pack(indices, bits.width_of(len(values)))
        return Coded(coding=coding, count=len(indices), table=values.tobytes(), stream=stream)
    lengths = huffman.code_lengths(np.bincount(indices, minlength=len(values))[None])[0]
    table = huffman.write_table(lengths, values)
    return Coded(coding=coding, count=len(indices), table=table, stream=huffman.encode(indices, lengths))


def decode(coded: Coded) -> Bytes:
    """The `(count,)` uint8 values that `encode` was given.

    Raises:
        CodecError: Table or stream are malformed, or of another length than `count` weights take.
    """
    if coded.coding == "huffman":
        return huffman.decode(coded.table, coded.stream, coded.count)
    if coded.coding == "packed":
        values = np.frombuffer(coded.table, np.uint8)
        if len(values) > 256:
            raise CodecError(f"a codebook of 8-bit values has at most 256 of them, not {len(values)}")
        indices = bits.unpack(coded.stream, coded.count, bits.width_of(len(values)))
        return bits.look_up(values, indices)
    if coded.coding != "raw" or coded.table:
        raise CodecError(f"no decoder for the coding {coded.coding!r} with a table of {len(coded.table)} B")
    return bits.unpack(coded.stream, coded.count, 8)
