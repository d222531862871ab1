"""Canonical Huffman: optimal, complete, decodable, and firm against streams and tables that are not its own."""

import heapq
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import CodecError
from bqsearch.packing import huffman

COUNTS = st.lists(st.integers(0, 12) | st.integers(0, 3000), min_size=1, max_size=60)


def fibonacci(count: int) -> list[int]:
    numbers = [1, 1]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return numbers[:count]


def plain_huffman_bits(counts: list[int]) -> int:
    """Total bits by the textbook: each merge lengthens all codewords below it by one."""
    heap = [c for c in counts if c > 0]
    if len(heap) < 2:
        return sum(heap)
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def lengths_of(counts: list[int]) -> np.ndarray:
    return huffman.code_lengths(np.array([counts], np.int64))[0]


def kraft_sum(lengths: np.ndarray) -> Fraction:
    return sum((Fraction(1, 2 ** int(n)) for n in lengths if n > 0), Fraction(0))


def shuffled(counts: list[int], seed: int = 0) -> np.ndarray:
    indices = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    np.random.default_rng(seed).shuffle(indices)
    return indices


def encoded(indices: np.ndarray, values: np.ndarray) -> tuple[bytes, bytes]:
    lengths = lengths_of(np.bincount(indices, minlength=len(values)).tolist())
    return huffman.write_table(lengths, values), huffman.encode(indices, lengths)


@settings(deadline=None, max_examples=200)
@given(COUNTS)
def test_no_prefix_code_is_shorter(counts: list[int]) -> None:
    lengths = lengths_of(counts)
    assert int((lengths * np.array(counts)).sum()) == plain_huffman_bits(counts)


@settings(deadline=None)
@given(COUNTS)
def test_codewords_use_the_whole_tree(counts: list[int]) -> None:
    used = sum(c > 0 for c in counts)
    expected = {0: Fraction(0), 1: Fraction(1, 2)}.get(used, Fraction(1))
    assert kraft_sum(lengths_of(counts)) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 50), min_size=7, max_size=7), min_size=1, max_size=8))
def test_many_alphabets_at_once_are_each_as_if_alone(rows: list[list[int]]) -> None:
    together = huffman.code_lengths(np.array(rows, np.int64))
    assert together.tolist() == [lengths_of(row).tolist() for row in rows]


def test_ties_keep_the_longest_codeword_short() -> None:
    assert lengths_of([1, 1, 2, 2]).tolist() == [2, 2, 2, 2]  # 1, 2, 3, 3 bits cost the same


def test_a_lone_symbol_takes_one_bit() -> None:
    assert lengths_of([0, 9, 0]).tolist() == [0, 1, 0]


def test_canonical_codewords_are_those_of_rfc_1951() -> None:
    lengths = np.array([3, 3, 3, 3, 3, 2, 4, 4])  # section 3.2.2, symbols A to H
    codes = [f"{code:0{length}b}" for code, length in zip(huffman.codewords(lengths), lengths, strict=True)]
    assert codes == ["010", "011", "100", "101", "110", "00", "1110", "1111"]


def test_decoding_a_stream_written_by_hand() -> None:
    table = bytes([4, 0, 1, 5, 2]) + b"FABCDEGH"
    bits = "00" + "1111" + "010" + "1110" + "110"  # F H A G E
    stream = int(bits, 2).to_bytes(2, "big")
    assert huffman.decode(table, stream, 5).tobytes() == b"FHAGE"
    assert huffman.write_table(np.array([3, 3, 3, 3, 3, 2, 4, 4]), np.frombuffer(b"ABCDEFGH", np.uint8)) == table


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 255), min_size=1, max_size=255, unique=True),
    st.lists(st.integers(1, 6) | st.integers(1, 200), min_size=255, max_size=255),
    st.integers(0, 2**32),
)
def test_decode_gives_what_encode_took(values: list[int], counts: list[int], seed: int) -> None:
    values, indices = np.array(sorted(values), np.uint8), shuffled(counts[: len(values)], seed)
    table, stream = encoded(indices, values)
    lengths = lengths_of(np.bincount(indices).tolist())
    assert len(table) == huffman.table_bytes(lengths[None])[0] == 1 + lengths.max() + len(values)
    assert np.array_equal(huffman.decode(table, stream, len(indices)), values[indices])


