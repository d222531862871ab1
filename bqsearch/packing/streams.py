"""The container of bqsearch's own runtime: streams that are decoded weight by weight, output channel by channel.

Bits go most significant first, and the last byte is filled with zeros. The record of a layer says the number of
weights, the codebooks (`groups`, and `inner` weights in a row that share one), the zero byte and the lengths of table
and stream; all else stands here, with k symbols in a codebook:

    raw      stream  a byte for each weight
    packed   table   groups * k values
             stream  an index of ceil(log2 k) bits for each weight
    huffman  table   a Huffman table, see `huffman`
             stream  a codeword for each weight
    mask     table   groups * (k - 1) values, those of all symbols but zero
             stream  a bit for each weight, 1 where its symbol is not zero, and zeros that fill the byte; then an index
                     of ceil(log2 (k - 1)) bits for each 1
    sparse   table   a Huffman table of gap symbols (one group), and one of the values of all symbols but zero
             stream  a codeword for a gap, one for a value, and so on: see `sparse`

A decoder keeps a position in the stream and checks it before each read, so that whatever bytes it meets, it reads none
behind them and writes no weight beyond the last.
"""

from collections.abc import Callable, Mapping

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.packing import bits, codebook, huffman, sparse
from bqsearch.packing.container import UNAVAILABLE, Coded, Container, Sizes, Symbols, Tally, too_many
from bqsearch.types import Bytes


def sizes(tally: Tally) -> Sizes:
    """A packed alphabet has at most 128 symbols (7 bits), a Huffman table at most 255.

    `sparse` needs a symbol for zero and the gaps of the others.
    """
    total, symbols = tally.counts.sum(axis=1), tally.symbols
    lengths = huffman.code_lengths(tally.counts)
    countable = (lengths > 0).sum(axis=1) <= huffman.MAX_SYMBOLS
    kept, others = tally.nonzero, tally.nonzero_symbols
    sparse_stream, sparse_table = sparse.sizes(tally)
    packed = bits.packed_sizes(total, bits.widths_of(symbols))
    return Sizes(
        stream={
            "raw": total,
            "packed": np.where(symbols <= bits.MOST_PACKED, packed, UNAVAILABLE),
            "huffman": np.where(countable, huffman.stream_bytes(tally.counts, lengths), UNAVAILABLE),
            "mask": -(-total // 8) + bits.packed_sizes(kept, bits.widths_of(others)),
            "sparse": sparse_stream,
        },
        table={
            "raw": np.zeros_like(total),
            "packed": tally.groups * symbols,
            "huffman": np.where(countable, huffman.table_bytes(lengths, tally.groups), 0),
            "mask": tally.groups * others,
            "sparse": sparse_table,
        },
    )


def refusal(tally: Tally, coding: str) -> str:
    """Why a coding cannot hold the one tensor of a tally, and the cure."""
    if coding == "sparse" and tally.zero[0] < 0:
        return "no symbol of theirs stands for zero: prune some of them"
    if coding == "sparse":
        total = int(tally.counts.sum())
        return f"{total - tally.nonzero[0]} of {total} are zero, too few to code the gaps: prune more of them"
    return too_many(tally, bits.MOST_PACKED if coding == "packed" else huffman.MAX_SYMBOLS)


def encode(symbols: Symbols, coding: str) -> Coded:
    """What lies in flash.

    Raises:
        CodecError: The coding cannot hold so many symbols.
    """
    table, stream = _ENCODERS[coding](symbols)
    return symbols.coded(coding, table, stream)


def decode(coded: Coded) -> Bytes:
    """The `(count,)` raw bytes that `encode` was given.

    Raises:
        CodecError: Table or stream are malformed, or of another length than `count` weights take.
    """
    coded.check()
    if coded.coding not in _DECODERS:
        raise CodecError(f"no decoder for the coding {coded.coding!r}; known: {', '.join(_DECODERS)}")
    return _DECODERS[coded.coding](coded)


def _encode_raw(symbols: Symbols) -> tuple[bytes, bytes]:
    return b"", symbols.raw_bytes.tobytes()


def _decode_raw(coded: Coded) -> Bytes:
    if coded.table:
        raise CodecError(f"raw weights have no table, not one of {len(coded.table)} B")
    return bits.unpack(coded.stream, coded.count, 8)


def _encode_packed(symbols: Symbols) -> tuple[bytes, bytes]:
    values = symbols.codebooks
    if values.shape[1] > bits.MOST_PACKED:
        raise CodecError(f"packed indices reach {bits.MOST_PACKED} symbols, not {values.shape[1]}")
    return values.tobytes(), bits.pack(symbols.indices, bits.width_of(values.shape[1]))


def _decode_packed(coded: Coded) -> Bytes:
    values = codebook.read(coded.table, coded.groups)
    indices = bits.unpack(coded.stream, coded.count, bits.width_of(values.shape[1]))
    return codebook.look_up(values, indices, np.arange(coded.count), coded.inner)


def _encode_huffman(symbols: Symbols) -> tuple[bytes, bytes]:
    values = symbols.codebooks
    lengths = huffman.code_lengths(np.bincount(symbols.indices, minlength=values.shape[1])[None])[0]
    return huffman.write_table(lengths, values), huffman.encode(symbols.indices, lengths)


def _decode_huffman(coded: Coded) -> Bytes:
    return huffman.decode(coded.table, coded.stream, coded.count, coded.groups, coded.inner)


def _encode_mask(symbols: Symbols) -> tuple[bytes, bytes]:
    values, kept = codebook.without(symbols.codebooks, symbols.indices, symbols.zero)
    flags = np.packbits(symbols.indices != symbols.zero).tobytes()
    return values.tobytes(), flags + bits.pack(kept, bits.width_of(values.shape[1]))


def _decode_mask(coded: Coded) -> Bytes:
    values = codebook.read(coded.table, coded.groups)
    split = bits.packed_bytes(coded.count, 1)
    places = np.flatnonzero(bits.unpack(coded.stream[:split], coded.count, 1))
    indices = bits.unpack(coded.stream[split:], len(places), bits.width_of(values.shape[1]))
    decoded = np.full(coded.count, coded.zero_byte, np.uint8)
    decoded[places] = codebook.look_up(values, indices, places, coded.inner)
    return decoded


_ENCODERS: Mapping[str, Callable[[Symbols], tuple[bytes, bytes]]] = {
    "raw": _encode_raw,
    "packed": _encode_packed,
    "huffman": _encode_huffman,
    "mask": _encode_mask,
    "sparse": sparse.encode,
}
_DECODERS: Mapping[str, Callable[[Coded], Bytes]] = {
    "raw": _decode_raw,
    "packed": _decode_packed,
    "huffman": _decode_huffman,
    "mask": _decode_mask,
    "sparse": sparse.decode,
}

STREAMS = Container(
    name="bqsearch",
    codings=tuple(_ENCODERS),
    placements=("flash", "ram"),
    by_channel=True,
    sizes=sizes,
    refusal=refusal,
    encode=encode,
    decode=decode,
)
