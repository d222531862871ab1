"""Packed indices come back, take the bytes that were stated, and refuse streams of another length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import CodecError
from bqsearch.packing import bits
from bqsearch.types import Bytes


@st.composite
def indices_and_width(draw: st.DrawFn) -> tuple[Bytes, int]:
    width = draw(st.integers(0, 8))
    values = draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    return np.array(values, np.uint8), width


@settings(deadline=None)
@given(indices_and_width())
def test_unpack_gives_what_pack_took(packable: tuple[Bytes, int]) -> None:
    indices, width = packable
    stream = bits.pack(indices, width)
    assert len(stream) == bits.packed_bytes(len(indices), width) == (len(indices) * width + 7) // 8
    assert np.array_equal(bits.unpack(stream, len(indices), width), indices)


def test_most_significant_bit_comes_first_and_zeros_fill_the_last_byte() -> None:
    assert bits.pack(np.array([0b101, 0b001, 0b111], np.uint8), 3) == bytes([0b10100111, 0b10000000])


@pytest.mark.parametrize(("symbols", "width"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (128, 7), (129, 8), (256, 8)])
def test_width_of_an_alphabet(symbols: int, width: int) -> None:
    assert bits.width_of(symbols) == width
    assert bits.widths_of(np.array([symbols, 0])).tolist() == [width, 0]


@settings(deadline=None)
@given(indices_and_width(), st.integers(-3, 3).filter(bool))
def test_a_stream_of_another_length_is_refused(packable: tuple[Bytes, int], change: int) -> None:
    indices, width = packable
    stream = bits.pack(indices, width)
    wrong = stream + bytes(change) if change > 0 else stream[:change]
    if len(wrong) != len(stream):
        with pytest.raises(CodecError, match=f"the stream has {len(wrong)} B"):
            bits.unpack(wrong, len(indices), width)
