"""Packed n-bit indices, most significant bit first, padded with zeros to a byte."""

import numpy as np

from bqsearch.errors import CodecError
from bqsearch.types import Bytes, Ints

MOST_PACKED = 128  # symbols: indices of 8 bits would be no shorter than raw bytes


def width_of(symbols: int) -> int:
    """Bits for an index below `symbols`; 0 where there is only one."""
    return (symbols - 1).bit_length()


_WIDTHS = np.array([0] + [width_of(symbols) for symbols in range(1, 257)], np.int64)


def packed_bytes(count: int, width: int) -> int:
    """Bytes of `count` indices of `width` bits."""
    return -(-count * width // 8)


def widths_of(symbols: Ints) -> Ints:
    """`width_of` for `(n,)` numbers of symbols, at most 256 each."""
    return _WIDTHS[symbols]


def packed_sizes(counts: Ints, widths: Ints) -> Ints:
    """`packed_bytes` for `(n,)` numbers of indices and widths."""
    return -(-counts * widths // 8)


def pack(indices: Bytes, width: int) -> bytes:
    """Pack flat indices below `2**width`, `width` at most 8."""
    planes = np.unpackbits(np.ascontiguousarray(indices, np.uint8)[:, None], axis=1)[:, 8 - width :]
    return np.packbits(planes.reshape(-1)).tobytes()


def unpack(stream: bytes, count: int, width: int) -> Bytes:
    """The `count` indices that `pack` wrote.

    Raises:
        CodecError: The stream's length is not that of `count` indices.
    """
    if len(stream) != packed_bytes(count, width):
        needed = packed_bytes(count, width)
        raise CodecError(f"{count} indices of {width} bits need {needed} B, but the stream has {len(stream)} B")
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=count * width).reshape(count, width)
    padded = np.zeros((count, 8), np.uint8)
    padded[:, 8 - width :] = bits
    return np.packbits(padded, axis=1).reshape(-1)
