"""Container: how a runtime wants coded weights, with the exact bytes of every coding, an encoder and a decoder.

Weights are coded as symbols: positions in a codebook of raw bytes (codes counted from the lowest, so that an int8
weight of 0 is the byte 128). One codebook may serve all weights, or every group of them has one of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bqsearch.errors import CodecError
from bqsearch.types import Bytes, Ints

UNAVAILABLE = np.iinfo(np.int64).max // 4  # bytes of a coding that cannot hold the weights
MAX_GAP = 63
"""Zeros that one gap symbol can stand for: with a share p of weights left at random places, (1 - p)^63 of the gaps need
another symbol (28 % at p = 2 %, 4 % at 5 %); and a decoder's table of all gap symbols takes 64 bytes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How often each symbol occurs in many codings of one tensor: all that their exact bytes depend on.

    Attributes:
        counts: `(n, k)` int64 occurrences of each symbol, a raw byte or a position in its group's codebook.
        zero: `(n,)` int64 symbol that stands for a weight of 0 in all groups, -1 where there is none.
        groups: Codebooks: every group of weights has its own values for the same symbols.
        scaled: Whether the tensor's quantization has a scale for each group.
        gaps: `(n, MAX_GAP + 1)` or `(1, MAX_GAP + 1)` int64, `gap_counts` of the weights whose symbol is not `zero`;
            None where it is not known.
    """

    counts: Ints
    zero: Ints
    groups: int = 1
    scaled: bool = True
    gaps: Ints | None = None

    @property
    def symbols(self) -> Ints:
        """Entries of a codebook, `(n,)` int64: of the only one, symbols that occur; else all to the last of them."""
        used = self.counts > 0
        if self.groups == 1:
            return used.sum(axis=1)
        places = np.arange(1, self.counts.shape[1] + 1)
        return np.where(used, places, 0).max(axis=1, initial=0).astype(np.int64)

    @property
    def nonzero_counts(self) -> Ints:
        """Occurrences of each symbol, but none of zero, `(n, k)` int64."""
        return np.where(np.arange(self.counts.shape[1]) == self.zero[:, None], 0, self.counts)

    @property
    def nonzero(self) -> Ints:
        """Weights that are not zero, `(n,)` int64."""
        return self.nonzero_counts.sum(axis=1)

    @property
    def nonzero_symbols(self) -> Ints:
        """Entries of a codebook besides zero, `(n,)` int64."""
        if self.groups == 1:
            return (self.nonzero_counts > 0).sum(axis=1)
        return self.symbols - ((self.zero >= 0) & (self.zero < self.symbols))


@dataclass(frozen=True, kw_only=True, eq=False)
class Symbols:
    """One tensor as positions in codebooks, in the order of its stream.

    Attributes:
        indices: `(count,)` uint8 positions.
        values: `(groups, k)` uint8 raw bytes. One group: ascending, and all occur. Many: row g is group g's codebook,
            padded by repeating values.
        zero: Symbol whose value is the zero byte in all groups, -1 where there is none.
        zero_byte: Raw byte of a weight of 0.
        inner: Weights that follow each other in a group: weight i belongs to group `(i // inner) % groups`.
    """

    indices: Bytes
    values: Bytes
    zero: int
    zero_byte: int
    inner: int

    @property
    def groups(self) -> int:
        """Codebooks."""
        return len(self.values)

    @property
    def codebooks(self) -> Bytes:
        """The values up to the last symbol that occurs, `(groups, k)` uint8."""
        return self.values[:, : int(self.indices.max(initial=0)) + 1 if len(self.indices) else 0]

    @property
    def raw_bytes(self) -> Bytes:
        """The weights, `(count,)`."""
        return self.values[np.arange(len(self.indices)) // self.inner % self.groups, self.indices]

    def coded(self, coding: str, table: bytes, stream: bytes) -> "Coded":
        """This tensor as it lies in flash."""
        return Coded(
            coding=coding,
            count=len(self.indices),
            groups=self.groups,
            inner=self.inner,
            zero_byte=self.zero_byte,
            table=table,
            stream=stream,
        )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of many tensors under each coding, `(n,)` int64 each.

    Attributes:
        stream: Of the coded weights, by coding; `UNAVAILABLE` where the coding cannot hold them.
        table: Of all else that their decoder needs, by coding.
    """

    stream: Mapping[str, Ints]
    table: Mapping[str, Ints]

    def bytes_of(self, coding: str) -> Ints:
        """Stream and table under a coding."""
        return np.minimum(self.stream[coding] + self.table[coding], UNAVAILABLE)


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One tensor as it lies in flash, and what the record of its layer says.

    Attributes:
        coding: Which decoder reads it.
        count: Number of weights.
        groups: Codebooks.
        inner: Weights that follow each other in a group.
        zero_byte: Raw byte of a weight of 0.
        table: What the decoder needs besides: codebooks, codeword counts, header; empty for raw.
        stream: The weights.
    """

    coding: str
    count: int
    groups: int
    inner: int
    zero_byte: int
    table: bytes
    stream: bytes

    @property
    def nbytes(self) -> int:
        """Table and stream."""
        return len(self.table) + len(self.stream)

    def check(self) -> None:
        """Check what the record of the layer says.

        Raises:
            CodecError: A number is out of its range.
        """
        if self.count < 0 or self.groups < 1 or self.inner < 1 or not 0 <= self.zero_byte < 256:
            raise CodecError(
                f"{self.count} weights in {self.groups} groups of {self.inner} in a row, with the zero byte"
                f" {self.zero_byte}: there are 0 weights or more, 1 group or more, 1 in a row or more, and a byte"
            )


@dataclass(frozen=True, kw_only=True)
class Container:
    """A runtime's form of coded weights.

    Attributes:
        name: The runtime's.
        codings: That it has.
        placements: Where they may lie while the network runs, of `bqsearch.plan.PLACEMENTS`.
        by_channel: Whether streams go output channel by output channel; else as the tensor lies in memory.
        sizes: Exact bytes of all that a tally counts.
        refusal: Why a coding cannot hold the one tensor of a tally that `sizes` says it cannot, and the cure.
        encode: From symbols and a coding to what lies in flash: exactly the bytes that `sizes` says of their tally.
        decode: From what lies in flash to `(count,)` raw bytes, bit for bit; raises `CodecError`.
    """

    name: str
    codings: tuple[str, ...]
    placements: tuple[str, ...]
    by_channel: bool
    sizes: Callable[[Tally], Sizes]
    refusal: Callable[[Tally, str], str]
    encode: Callable[[Symbols, str], Coded]
    decode: Callable[[Coded], Bytes]


def too_many(tally: Tally, most: int) -> str:
    """That a tensor has more values than a coding holds."""
    return f"they have {tally.symbols[0]} different values, and it holds {most} at most: choose fewer levels"


def gap_symbols(nonzero: NDArray[np.bool_]) -> tuple[Bytes, NDArray[np.bool_]]:
    """The runs of zeros of a tensor as gap symbols.

    A symbol `g < MAX_GAP` is g zeros and then a weight, `MAX_GAP` is so many zeros and no weight. What is left of the
    zeros at the tensor's end is one more symbol, whose weight would lie beyond it.

    Args:
        nonzero: `(count,)` which weights are not zero, in the order of the stream.

    Returns:
        `(m,)` uint8 symbols, and `(m,)` which of them a weight follows.
    """
    places = np.flatnonzero(nonzero)
    runs = np.diff(places, prepend=-1, append=len(nonzero)) - 1
    escapes, rests = np.divmod(runs, MAX_GAP)
    closing = rests[-1:] > 0
    ends = np.cumsum(escapes + 1) - 1
    symbols = np.full(int(ends[-1]) + 1, MAX_GAP, np.uint8)
    symbols[ends] = rests
    follows = np.zeros(len(symbols), np.bool_)
    follows[ends[:-1]] = True
    length = len(symbols) - 1 + int(closing[0])
    return symbols[:length], follows[:length]


def gap_counts(nonzero: NDArray[np.bool_]) -> Ints:
    """Occurrences of each gap symbol, `(1, MAX_GAP + 1)` int64, of `(count,)` weights in the order of the stream."""
    symbols, _ = gap_symbols(nonzero)
    return np.bincount(symbols, minlength=MAX_GAP + 1)[None].astype(np.int64)
