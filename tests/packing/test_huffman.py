"""Canonical Huffman: optimal, complete, decodable, and firm against streams and tables that are not its own."""

import heapq
from fractions import Fraction
from functools import cache
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import reference
from packing.tensors import fibonacci, shuffled

from bqsearch.errors import CodecError
from bqsearch.packing import huffman

COUNTS = st.lists(st.integers(0, 12) | st.integers(0, 3000), min_size=1, max_size=60)


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


def limited_bits(counts: list[int], limit: int) -> int:
    """Total bits of the cheapest code no deeper than a limit, by trying all numbers of codewords of each length: the
    more frequent a symbol, the shorter its codeword."""
    frequent = sorted((c for c in counts if c > 0), reverse=True)

    @cache
    def cheapest(coded: int, depth: int, nodes: int) -> float:
        left = len(frequent) - coded
        if left == 0:
            return 0 if nodes == 0 else inf
        if nodes == 0 or nodes > left or depth == limit + 1:
            return inf
        ways = range(min(nodes, left) + 1)
        return min(
            sum(frequent[coded : coded + n]) * depth + cheapest(coded + n, depth + 1, 2 * (nodes - n)) for n in ways
        )

    return int(cheapest(0, 1, 2))


def lengths_of(counts: list[int], limit: int | None = huffman.MAX_LENGTH) -> np.ndarray:
    return huffman.code_lengths(np.array([counts], np.int64), limit)[0]


def kraft_sum(lengths: np.ndarray) -> Fraction:
    return sum((Fraction(1, 2 ** int(n)) for n in lengths if n > 0), Fraction(0))


def encoded(indices: np.ndarray, values: np.ndarray) -> tuple[bytes, bytes]:
    lengths = lengths_of(np.bincount(indices, minlength=len(values)).tolist())
    return huffman.write_table(lengths, values[None]), huffman.encode(indices, lengths)


@settings(deadline=None, max_examples=200)
@given(COUNTS)
def test_no_prefix_code_is_shorter(counts: list[int]) -> None:
    lengths = lengths_of(counts, None)
    assert int((lengths * np.array(counts)).sum()) == plain_huffman_bits(counts)


SKEWED = st.lists(st.integers(0, 16).map(lambda power: 2**power), min_size=2, max_size=8)


@settings(deadline=None, max_examples=200)
@given(SKEWED | st.permutations(fibonacci(8)), st.integers(3, 6))
def test_no_prefix_code_within_the_limit_is_shorter(counts: list[int], limit: int) -> None:
    lengths = lengths_of(counts, limit)
    assert lengths.max() <= limit
    assert int((lengths * np.array(counts)).sum()) == limited_bits(counts, limit)
    assert kraft_sum(lengths) == 1


@pytest.mark.parametrize("symbols", [16, 17, 25, 60])
def test_codewords_have_15_bits_at_most(symbols: int) -> None:
    lengths = lengths_of(fibonacci(symbols))
    assert lengths.max() == 15
    assert kraft_sum(lengths) == 1
    plain = plain_huffman_bits(fibonacci(symbols))
    assert plain <= int((lengths * np.array(fibonacci(symbols))).sum()) <= 1.01 * plain


def test_only_rows_beyond_the_limit_are_made_again() -> None:
    rows = [fibonacci(17), [1] * 17, [0] * 16 + [9], [0] * 17, [*fibonacci(16), 0]]
    together = huffman.code_lengths(np.array(rows, np.int64))
    assert together.tolist() == [lengths_of(row).tolist() for row in rows]
    assert together.max(axis=1).tolist() == [15, 5, 1, 0, 15]


def test_as_many_symbols_as_the_limit_can_tell_apart() -> None:
    assert lengths_of([1, 1, 1, 100], 2).tolist() == [2, 2, 2, 2]


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
    assert huffman.write_table(np.array([3, 3, 3, 3, 3, 2, 4, 4]), np.frombuffer(b"ABCDEFGH", np.uint8)[None]) == table


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


def test_codes_as_deep_as_can_be() -> None:
    values = np.arange(100, 122, dtype=np.uint8)
    indices = shuffled(fibonacci(22), 0)
    table, stream = encoded(indices, values)
    assert table[0] == 15
    assert np.array_equal(huffman.decode(table, stream, len(indices)), values[indices])


def test_longer_codewords_are_refused() -> None:
    lengths = lengths_of(fibonacci(17), None)
    table = huffman.write_table(lengths, np.arange(17, dtype=np.uint8)[None])
    with pytest.raises(CodecError, match="codewords of 16 bits: at most 15 are allowed"):
        huffman.decode(table, bytes(2), 1)


def test_values_of_many_groups_stand_group_after_group() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    lengths = np.array([2, 1, 2])
    table = huffman.write_table(lengths, values)
    assert table == bytes([2, 1, 2, 2, 1, 3, 5, 4, 6])
    stream = huffman.encode(np.array([0, 1, 2, 0, 1, 2], np.uint8), lengths)
    assert huffman.decode(table, stream, 6, groups=2, inner=3).tolist() == [1, 2, 3, 4, 5, 6]


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
        huffman.write_table(lengths, np.arange(256, dtype=np.uint8)[None])


GOOD = encoded(shuffled([40, 20, 7, 3, 1], 0), np.array([3, 9, 27, 81, 243], np.uint8))


@pytest.mark.parametrize("kept", range(len(GOOD[1])))
def test_a_truncated_stream_is_refused(kept: int) -> None:
    with pytest.raises(CodecError, match=r"the stream of \d+ B ends before"):
        huffman.decode(GOOD[0], GOOD[1][:kept], 71)


@pytest.mark.parametrize("count", [0, 1, 60])
def test_a_stream_that_goes_on_after_the_end_is_refused(count: int) -> None:
    with pytest.raises(CodecError, match=r"the codewords take \d+ bits, but the stream has 120"):
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
        GOOD[0] + GOOD[0],
        bytes([16, *[1] * 15, 2]) + bytes(17),  # a code of 16 bits
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


def table_of(lengths: list[int], values: bytes, more: bytes) -> bytes:
    """A table of so many bits for each symbol, whatever its values, and bytes behind it."""
    return (
        huffman.write_table(np.array(lengths, np.int64), np.frombuffer(values[: len(lengths)], np.uint8)[None]) + more
    )


SOUND = st.lists(st.integers(1, 99), max_size=20).map(lambda counts: lengths_of(counts).tolist())
ANY_LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=8)  # mostly no prefix code, or not a complete one
TABLES = st.builds(
    table_of, SOUND | ANY_LENGTHS, st.binary(min_size=20, max_size=20), st.just(b"") | st.binary(max_size=2)
)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300) | TABLES, st.binary(max_size=20), st.integers(0, 100) | st.none())
def test_foreign_bytes_decode_or_are_refused(table: bytes, stream: bytes, count: int | None) -> None:
    decodes_or_refuses(table, stream, reference.most_huffman(table, stream) if count is None else count)


def decodes_or_refuses(table: bytes, stream: bytes, count: int) -> None:
    expected = reference.huffman(table, stream, count)
    if expected is None:
        with pytest.raises(CodecError):
            huffman.decode(table, stream, count)
        return
    decoded = huffman.decode(table, stream, count)
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == expected
