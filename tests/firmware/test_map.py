"""ELF files and maps: made by hand, as the linkers leave them, and damaged."""

import re
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.errors import ToolError
from bqsearch.firmware import map as linker
from bqsearch.firmware.board import Board
from bqsearch.firmware.map import SECTIONS, Part, Section, Symbol
from firmware.sample import EMULATED, built, network

ON_BOARDS = pytest.mark.parametrize("board", EMULATED, ids=lambda board: board.name)
NAMES = b"\0.text\0.data\0.bss\0.symtab\0.strtab\0main\0$x\0"
TEXT, DATA = b"code" * 5, b"data" * 2


def elf() -> bytes:
    """20 bytes of code at 0x1000, 8 of data at 0x8000 that are loaded 4 behind them, 24 cleared, and four symbols."""
    symbols = [
        (0, 0, 0, 0, 0),
        (34, 0x1004, 6, 2, 1),
        (39, 0x1000, 0, 0, 1),
        (34, 0x9000, 1, 1, 0xFFF1),
        (13, 0, 0, 3, 2),
    ]
    table = b"".join(struct.pack("<IIIBBH", name, at, size, kind, 0, where) for name, at, size, kind, where in symbols)
    parts = [TEXT, DATA, table, NAMES]
    starts = [52 + 2 * 32 + sum(map(len, parts[:i])) for i in range(len(parts))]
    sections = [
        (0, 0, 0, 0, 0, 0, 0),
        (1, 1, 6, 0x1000, starts[0], len(TEXT), 0),
        (7, 1, 3, 0x8000, starts[1], len(DATA), 0),
        (13, 8, 3, 0x8008, starts[2], 24, 0),
        (18, 2, 0, 0, starts[2], len(table), 5),
        (26, 3, 0, 0, starts[3], len(NAMES), 0),
    ]
    headers = b"".join(
        struct.pack("<10I", name, kind, flags, at, offset, size, link, 0, 1, 0)
        for name, kind, flags, at, offset, size, link in sections
    )
    segments = struct.pack("<8I", 1, starts[0], 0x1000, 0x1000, len(TEXT), len(TEXT), 5, 4)
    segments += struct.pack("<8I", 1, starts[1], 0x8000, 0x1018, len(DATA), len(DATA) + 24, 6, 4)
    behind = starts[3] + len(NAMES)
    ident = b"\x7fELF\1\1\1" + bytes(9)
    head = struct.pack("<16sHHIIIIIHHHHHH", ident, 2, 243, 1, 0x1000, 52, behind, 0, 52, 32, 2, 40, 6, 5)
    return head + segments + b"".join(parts) + headers


def test_an_elf_file_by_hand() -> None:
    image = linker.read(elf())
    assert image.sections == (
        Section(name=".text", address=0x1000, loaded=0x1000, size=20, writable=False),
        Section(name=".data", address=0x8000, loaded=0x1018, size=8, writable=True),
        Section(name=".bss", address=0x8008, loaded=None, size=24, writable=True),
    )
    assert image.symbols == (Symbol(name="main", address=0x1004, size=6, section=".text"),)
    assert (image.flash, image.ram) == (20 + 4 + 8, 8 + 24)
    assert [image.size(name) for name in SECTIONS] == [20, 0, 8, 24]


@given(cut=st.integers(0, len(elf()) - 1))
def test_no_cut_elf_file_is_read(cut: int) -> None:
    with pytest.raises(ToolError):
        linker.read(elf()[:cut])


@given(changes=st.lists(st.tuples(st.integers(0, len(elf()) - 1), st.integers(0, 255)), max_size=8))
def test_a_damaged_elf_file_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(elf())
    for place, byte in changes:
        damaged[place] = byte
    try:
        image = linker.read(bytes(damaged))
    except ToolError:
        return
    assert image.flash >= 0
    assert image.ram >= 0


@given(content=st.binary(max_size=200))
def test_noise_is_no_elf_file(content: bytes) -> None:
    for head in (b"", b"\x7fELF\1\1\1"):
        with pytest.raises(ToolError):
            linker.read(head + content)


