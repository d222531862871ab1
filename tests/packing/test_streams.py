"""The container of bqsearch's own runtime, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bqsearch.errors import CodecError
from bqsearch.packing.container import UNAVAILABLE, Coded, Symbols, Tally, gap_counts
from bqsearch.packing.streams import STREAMS, decode, encode, sizes

CODES = np.array([[7, 9, 200]], np.uint8)
INDICES = np.array([0, 0, 2, 0, 1, 0, 0, 2], np.uint8)
ONE = Symbols(indices=INDICES, values=CODES, zero=0, zero_byte=7, inner=8)
TWO = replace(ONE, values=np.array([[7, 9, 200], [7, 30, 31]], np.uint8), inner=4)
FIELDS = {"groups": 1, "inner": 8, "zero_byte": 7}


def test_sizes_by_hand() -> None:
    counts = np.array([[0, 0, 0, 0], [0, 9, 0, 0], [8, 4, 2, 2], [1, 1, 1, 0]], np.int64)
    tally = Tally(counts=counts, zero=np.array([-1, 0, 0, 2]))
    rows = sizes(tally)
    assert tally.symbols.tolist() == [0, 1, 4, 3]
    assert rows.bytes_of("raw").tolist() == [0, 9, 16, 3]
    assert rows.bytes_of("packed").tolist() == [0, 1 + 0, 4 + 4, 3 + 1]
    assert rows.stream["huffman"].tolist() == [0, 2, 4, 1]  # 0, 9, 28 and 5 bits
    assert rows.table["huffman"].tolist() == [1, 1 + 1 + 1, 1 + 3 + 4, 1 + 2 + 3]
    assert rows.stream["mask"].tolist() == [0, 2 + 0, 2 + 2, 1 + 1]
    assert rows.table["mask"].tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("coding", "counts", "zero", "reason"),
    [
        ("packed", [1] * 129, 0, "they have 129 different values, and it holds 128 at most: choose fewer levels"),
        ("huffman", [1] * 256, 0, "they have 256 different values, and it holds 255 at most: choose fewer levels"),
        ("sparse", [2, 4], 0, "2 of 6 are zero, too few to code the gaps: prune more of them"),
        ("sparse", [2, 4], -1, "no symbol of theirs stands for zero: prune some of them"),
    ],
)
def test_why_a_coding_is_not_available(coding: str, counts: list[int], zero: int, reason: str) -> None:
    tally = Tally(counts=np.array([counts]), zero=np.array([zero]))
    assert sizes(tally).bytes_of(coding)[0] == UNAVAILABLE
    assert STREAMS.refusal(tally, coding) == reason


def test_sizes_of_many_codebooks_by_hand() -> None:
    """Position 2 does not occur, so that a codebook has 4 entries, but 3 have a codeword."""
    counts, gaps = np.array([[4, 2, 0, 2, 0]], np.int64), gap_counts(np.array([1, 1, 1, 1, 0, 0, 0, 0], bool))
    tally = Tally(counts=counts, zero=np.array([0]), groups=10, gaps=gaps)
    rows = sizes(tally)
    assert tally.symbols.tolist() == [4]
    assert (rows.stream["packed"].tolist(), rows.table["packed"].tolist()) == ([2], [40])
    assert (rows.stream["huffman"].tolist(), rows.table["huffman"].tolist()) == ([2], [1 + 2 + 30])
    assert (rows.stream["mask"].tolist(), rows.table["mask"].tolist()) == ([1 + 1], [30])
    assert (rows.stream["sparse"].tolist(), rows.table["sparse"].tolist()) == ([2], [(1 + 1 + 2) + (1 + 1 + 20)])


@pytest.mark.parametrize(
    ("coding", "table", "stream"),
    [
        ("raw", "", "0707c807090707c8"),
        ("packed", "0709c8", "0842"),
        ("huffman", "0201020709c8", "3460"),
        ("mask", "09c8", "29a0"),
        ("sparse", "01020102010209c8", "cc"),
    ],
)
def test_bytes_by_hand(coding: str, table: str, stream: str) -> None:
    """2-bit indices 0 0 2 0 1 0 0 2; codewords 0, 10 and 11: a byte for the longest, then how many of each length; a
    mask of 00101001 before the 1-bit indices 1 0 1; gaps 2, 1 and 2 as 1, 0 and 1, and values likewise: 11 00 11."""
    coded = encode(ONE, coding)
    assert (coded.table.hex(), coded.stream.hex()) == (table, stream)


def test_zeros_at_the_end_are_gaps_without_a_value() -> None:
    """Gaps 1, 63 and 5: codewords 0 for 1, which occurs twice, 10 for 5 and 11 for 63; one value, a bit."""
    indices = np.array([0, 1, 0, 1, *[0] * 68], np.uint8)
    coded = encode(Symbols(indices=indices, values=CODES[:, :2], zero=0, zero_byte=7, inner=1), "sparse")
    assert coded.table.hex() == "020102" + "01053f" + "010109"
    assert coded.stream == bytes([0b00001110])
    assert decode(coded).tolist() == [9 if index else 7 for index in indices]


@pytest.mark.parametrize("coding", STREAMS.codings)
def test_codebooks_by_group(coding: str) -> None:
    coded = encode(TWO, coding)
    assert decode(coded).tolist() == [7, 7, 200, 7, 30, 7, 7, 31]
    assert (coded.groups, coded.inner) == (2, 4)


def test_the_container_goes_channel_by_channel() -> None:
    assert STREAMS.by_channel
    assert STREAMS.codings == ("raw", "packed", "huffman", "mask", "sparse")


@pytest.mark.parametrize("coding", STREAMS.codings)
def test_a_stream_of_another_length_is_refused(coding: str) -> None:
    coded = encode(ONE, coding)
    for other in (coded.stream[:-1], coded.stream + b"\0", b""):
        with pytest.raises(CodecError):
            decode(replace(coded, stream=other))
    with pytest.raises(CodecError):
        decode(replace(coded, count=0))


@pytest.mark.parametrize("coding", ["raw", "packed", "huffman"])
def test_what_stands_for_zero_changes_nothing(coding: str) -> None:
    other = encode(replace(ONE, zero=-1, zero_byte=128), coding)
    assert (other.table, other.stream) == (encode(ONE, coding).table, encode(ONE, coding).stream)


def test_a_packed_index_beyond_the_codebook_is_refused() -> None:
    with pytest.raises(CodecError, match="index 7 is outside"):
        decode(Coded(coding="packed", count=2, table=bytes(5), stream=bytes([0b00011100]), **FIELDS))


def test_a_codebook_of_more_than_256_values_is_refused() -> None:
    with pytest.raises(CodecError, match="at most 256"):
        decode(Coded(coding="packed", count=8, table=bytes(257), stream=bytes(9), **FIELDS))


def test_a_gap_beyond_the_last_weight_is_refused() -> None:
    coded = encode(ONE, "sparse")
    with pytest.raises(CodecError, match="a gap of 2 leads to weight 7, but there are 6"):
        decode(replace(coded, count=6))


def test_a_gap_that_no_symbol_says_is_refused() -> None:
    coded = encode(ONE, "sparse")
    with pytest.raises(CodecError, match="a gap symbol is at most 63, not 64"):
        decode(replace(coded, table=coded.table[:3] + b"\x40" + coded.table[4:]))


def test_bytes_behind_the_tables_are_refused() -> None:
    for coding in ("huffman", "sparse", "raw"):
        coded = encode(ONE, coding)
        with pytest.raises(CodecError, match="1 B"):
            decode(replace(coded, table=coded.table + b"\0"))
