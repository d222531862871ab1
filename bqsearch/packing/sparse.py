"""Sparse tensors: the gaps between weights that are not zero, and those weights, both as canonical Huffman codes.

A gap symbol g below `MAX_GAP` says: g zeros, and then a weight. `MAX_GAP` says: so many zeros, and no weight yet. The
stream is the codeword of a gap, that of the weight that follows (of a second code), and so on, until all weights of the
tensor are there; zeros at the end are gap symbols, too, the last of which reaches just to the end and has no weight
behind it. So the stream needs no other end, and no number of weights in it:

    place = 0
    while place < count:
        gap = next gap symbol
        place += gap                    an error beyond count
        if gap < MAX_GAP and place < count:
            weight[place] = next value
            place += 1

All other weights are zero. The table is the gaps' Huffman table and, right behind it, the values'.
"""

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.packing import codebook, huffman
from bqsearch.packing.container import MAX_GAP, UNAVAILABLE, Coded, Symbols, Tally, gap_counts, gap_symbols
from bqsearch.types import Bytes, Ints

_GAPS = np.arange(MAX_GAP + 1, dtype=np.uint8)


def sizes(tally: Tally) -> tuple[Ints, Ints]:
    """Bytes of streams and tables, `(n,)` int64 both.

    Unavailable where there is no zero, where gaps are not known or are those of other zeros than the counts have, and
    beyond 255 values besides zero.
    """
    rows = len(tally.counts)
    stream, table = np.full(rows, UNAVAILABLE), np.zeros(rows, np.int64)
    if tally.gaps is None:
        return stream, table
    others = tally.nonzero_counts
    zeros = (tally.gaps * _GAPS).sum(axis=1)
    known = np.flatnonzero(
        (tally.zero >= 0)
        & (zeros == tally.counts.sum(axis=1) - tally.nonzero)
        & ((others > 0).sum(axis=1) <= huffman.MAX_SYMBOLS)
    )
    gaps = np.broadcast_to(tally.gaps, (rows, MAX_GAP + 1))[known] if len(tally.gaps) > 1 else tally.gaps
    of_gaps, of_values = huffman.code_lengths(gaps), huffman.code_lengths(others[known])
    coded = (gaps * of_gaps).sum(axis=1) + (others[known] * of_values).sum(axis=1)
    stream[known] = -(-coded // 8)
    table[known] = huffman.table_bytes(of_gaps) + huffman.table_bytes(of_values, tally.groups)
    return stream, table


def encode(symbols: Symbols) -> tuple[bytes, bytes]:
    """Table and stream.

    Raises:
        CodecError: More values occur than a table can count.
    """
    nonzero = symbols.indices != symbols.zero
    values, kept = codebook.without(symbols.codebooks, symbols.indices, symbols.zero)
    gaps, follows = gap_symbols(nonzero)
    of_gaps = huffman.code_lengths(gap_counts(nonzero))[0]
    of_values = huffman.code_lengths(np.bincount(kept, minlength=values.shape[1])[None])[0]
    stream = _interleaved(huffman.bits_of(gaps, of_gaps), huffman.bits_of(kept, of_values), follows.astype(np.int64))
    return huffman.write_table(of_gaps, _GAPS[None]) + huffman.write_table(of_values, values), stream


def _interleaved(gaps: tuple[Ints, Ints], values: tuple[Ints, Ints], follows: Ints) -> bytes:
    """Codewords of gaps, each with that of the value behind it, where one `follows`."""
    places = np.arange(len(follows)) + np.cumsum(follows) - follows
    total = len(follows) + int(follows.sum())
    codes, lengths = np.zeros(total, np.int64), np.zeros(total, np.int64)
    behind = places[follows > 0] + 1
    codes[places], lengths[places] = gaps
    codes[behind], lengths[behind] = values
    return huffman.write(codes, lengths)


def decode(coded: Coded) -> Bytes:
    """The `(count,)` raw bytes.

    Raises:
        CodecError: A table is malformed, a gap leads beyond the last weight, or the stream is too short or too long.
    """
    of_gaps, rest = huffman.read_table(coded.table)
    of_values, rest = huffman.read_table(rest, coded.groups)
    if rest:
        raise CodecError(f"{len(rest)} B are left over behind the tables of a sparse tensor")
    if of_gaps.values.max(initial=0) > MAX_GAP:
        raise CodecError(f"a gap symbol is at most {MAX_GAP}, not {of_gaps.values.max()}")
    places, ranks = _read(coded, of_gaps, of_values)
    decoded = np.full(coded.count, coded.zero_byte, np.uint8)
    decoded[places] = codebook.look_up(of_values.values, ranks, places, coded.inner)
    return decoded


def _read(coded: Coded, of_gaps: huffman.Code, of_values: huffman.Code) -> tuple[Ints, Bytes]:
    """Places of the weights that are not zero, and the ranks of their values, `(m,)` both."""
    reader, gaps = huffman.Reader(coded.stream), of_gaps.values[0].tolist()
    places, ranks, place = [], [], 0
    while place < coded.count:
        gap = gaps[reader.next(of_gaps)]
        place += gap
        if place > coded.count:
            raise CodecError(f"a gap of {gap} leads to weight {place}, but there are {coded.count}")
        if gap < MAX_GAP and place < coded.count:
            places.append(place)
            ranks.append(reader.next(of_values))
            place += 1
    reader.close()
    return np.array(places, np.int64), np.array(ranks, np.uint8)
