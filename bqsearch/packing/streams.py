"""The container of bqsearch's own runtime: raw bytes, n-bit indices with a codebook, or canonical Huffman codes."""

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.packing import bits, huffman
from bqsearch.packing.container import UNAVAILABLE, Coded, Container, Sizes
from bqsearch.types import Bytes, Ints


def sizes(counts: Ints, zero: int) -> Sizes:
    """A packed alphabet has at most 128 symbols (7 bits), a Huffman table at most 255."""
    del zero
    total, symbols = counts.sum(axis=1), (counts > 0).sum(axis=1)
    widths = np.array([bits.width_of(int(s)) for s in symbols], np.int64)
    lengths = huffman.code_lengths(counts)
    coded = -(-(counts * lengths).sum(axis=1) // 8)
    countable = symbols <= huffman.MAX_SYMBOLS
    return Sizes(
        stream={
            "raw": total,
            "packed": np.where(widths <= 7, -(-total * widths // 8), UNAVAILABLE),
            "huffman": np.where(countable, coded, UNAVAILABLE),
        },
        table={
            "raw": np.zeros_like(total),
            "packed": symbols,
            "huffman": np.where(countable, huffman.table_bytes(lengths), 0),
        },
        symbols=symbols,
    )


def encode(indices: Bytes, values: Bytes, coding: str, zero: int) -> Coded:
    """Code flat `indices` into `(k,)` uint8 `values`, all of which occur."""
    del zero
    if coding == "raw":
        return Coded(coding=coding, count=len(indices), table=b"", stream=values[indices].tobytes())
    if coding == "packed":
        stream = bits.pack(indices, bits.width_of(len(values)))
        return Coded(coding=coding, count=len(indices), table=values.tobytes(), stream=stream)
    lengths = huffman.code_lengths(np.bincount(indices, minlength=len(values))[None])[0]
    table = huffman.write_table(lengths, values)
    return Coded(coding=coding, count=len(indices), table=table, stream=huffman.encode(indices, lengths))


def decode(coded: Coded, zero: int) -> Bytes:
    """The `(count,)` uint8 values that `encode` was given.

    Raises:
        CodecError: Table or stream are malformed, or of another length than `count` weights take.
    """
    del zero
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


STREAMS = Container(
    name="bqsearch", codings=("raw", "packed", "huffman"), by_channel=True, sizes=sizes, encode=encode, decode=decode
)