MAP = """
Memory Configuration

Linker script and memory map

LOAD main.o

.text           0x20400000       0x5a
 *(.start)
 .start         0x20400000       0x36 /a/start.o
                0x20400000                reset
 .text.a_long_name
                0x20400036       0x20 /lib/libc.a(memset.S.o)
                         0x28 (size before relaxing)
                0x20400058                . = ALIGN (0x4)
 *fill*         0x20400056        0x4 

.data           0x80000000        0x2 load address 0x2040062c
 .sdata.x       0x80000000        0x2 main.o

.comment        0x00000000       0x40
 .comment       0x00000000       0x80 main.o
"""  # noqa: W291


def test_a_map_by_hand() -> None:
    assert linker.parts(MAP) == (
        Part(section=".text", source=".start", object="start.o", size=0x36),
        Part(section=".text", source=".text.a_long_name", object="libc.a(memset.S.o)", size=0x20),
        Part(section=".text", source="*fill*", object="", size=4),
        Part(section=".data", source=".sdata.x", object="main.o", size=2),
    )


def test_a_map_that_does_not_hold_together_is_refused() -> None:
    with pytest.raises(ToolError, match=r"the parts of \.text in the linker's map have 90 B, not 92"):
        linker.parts(MAP.replace("0x5a", "0x5c"))
    with pytest.raises(ToolError, match="lacks its memory map"):
        linker.parts(MAP.replace("memory map", "memory"))


@given(st.text(max_size=300))
def test_noise_is_an_empty_map_or_none(content: str) -> None:
    with pytest.raises(ToolError):
        linker.parts(content)
    with suppress(ToolError):
        linker.parts("\nLinker script and memory map\n" + content)


@ON_BOARDS
@pytest.mark.parametrize("optimizing", ["-Os", "-O2"])
def test_sizes_are_those_of_the_binutils(board: Board, optimizing: str, tmp_path: Path) -> None:
    before = "static uint16_t filled[] = {7, 8, 9};"
    program = built(
        board, tmp_path, network("return filled[arena[0]]++ ? BQ_OK : BQ_BAD_STREAM;", before), optimizing=optimizing
    )
    image, prefix = linker.read(program.path.read_bytes()), board.compiler.prefix
    listed = _printed(f"{prefix}size", "-A", program.path)
    rows = {name: int(size) for name, size in re.findall(r"^(\.\w+) +(\d+)", listed, re.MULTILINE)}
    assert {name: image.size(name) for name in SECTIONS} == {name: rows[name] for name in SECTIONS}
    assert image.size(".data") == 8
    sized = re.findall(r"^(\w{8}) (\w{8}) \w (\w+)$", _printed(f"{prefix}nm", "-S", program.path), re.MULTILINE)
    assert {(s.address, s.size, s.name) for s in image.symbols if s.size} == {
        (int(address, 16), int(size, 16), name) for address, size, name in sized
    }
    assert {"main", "filled", "bq_model"} <= {name for _, _, name in sized}


@ON_BOARDS
def test_flash_is_what_is_flashed(board: Board, tmp_path: Path) -> None:
    program = built(
        board, tmp_path, network("return filled[arena[0]]++ ? BQ_OK : BQ_BAD_STREAM;", "static uint8_t filled[] = {7};")
    )
    raw = tmp_path / "raw.bin"
    _printed(f"{board.compiler.prefix}objcopy", "-O", "binary", program.path, raw)
    assert linker.read(program.path.read_bytes()).flash == raw.stat().st_size


@ON_BOARDS
@pytest.mark.parametrize("optimizing", ["-Os", "-O2"])
def test_the_maps_parts_are_the_programs(board: Board, optimizing: str, tmp_path: Path) -> None:
    program = built(board, tmp_path, optimizing=optimizing)
    image, parts = linker.read(program.path.read_bytes()), linker.parts(program.map.read_text("utf-8"))
    for name in SECTIONS:
        assert sum(part.size for part in parts if part.section == name) == image.size(name)
    functions = {s.name: s.size for s in image.symbols}
    assert {p.size for p in parts if p.source == ".text.board_start"} == {functions["board_start"]}
    assert {"main.o", "model.o", "bq.o", "startup.o", "board.o"} < {part.object for part in parts}


def _printed(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
