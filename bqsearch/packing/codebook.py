"""Codebooks: the values that indices stand for, one codebook for all weights or one for each group of them."""

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.types import Bytes, Ints


def without(values: Bytes, indices: Bytes, zero: int) -> tuple[Bytes, Bytes]:
    """Codebooks `(groups, k)` without the symbol `zero`, and the indices of the weights that are another symbol.

    Nothing is left out where `zero` is no symbol of the codebooks.
    """
    if not 0 <= zero < values.shape[1]:
        return values, indices
    kept = indices[indices != zero]
    return np.delete(values, zero, axis=1), kept - (kept > zero)


def read(table: bytes, groups: int) -> Bytes:
    """The `(groups, k)` values of a table in which one codebook lies behind the other.

    Raises:
        CodecError: The codebooks are not equally long, or longer than there are bytes.
    """
    symbols, rest = divmod(len(table), groups)
    if rest or symbols > 256:
        raise CodecError(f"{groups} codebooks have equally many values, at most 256, not {len(table)} in all")
    return np.frombuffer(table, np.uint8).reshape(groups, symbols)


def look_up(values: Bytes, indices: Bytes, places: Ints, inner: int) -> Bytes:
    """The raw bytes of weights.

    Args:
        values: `(groups, k)` raw bytes.
        indices: `(m,)` positions in codebooks.
        places: `(m,)` which weights of the stream they are: weight i belongs to group `(i // inner) % groups`.
        inner: Weights that follow each other in a group.

    Raises:
        CodecError: An index lies beyond the codebook.
    """
    groups, symbols = values.shape
    highest = int(indices.max(initial=0))
    if len(indices) and highest >= symbols:
        raise CodecError(f"index {highest} is outside of a codebook of {symbols} values")
    return values[0][indices] if groups == 1 else values[places // inner % groups, indices]
