"""Shannon's bound: by hand, and below what Huffman codes take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.packing import huffman
from bqsearch.packing.entropy import shannon_bytes


def test_entropies_by_hand() -> None:
    counts = np.array([[8, 8, 0, 0], [16, 0, 0, 0], [8, 4, 2, 2], [0, 0, 0, 0], [1, 3, 0, 0]], np.int64)
    assert shannon_bytes(counts) == pytest.approx([2, 0, 28 / 8, 0, (2 + 3 * (2 - np.log2(3))) / 8])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 5000), min_size=6, max_size=6), min_size=1, max_size=4))
def test_huffman_takes_more_but_less_than_a_bit_a_symbol(rows: list[list[int]]) -> None:
    """Cover and Thomas, "Elements of information theory", theorem 5.4.1."""
    counts = np.array(rows, np.int64)
    bound, used = 8 * shannon_bytes(counts), counts.sum(axis=1)
    taken = (counts * huffman.code_lengths(counts)).sum(axis=1)
    assert (bound <= taken + 1e-6).all()
    assert (taken <= bound + used + 1e-6).all()
