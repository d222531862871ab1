"""A checked reader of FlatBuffers: hostile bytes cost no more work than honest ones of the same size.

Every access is checked against the file's end, every vector's length against the bytes behind it, and what is read is
charged to a budget: a file whose structures overlap, so that few bytes stand for many, runs out of it.
https://flatbuffers.dev/internals/ has the layout; fields are named by their position in the schema's table.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from bqsearch.errors import ModelError
from bqsearch.types import Array, Bytes

TABLES = 1 << 15  # that a file may have: networks for microcontrollers have a few thousand
VECTOR_BYTES = 8 << 20  # of shapes, indices, scales and names in all; constants are not among them
_SHARING = 4  # how often each byte may be read, for writers that store equal vectors once
_SLACK = 1 << 16
_SIZES = {"b": 1, "B": 1, "?": 1, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}


class Reader:
    """Bounds and budget over the bytes of one file.

    Args:
        content: The file.
        origin: Names it in errors.
    """

    def __init__(self, content: bytes, origin: str) -> None:
        self.content, self.origin = content, origin
        self._tables = min(TABLES, len(content) // 2)
        self._bytes = min(VECTOR_BYTES, _SHARING * len(content) + _SLACK)

    def root(self) -> "Table":
        """The table that the file's first word points to."""
        return self.table(self.scalar("I", 0))

    def table(self, position: int) -> "Table":
        """The table at a byte position, its vtable checked."""
        self._tables -= 1
        if self._tables < 0:
            raise self.damage("its tables overlap, or are more than a network for a microcontroller has")
        vtable = position - self.scalar("i", position)
        length, extent = self.scalar("H", vtable), self.scalar("H", vtable + 2)
        if length < 4 or extent < 4 or vtable + length > len(self.content) or position + extent > len(self.content):
            raise self.damage(f"the table at byte {position} reaches beyond its bounds")
        return Table(self, position, vtable, length, extent)

    def scalar(self, kind: str, position: int) -> Any:
        """One number: `kind` is its `struct` format, without the byte order."""
        if not 0 <= position <= len(self.content) - _SIZES[kind]:
            raise self.damage(f"byte {position} is outside of the file's {len(self.content)}")
        return struct.unpack_from("<" + kind, self.content, position)[0]

    def span(self, position: int, itemsize: int) -> tuple[int, int]:
        """The bytes from start to end of the vector at a byte position."""
        start = position + 4
        end = start + self.scalar("I", position) * itemsize
        if end > len(self.content):
            raise self.damage(f"the vector at byte {position} ends at byte {end}, the file at {len(self.content)}")
        return start, end

    def charge(self, nbytes: int) -> None:
        """Take `nbytes` of vectors off the budget."""
        self._bytes -= nbytes
        if self._bytes < 0:
            raise self.damage("its vectors overlap, or hold more than shapes, names and scales can be")

    def view(self, start: int, end: int) -> Bytes:
        """These bytes, not copied."""
        return np.frombuffer(self.content, np.uint8, end - start, start)

    def damage(self, reason: str) -> ModelError:
        """The error that says what is wrong with the file."""
        return ModelError(f"{self.origin} is truncated or corrupt: {reason}")


@dataclass(frozen=True, slots=True)
class Table:
    """One table; fields are numbered as in the schema. A field that the file leaves out has its default."""

    reader: Reader
    position: int
    vtable: int
    vtable_length: int
    extent: int

    def has(self, field: int) -> bool:
        """Whether the file holds the field, whatever it may be."""
        return self._at(field, 1) is not None

    def scalar(self, field: int, kind: str, default: Any = 0) -> Any:
        """A number; `kind` is its `struct` format."""
        at = self._at(field, _SIZES[kind])
        return default if at is None else self.reader.scalar(kind, at)

    def table(self, field: int) -> "Table | None":
        """A table."""
        at = self._target(field)
        return None if at is None else self.reader.table(at)

    def tables(self, field: int) -> list["Table"]:
        """A vector of tables; empty if it is left out."""
        at = self._target(field)
        if at is None:
            return []
        start, end = self.reader.span(at, 4)
        if (end - start) // 4 > TABLES:
            raise self.reader.damage(f"a vector of {(end - start) // 4:,} tables")
        return [self.reader.table(i + self.reader.scalar("I", i)) for i in range(start, end, 4)]

    def vector(self, field: int, dtype: str) -> Array | None:
        """A vector of numbers as a view, `dtype` in NumPy's little-endian notation; None if it is left out."""
        at = self._target(field)
        if at is None:
            return None
        start, end = self.reader.span(at, np.dtype(dtype).itemsize)
        self.reader.charge(end - start)
        return self.reader.view(start, end).view(dtype)

    def text(self, field: int) -> str:
        """A string; what is no UTF-8 is replaced. Empty if it is left out."""
        found = self.vector(field, "u1")
        return "" if found is None else found.tobytes().decode("utf-8", "replace")

    def span(self, field: int) -> tuple[int, int] | None:
        """Where the bytes of a byte vector lie, from start to end; free of charge, because they are not read."""
        at = self._target(field)
        return None if at is None else self.reader.span(at, 1)

    def _at(self, field: int, size: int) -> int | None:
        """The byte position of a field of `size` bytes, None if it is left out."""
        entry = 4 + 2 * field
        if entry + 2 > self.vtable_length:
            return None
        offset: int = self.reader.scalar("H", self.vtable + entry)
        if offset == 0:
            return None
        if offset < 4 or offset + size > self.extent:
            raise self.reader.damage(f"field {field} of the table at byte {self.position} lies outside of it")
        return self.position + offset

    def _target(self, field: int) -> int | None:
        at = self._at(field, 4)
        return None if at is None else at + int(self.reader.scalar("I", at))
