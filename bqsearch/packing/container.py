"""Container: how a runtime wants coded weights, with the exact bytes of every coding, an encoder and a decoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bqsearch.types import Bytes, Ints

UNAVAILABLE = np.iinfo(np.int64).max // 4  # bytes of a coding that cannot hold the alphabet


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of many tensors under each coding, `(n,)` int64 each.

    Attributes:
        stream: Of the coded weights, by coding; `UNAVAILABLE` where the coding cannot hold them.
        table: Of all else that their decoder needs, by coding.
        symbols: Distinct values.
    """

    stream: Mapping[str, Ints]
    table: Mapping[str, Ints]
    symbols: Ints

    def bytes_of(self, coding: str) -> Ints:
        """Stream and table under a coding."""
        return np.minimum(self.stream[coding] + self.table[coding], UNAVAILABLE)


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One tensor as it lies in flash.

    Attributes:
        coding: Which decoder reads it.
        count: Number of weights.
        table: What the decoder needs besides: codebook, codeword counts, header; empty for raw.
        stream: The weights.
    """

    coding: str
    count: int
    table: bytes
    stream: bytes

    @property
    def nbytes(self) -> int:
        """Table and stream."""
        return len(self.table) + len(self.stream)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A runtime's form of coded weights.

    Attributes:
        name: The runtime's.
        codings: That it has.
        by_channel: Whether streams go output channel by output channel; else as the tensor lies in memory.
        sizes: From `(n, 256)` int64 occurrences of raw bytes, and the byte that stands for zero, to exact bytes.
        encode: From flat indices into a `(k,)` uint8 codebook whose values all occur, the codebook, a coding and the
            byte that stands for zero, to what lies in flash: exactly the bytes that `sizes` says.
        decode: From what lies in flash, and the byte that stands for zero, to `(count,)` raw bytes;
            raises `CodecError`.
    """

    name: str
    codings: tuple[str, ...]
    by_channel: bool
    sizes: Callable[[Ints, int], Sizes]
    encode: Callable[[Bytes, Bytes, str, int], Coded]
    decode: Callable[[Coded, int], Bytes]
