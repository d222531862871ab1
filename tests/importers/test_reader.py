"""Bytes laid out by hand: what lies within bounds is read, what does not is refused, and overlaps cost a budget."""

import struct
from time import perf_counter

import numpy as np
import pytest

from bqsearch.errors import ModelError
from bqsearch.graph.flatbuffer import IDENTIFIER
from bqsearch.importers.reader import TABLES, Reader
from bqsearch.importers.tflite import parse

# Root at 16; its vtable at 4: 12 bytes for fields 0 to 3, of a table of 20 bytes.
VTABLE = struct.pack("<6H", 12, 20, 4, 8, 0, 12)
TABLE = struct.pack("<iihxxIi", 12, -5, 7, 8, 0)  # fields: int -5, short 7, none, offset to 28 + 8
VECTOR = struct.pack("<I3i", 3, 1, 2, 3)
GOOD = struct.pack("<I", 16) + VTABLE + TABLE + VECTOR


def test_fields_are_read_and_left_out_ones_have_their_default() -> None:
    root = Reader(GOOD, "file").root()
    assert root.scalar(0, "i") == -5
    assert root.scalar(1, "b") == 7
    assert root.scalar(2, "i", 9) == 9
    assert root.scalar(17, "i", 9) == 9
    assert root.vector(3, "<i4").tolist() == [1, 2, 3]
    assert root.span(3) == (40, 43)
    assert root.vector(2, "<i4") is None
    assert root.table(2) is None
    assert [root.has(field) for field in (0, 1, 2, 3, 17)] == [True, True, False, True, False]
    assert root.tables(2) == []
    assert root.text(2) == ""


def test_vectors_are_views() -> None:
    content = GOOD
    found = Reader(content, "file").root().vector(3, "<i4")
    assert np.shares_memory(found, np.frombuffer(content, np.uint8))


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_every_truncation_is_refused(length: int) -> None:
    def read() -> None:
        root = Reader(GOOD[:length], "file").root()
        root.scalar(0, "i")
        root.vector(3, "<i4")

    with pytest.raises(ModelError, match=r"^file is truncated or corrupt: "):
        read()


def patched(at: int, kind: str, value: int) -> bytes:
    content = bytearray(GOOD)
    struct.pack_into("<" + kind, content, at, value)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        patched(0, "I", 0xFFFFFFFF),
        patched(0, "I", len(GOOD) - 2),
        patched(4, "H", 2),  # a vtable that does not hold its own lengths
        patched(4, "H", 0xFFFE),
        patched(6, "H", 0xFFFF),
        patched(6, "H", 0),
        patched(8, "H", 2),  # a field in the table's own head
        patched(8, "H", 18),  # a field that reaches beyond the table
        patched(16, "i", 17),  # a vtable before the file
        patched(16, "i", -1000),
    ],
)
def test_tables_out_of_bounds(content: bytes) -> None:
    with pytest.raises(ModelError):
        Reader(content, "file").root().scalar(0, "i")


@pytest.mark.parametrize("count", [4, 1 << 20, 0x40000000, 0xFFFFFFFF])
def test_vectors_out_of_bounds(count: int) -> None:
    content = patched(36, "I", count)
    for read in ("vector", "tables", "span"):
        arguments = (3, "<i4") if read == "vector" else (3,)
        if read == "span" and count == 4:
            continue  # four bytes are there
        with pytest.raises(ModelError):
            getattr(Reader(content, "file").root(), read)(*arguments)


def entries(count: int, length: int = 4) -> bytes:
    """A root whose field 0 is a vector of `count` entries, all of one table, whose field 0 is a vector of bytes."""
    head = struct.pack("<I4xHHHxxiI", 16, 6, 8, 4, 8, 4)  # vtable at 8, root at 16, its vector at 24
    assert len(head) == 24
    inner = 28 + 4 * count
    vector = struct.pack("<I", count) + b"".join(struct.pack("<I", inner + 8 - (28 + 4 * i)) for i in range(count))
    table = struct.pack("<HHHxxiII", 6, 8, 4, 8, 4, length)  # vtable at `inner`, table at + 8, vector at + 16
    return head + vector + table + bytes(length)


def test_entries_of_one_table_are_read_while_they_are_few() -> None:
    content = entries(50)
    assert [t.text(0) for t in Reader(content, "file").root().tables(0)] == ["\0" * 4] * 50


def test_bytes_that_stand_for_many_are_refused() -> None:
    root = Reader(entries(5000, 100_000), "file").root()
    with pytest.raises(ModelError, match="vectors overlap"):
        [t.text(0) for t in root.tables(0)]


def test_there_is_a_most_of_tables() -> None:
    with pytest.raises(ModelError, match=f"a vector of {TABLES + 1:,} tables"):
        Reader(entries(TABLES + 1), "file").root().tables(0)
    root = Reader(entries(TABLES - 1), "file").root()
    root.tables(0)
    with pytest.raises(ModelError, match="its tables overlap, or are more"):
        root.tables(0)


def test_a_table_that_holds_itself_ends() -> None:
    content = GOOD[:20] + struct.pack("<I", 0xFFFFFFFC) + GOOD[24:]  # field 0: an offset back to the table
    root = Reader(content, "file").root()
    with pytest.raises(ModelError):
        root.table(0)


def test_a_file_full_of_offsets_is_refused_soon() -> None:
    """Every word is an offset to another word: whatever is read leads on."""
    rng = np.random.default_rng(0)
    for high in (8, 64, 4096, 1 << 20):
        words = rng.integers(4, high, 1 << 20, dtype=np.uint32)
        content = bytearray(words.tobytes())
        content[4:8] = IDENTIFIER
        started = perf_counter()
        with pytest.raises(ModelError):
            parse(bytes(content))
        assert perf_counter() - started < 2
