"""The lowest gap: by hand, and against trying every place."""

from hypothesis import given
from hypothesis import strategies as st

from bqsearch.hardware.buffers import Buffer, lowest_gap


def test_lowest_gap() -> None:
    assert lowest_gap([], 8) == 0
    assert lowest_gap([(16, 32)], 16) == 0
    assert lowest_gap([(16, 32), (0, 8)], 9) == 32
    assert lowest_gap([(0, 48), (16, 32), (64, 80)], 16) == 48


def test_aligned_gaps() -> None:
    assert lowest_gap([(0, 5)], 3) == 5
    assert lowest_gap([(0, 5), (11, 12)], 3, 4) == 8
    assert lowest_gap([(0, 5), (10, 13)], 3, 4) == 16


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12))), st.integers(1, 20), st.sampled_from([1, 4, 16]))
def test_no_lower_place_is_free(pieces: list[tuple[int, int]], nbytes: int, alignment: int) -> None:
    """Also where the spans overlap and begin anywhere."""
    taken = {byte for start, size in pieces for byte in range(start, start + size)}
    free = (place for place in range(0, 99, alignment) if not taken & set(range(place, place + nbytes)))
    assert lowest_gap([(start, start + size) for start, size in pieces], nbytes, alignment) == next(free)


def test_a_buffer_ends_behind_its_last_byte() -> None:
    assert Buffer(tensor=None, offset=16, nbytes=5, first=0, last=2).end == 21
