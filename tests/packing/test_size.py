"""Sizes stated from counts are those of the real streams, and every coding comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import CodecError
from bqsearch.packing.size import UNAVAILABLE, Coded, decode, encode, sizes
from bqsearch.plan import CODINGS
from bqsearch.types import Bytes


def tensor(values: list[int], counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending codebook and shuffled indices into it, each of which occurs."""
    codebook = np.array(sorted(values), np.uint8)
    indices = np.repeat(np.arange(len(codebook)), counts[: len(codebook)]).astype(np.uint8)
    np.random.default_rng(seed).shuffle(indices)
    return codebook, indices


TENSORS = st.builds(
    tensor,
    st.lists(st.integers(0, 255), min_size=1, max_size=256, unique=True),
    st.lists(st.integers(1, 3) | st.integers(1, 60), min_size=256, max_size=256),
    st.integers(0, 2**32),
)


def available(symbols: int, coding: str) -> bool:
    return symbols <= {"raw": 256, "packed": 128, "huffman": 255}[coding]


@settings(deadline=None, max_examples=60)
@given(TENSORS, st.sampled_from(CODINGS))
def test_stated_bytes_are_those_of_the_stream_and_the_stream_decodes(made: tuple[Bytes, Bytes], coding: str) -> None:
    codebook, indices = made
    counts = np.bincount(codebook[indices], minlength=256)[None]
    stated = int(sizes(counts).bytes_of(coding)[0])
    if not available(len(codebook), coding):
        assert stated == UNAVAILABLE
        return
    coded = encode(indices, codebook, coding)
    assert coded.nbytes == len(coded.table) + len(coded.stream) == stated
    assert (coded.count, coded.coding) == (len(indices), coding)
    assert np.array_equal(decode(coded), codebook[indices])


@pytest.mark.parametrize(("symbols", "coding"), [(128, "packed"), (129, "packed"), (255, "huffman"), (256, "huffman")])
def test_where_a_coding_ends(symbols: int, coding: str) -> None:
    counts = np.zeros((1, 256), np.int64)
    counts[0, :symbols] = 2
    assert (sizes(counts).bytes_of(coding)[0] < UNAVAILABLE) == available(symbols, coding)


def test_sizes_by_hand() -> None:
    rows = sizes(np.array([[0, 0, 0, 0], [0, 9, 0, 0], [8, 4, 2, 2], [1, 1, 1, 0]], np.int64))
    assert rows.symbols.tolist() == [0, 1, 4, 3]
    assert rows.raw.tolist() == [0, 9, 16, 3]
    assert rows.packed.tolist() == [0, 1 + 0, 4 + 4, 3 + 1]
    assert rows.huffman_stream.tolist() == [0, 2, 4, 1]  # 0, 9, 28 and 5 bits
    assert rows.huffman_table.tolist() == [1, 1 + 1 + 1, 1 + 3 + 4, 1 + 2 + 3]


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_tensor(coding: str) -> None:
    empty = np.zeros(0, np.uint8)
    coded = encode(empty, empty, coding)
    assert coded.nbytes == sizes(np.zeros((1, 256), np.int64)).bytes_of(coding)[0]
    assert decode(coded).shape == (0,)


SOUND = [encode(*reversed(tensor([5, 6, 90, 200, 255], [30, 9, 4, 2, 1], 1)), coding) for coding in CODINGS]


@pytest.mark.parametrize("coded", SOUND, ids=CODINGS)
def test_a_stream_of_another_length_is_refused(coded: Coded) -> None:
    for stream in (coded.stream[:-1], coded.stream + b"\0", b""):
        with pytest.raises(CodecError):
            decode(Coded(coding=coded.coding, count=coded.count, table=coded.table, stream=stream))
    with pytest.raises(CodecError):
        decode(Coded(coding=coded.coding, count=0, table=coded.table, stream=coded.stream))


def test_a_packed_index_beyond_the_codebook_is_refused() -> None:
    with pytest.raises(CodecError, match="index 7 is outside"):
        decode(Coded(coding="packed", count=2, table=bytes(5), stream=bytes([0b00011100])))


def test_a_codebook_of_more_than_256_values_is_refused() -> None:
    with pytest.raises(CodecError):
        decode(Coded(coding="packed", count=8, table=bytes(257), stream=bytes(9)))


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(SOUND), st.binary(max_size=3), st.integers(0, 50), st.integers(0, 255), st.booleans(), st.booleans()
)
def test_flipped_and_lost_bytes_decode_or_are_refused(
    coded: Coded, tail: bytes, at: int, byte: int, in_table: bool, cut: bool
) -> None:
    part = bytearray((coded.table if in_table else coded.stream) + tail)
    if part:
        part[at % len(part)] = byte
    if cut:
        part = part[: at % (len(part) + 1)]
    table, stream = (bytes(part), coded.stream) if in_table else (coded.table, bytes(part))
    try:
        decoded = decode(Coded(coding=coded.coding, count=coded.count, table=table, stream=stream))
    except CodecError:
        return
    assert decoded.shape == (coded.count,)
