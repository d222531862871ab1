"""Codebooks: a value for each group's index, zero left out, and tables that are none refused."""

import numpy as np
import pytest

from bqsearch.errors import CodecError
from bqsearch.packing import codebook

VALUES = np.array([[9, 8, 7], [5, 4, 3]], np.uint8)


def test_weights_that_follow_each_other_share_a_codebook() -> None:
    indices = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    assert codebook.look_up(VALUES, indices, np.arange(6), 2).tolist() == [9, 8, 3, 5, 8, 7]
    assert codebook.look_up(VALUES, indices, np.arange(6), 1).tolist() == [9, 4, 7, 5, 8, 3]
    assert codebook.look_up(VALUES[:1], indices, np.arange(6), 1).tolist() == [9, 8, 7, 9, 8, 7]
    assert codebook.look_up(VALUES, indices[:2], np.array([3, 4]), 2).tolist() == [5, 8]


def test_an_index_beyond_the_codebook_is_named() -> None:
    with pytest.raises(CodecError, match="index 3 is outside of a codebook of 3 values"):
        codebook.look_up(VALUES, np.array([0, 3, 2], np.uint8), np.arange(3), 1)


def test_look_up_of_nothing_in_nothing() -> None:
    empty = np.zeros(0, np.uint8)
    assert codebook.look_up(empty[None], empty, np.arange(0), 1).shape == (0,)


@pytest.mark.parametrize(
    ("zero", "values", "indices"),
    [
        (0, [[8, 7], [4, 3]], [1, 0]),
        (1, [[9, 7], [5, 3]], [1, 0, 0]),
        (2, [[9, 8], [5, 4]], [1, 0, 0]),
        (3, VALUES.tolist(), [2, 1, 0, 0]),
        (-1, VALUES.tolist(), [2, 1, 0, 0]),
    ],
)
def test_zero_is_left_out(zero: int, values: list[list[int]], indices: list[int]) -> None:
    left = codebook.without(VALUES, np.array([2, 1, 0, 0], np.uint8), zero)
    assert [part.tolist() for part in left] == [values, indices]


def test_tables_are_read_group_after_group() -> None:
    assert codebook.read(VALUES.tobytes(), 2).tolist() == VALUES.tolist()
    assert codebook.read(b"", 7).shape == (7, 0)


@pytest.mark.parametrize(("length", "groups"), [(7, 2), (257, 1), (1, 2), (514, 2)])
def test_tables_of_other_lengths_are_refused(length: int, groups: int) -> None:
    with pytest.raises(CodecError, match=f"{groups} codebooks have equally many values, at most 256, not {length}"):
        codebook.read(bytes(length), groups)
