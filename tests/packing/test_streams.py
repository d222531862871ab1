"""The container of bqsearch's own runtime, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bqsearch.errors import CodecError
from bqsearch.packing.container import Coded
from bqsearch.packing.streams import STREAMS, decode, encode, sizes

CODES = np.array([7, 9, 200], np.uint8)
INDICES = np.array([0, 0, 2, 0, 1, 0, 0, 2], np.uint8)


def test_sizes_by_hand() -> None:
    rows = sizes(np.array([[0, 0, 0, 0], [0, 9, 0, 0], [8, 4, 2, 2], [1, 1, 1, 0]], np.int64), 0)
    assert rows.symbols.tolist() == [0, 1, 4, 3]
    assert rows.bytes_of("raw").tolist() == [0, 9, 16, 3]
    assert rows.bytes_of("packed").tolist() == [0, 1 + 0, 4 + 4, 3 + 1]
    assert rows.stream["huffman"].tolist() == [0, 2, 4, 1]  # 0, 9, 28 and 5 bits
    assert rows.table["huffman"].tolist() == [1, 1 + 1 + 1, 1 + 3 + 4, 1 + 2 + 3]


@pytest.mark.parametrize(
    ("coding", "table", "stream"),
    [("raw", "", "0707c807090707c8"), ("packed", "0709c8", "0842"), ("huffman", "0201020709c8", "3460")],
)
def test_bytes_by_hand(coding: str, table: str, stream: str) -> None:
    """2-bit indices 0 0 2 0 1 0 0 2; codewords 0, 10 and 11: a byte for the longest, then how many of each length."""
    coded = encode(INDICES, CODES, coding, 128)
    assert (coded.table.hex(), coded.stream.hex()) == (table, stream)


def test_the_container_goes_channel_by_channel_and_has_no_mask() -> None:
    assert STREAMS.by_channel
    assert STREAMS.codings == ("raw", "packed", "huffman")


@pytest.mark.parametrize("coding", STREAMS.codings)
def test_a_stream_of_another_length_is_refused(coding: str) -> None:
    coded = encode(INDICES, CODES, coding, 128)
    for other in (coded.stream[:-1], coded.stream + b"\0", b""):
        with pytest.raises(CodecError):
            decode(replace(coded, stream=other), 128)
    with pytest.raises(CodecError):
        decode(replace(coded, count=0), 128)


def test_what_stands_for_zero_changes_nothing() -> None:
    for coding in STREAMS.codings:
        assert encode(INDICES, CODES, coding, 9) == encode(INDICES, CODES, coding, 128)


def test_a_packed_index_beyond_the_codebook_is_refused() -> None:
    with pytest.raises(CodecError, match="index 7 is outside"):
        decode(Coded(coding="packed", count=2, table=bytes(5), stream=bytes([0b00011100])), 128)


def test_a_codebook_of_more_than_256_values_is_refused() -> None:
    with pytest.raises(CodecError, match="at most 256"):
        decode(Coded(coding="packed", count=8, table=bytes(257), stream=bytes(9)), 128)


def test_a_mask_is_refused() -> None:
    with pytest.raises(CodecError, match="no decoder for the coding 'mask'"):
        decode(Coded(coding="mask", count=8, table=b"", stream=bytes(1)), 128)