def test_codewords_longer_than_the_decoders_window() -> None:
    counts = fibonacci(22)
    values = np.arange(100, 122, dtype=np.uint8)
    indices = shuffled(counts)
    table, stream = encoded(indices, values)
    assert table[0] == 21
    assert np.array_equal(huffman.decode(table, stream, len(indices)), values[indices])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_one_symbol(count: int) -> None:
    table, stream = encoded(np.zeros(count, np.uint8), np.array([200], np.uint8))
    assert len(stream) == -(-count // 8)
    assert huffman.decode(table, stream, count).tolist() == [200] * count


def test_an_empty_stream() -> None:
    table, stream = encoded(np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    assert (table, stream) == (b"\0", b"")
    assert huffman.decode(table, stream, 0).tolist() == []


def test_more_symbols_than_a_table_can_count_are_refused() -> None:
    lengths = lengths_of([1] * 256)
    with pytest.raises(CodecError, match="at most 255 symbols, not 256"):
        huffman.write_table(lengths, np.arange(256, dtype=np.uint8))


GOOD = encoded(shuffled([40, 20, 7, 3, 1]), np.array([3, 9, 27, 81, 243], np.uint8))


@pytest.mark.parametrize("kept", range(len(GOOD[1])))
def test_a_truncated_stream_is_refused(kept: int) -> None:
    with pytest.raises(CodecError, match=r"the stream of \d+ B ends after"):
        huffman.decode(GOOD[0], GOOD[1][:kept], 71)


@pytest.mark.parametrize("count", [0, 1, 60])
def test_a_stream_that_goes_on_after_the_end_is_refused(count: int) -> None:
    with pytest.raises(CodecError, match=rf"{count} symbols take \d+ bits"):
        huffman.decode(*GOOD, count)


def test_a_count_that_no_stream_could_hold_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(CodecError):
        huffman.decode(*GOOD, 1 << 50)


@pytest.mark.parametrize(
    "table",
    [
        b"",
        GOOD[0][:-1],  # a value is missing
        GOOD[0] + b"\0",
        GOOD[0][:2],  # counts are missing
        bytes([1, 3, 1, 2, 3]),  # three codewords of one bit
        bytes([2, 1, 1, 7, 8]),  # a codeword is unused
        bytes([0, 5]),  # a value without a codeword
        bytes([255]) + bytes(254),
    ],
)
def test_a_malformed_table_is_refused(table: bytes) -> None:
    with pytest.raises(CodecError):
        huffman.decode(table, GOOD[1], 71)


def test_bits_that_begin_no_codeword_are_refused() -> None:
    lone = bytes([1, 1, 42])  # only the codeword 0
    with pytest.raises(CodecError, match="begin no codeword"):
        huffman.decode(lone, bytes([0b00100000]), 8)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_bytes_decode_or_are_refused(data: st.DataObject) -> None:
    table, stream = bytearray(GOOD[0]), bytearray(GOOD[1])
    for part in (table, stream):
        for _ in range(data.draw(st.integers(0, 3))):
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    decodes_or_refuses(bytes(table), bytes(stream), 71)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.binary(max_size=20), st.integers(0, 100))
def test_foreign_bytes_decode_or_are_refused(table: bytes, stream: bytes, count: int) -> None:
    decodes_or_refuses(table, stream, count)


@pytest.mark.parametrize("last", [1, 2, 3])
def test_codewords_of_255_bits_decode_or_are_refused(last: int) -> None:
    """Counts whose Kraft sum differs from one by less than a float can tell."""
    table = bytes([255, *[1] * 254, last]) + bytes(254 + last)[:255]
    decodes_or_refuses(table, b"\xff" * 40, 1)
    decodes_or_refuses(table, b"\xff" * 31 + b"\xfe", 1)


def decodes_or_refuses(table: bytes, stream: bytes, count: int) -> None:
    try:
        decoded = huffman.decode(table, stream, count)
    except CodecError:
        return
    assert decoded.shape == (count,)
    assert decoded.dtype == np.uint8
