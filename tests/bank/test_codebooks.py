"""Codebooks hold what occurs, and zero where it must be told from the rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.bank.codebooks import Codebooks
from bqsearch.types import Bytes, Ints


def held_of(codes: Bytes) -> Ints:
    return np.stack([np.bincount(row, minlength=256) for row in codes]).astype(np.int64)


def random_codes(seed: int, groups: int, columns: int, values: int) -> Bytes:
    rng = np.random.default_rng(seed)
    books = [rng.choice(256, min(values, 256), replace=False) for _ in range(groups)]
    return np.stack([rng.choice(book, columns) for book in books]).astype(np.uint8)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    groups=st.integers(1, 6),
    columns=st.integers(1, 40),
    values=st.sampled_from([1, 2, 5, 300]),
    zero=st.integers(0, 255),
    zeros=st.floats(0, 1),
    pruned=st.booleans(),
)
def test_places_lead_back_to_the_codes(
    seed: int, groups: int, columns: int, values: int, zero: int, zeros: float, pruned: bool
) -> None:
    codes = random_codes(seed, groups, columns, values)
    codes[np.random.default_rng(seed).random(codes.shape) < zeros] = zero
    books = Codebooks.of(held_of(codes), zero, pruned)
    places = books.places(codes)
    assert places.dtype == books.values.dtype == np.uint8
    assert np.array_equal(np.take_along_axis(books.values, places.astype(np.int64), axis=1), codes)
    assert books.shares.shape == books.values.shape[1:]
    assert (books.shares > 0).all()
    counts = np.bincount(places.reshape(-1), minlength=len(books.shares))
    assert books.shares * codes.size == pytest.approx(np.maximum(counts, 0.5))
    longest = max(len(np.unique(row)) for row in codes)
    if books.zero >= 0:
        assert (books.values[:, books.zero] == zero).all()
        assert ((places == books.zero) == (codes == zero)).all()
        assert (
            longest <= books.values.shape[1] <= max(longest, max(len(set(row) - {zero}) + 1 for row in codes.tolist()))
        )
    else:
        assert books.values.shape[1] == longest
        assert not pruned or groups == 1
    if groups == 1:
        assert books.values[0].tolist() == np.unique(codes).tolist()
        assert (books.zero >= 0) == (zero in codes)


def test_zero_comes_first_where_that_makes_no_codebook_longer() -> None:
    codes = np.array([[5, 9, 9], [9, 7, 200], [1, 9, 1]], np.uint8)
    books = Codebooks.of(held_of(codes), 9)
    assert books.zero == 0
    assert books.values.tolist() == [[9, 5, 5], [9, 7, 200], [9, 1, 1]]
    longer = np.array([[5, 9, 9], [8, 7, 200], [1, 9, 1]], np.uint8)
    books = Codebooks.of(held_of(longer), 9)
    assert books.zero == -1
    assert books.values.tolist() == [[5, 9, 9], [7, 8, 200], [1, 9, 9]]
    books = Codebooks.of(held_of(longer), 9, pruned=True)
    assert books.zero == 0
    assert books.values.tolist() == [[9, 5, 5, 5], [9, 7, 8, 200], [9, 1, 1, 1]]


def test_a_group_of_nothing_is_zero() -> None:
    """All of its weights were pruned, and no other level comes within reach of the others."""
    held = held_of(np.array([[9, 9], [3, 4]], np.uint8))
    books = Codebooks.of(held, 9, pruned=True)
    assert books.values.tolist() == [[9, 9, 9], [9, 3, 4]]
    empty = Codebooks.of(np.zeros((1, 256), np.int64), 9)
    assert empty.values.shape == (1, 0)


def test_256_values_and_zero_have_a_place() -> None:
    codes = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    for pruned in (False, True):
        books = Codebooks.of(held_of(codes), 128, pruned)
        assert books.values.shape == (2, 256)
        assert np.array_equal(np.take_along_axis(books.values, books.places(codes).astype(int), axis=1), codes)
