"""What a linker made of a program: sections and symbols from its ELF file, object files from its map.

Both are read strictly, for they may come from anywhere: ELF-32, little-endian, as in the System V ABI, chapters 4 and
5; the map as GNU ld prints it, each section's parts checked against the section's size.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bqsearch.errors import ToolError

SECTIONS = (".text", ".rodata", ".data", ".bss")  # what `boards/sections.ld` makes of a program

_IDENT = b"\x7fELF\x01\x01\x01"  # 32 bits, little-endian, version 1
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM = struct.Struct("<IIIIIIII")
_SECTION = struct.Struct("<IIIIIIIIII")
_SYMBOL = struct.Struct("<IIIBBH")
_LOAD, _SYMTAB, _STRTAB, _NOBITS = 1, 2, 3, 8
_WRITE, _ALLOC = 1, 2
_UNTYPED, _VARIABLE, _FUNCTION = 0, 1, 2
_ARM = 40
_RESERVED = 0xFF00  # symbols from here on lie in no section


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section that takes memory on the board.

    Attributes:
        name: `".text"`.
        address: Where it lies when the program runs.
        loaded: Where its bytes lie in flash; None if it has none, as .bss.
        size: Bytes.
        writable: Whether it lies in RAM.
    """

    name: str
    address: int
    loaded: int | None
    size: int
    writable: bool


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """A function or variable.

    Attributes:
        name: As in C.
        address: Where it lies when the program runs.
        size: Bytes; 0 if its source does not say.
        section: The name of its section.
    """

    name: str
    address: int
    size: int
    section: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """A linked program.

    Attributes:
        sections: Those that take memory on the board, in the file's order.
        symbols: Functions and variables in them.
    """

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    def size(self, section: str) -> int:
        """Bytes of a section; 0 if there is none of that name."""
        return sum(s.size for s in self.sections if s.name == section)

    @property
    def flash(self) -> int:
        """Bytes of flash from the first to the last, gaps between sections included."""
        return _span([(s.loaded, s.size) for s in self.sections if s.loaded is not None])

    @property
    def ram(self) -> int:
        """Bytes of RAM without the stack, gaps between sections included."""
        return _span([(s.address, s.size) for s in self.sections if s.writable])


@dataclass(frozen=True, kw_only=True)
class Part:
    """What an object file brought to a section.

    Attributes:
        section: Of the program, `".text"`.
        source: Of the object file, `".text.main"`; `"*fill*"` for what the linker put between two.
        object: The object file, `"libc.a(memset.S.o)"` for one of an archive; empty for a fill.
        size: Bytes.
    """

    section: str
    source: str
    object: str
    size: int


def read(elf: bytes) -> Image:
    """A linked program from its ELF file.

    Raises:
        ToolError: It is no such file, or does not hold together.
    """
    try:
        return _Reader(elf).image()
    except (struct.error, UnicodeDecodeError) as error:
        raise ToolError(f"the ELF file is cut off or malformed: {error}") from None


def _span(places: list[tuple[int, int]]) -> int:
    taken = [(start, start + size) for start, size in places if size]
    return max(end for _, end in taken) - min(start for start, _ in taken) if taken else 0


class _Reader:
    """The tables of an ELF file.

    Args:
        elf: Its bytes.
    """

    def __init__(self, elf: bytes) -> None:
        if elf[: len(_IDENT)] != _IDENT:
            raise ToolError("the linker's file is no ELF file of 32 bits, little-endian")
        self.elf = elf
        fields = _HEADER.unpack_from(elf)
        self.is_arm = fields[2] == _ARM
        programs, sections = fields[5], fields[6]
        program_size, program_count, section_size, section_count, self.names = fields[9:14]
        self.segments = self._table(_PROGRAM, programs, program_size, program_count)
        self.headers = self._table(_SECTION, sections, section_size, section_count)

    def image(self) -> Image:
        names = self._strings(self.names)
        labels = [_text(names, header[0]) for header in self.headers]
        kept = {
            i: self._section(label, h)
            for i, (label, h) in enumerate(zip(labels, self.headers, strict=True))
            if h[2] & _ALLOC
        }
        return Image(sections=tuple(kept.values()), symbols=tuple(self._symbols(kept)))

    def _table(self, layout: struct.Struct, offset: int, size: int, count: int) -> list[tuple[int, ...]]:
        if count and size != layout.size:
            raise ToolError(f"an entry of an ELF table has {layout.size} B, not {size}")
        if offset + count * layout.size > len(self.elf):
            raise ToolError(f"an ELF table of {count} entries at {offset} ends behind the file's {len(self.elf)} B")
        return [layout.unpack_from(self.elf, offset + i * layout.size) for i in range(count)]

    def _content(self, header: tuple[int, ...]) -> bytes:
        offset, size = header[4], header[5]
        if offset + size > len(self.elf):
            raise ToolError(f"an ELF section of {size} B at {offset} ends behind the file's {len(self.elf)} B")
        return self.elf[offset : offset + size]

    def _strings(self, index: int) -> bytes:
        if index >= len(self.headers) or self.headers[index][1] != _STRTAB:
            raise ToolError(f"ELF section {index} holds no names")
        return self._content(self.headers[index])

    def _section(self, name: str, header: tuple[int, ...]) -> Section:
        kind, flags, address, size = header[1], header[2], header[3], header[5]
        loaded = None if kind == _NOBITS else self._loaded(name, header)
        return Section(name=name, address=address, loaded=loaded, size=size, writable=bool(flags & _WRITE))

    def _loaded(self, name: str, header: tuple[int, ...]) -> int:
        """Where a section's bytes go, from the segment that has them."""
        offset, size = header[4], len(self._content(header))
        for kind, begin, _, physical, filled, *_ in self.segments:
            if kind == _LOAD and begin <= offset and offset + size <= begin + filled:
                return physical + offset - begin
        if size:
            raise ToolError(f"the section {name} is in no segment that is loaded")
        return header[3]

    def _symbols(self, kept: dict[int, Section]) -> Iterator[Symbol]:
        tables = [header for header in self.headers if header[1] == _SYMTAB]
        if len(tables) > 1:
            raise ToolError(f"an ELF file has one table of symbols, not {len(tables)}")
        for table in tables:
            if table[5] % _SYMBOL.size:
                raise ToolError(f"an ELF symbol has {_SYMBOL.size} B; {table[5]} B of them are no whole number")
            names = self._strings(table[6])
            for name, address, size, info, _, section in _SYMBOL.iter_unpack(self._content(table)):
                if section < _RESERVED and section in kept and info & 15 in (_UNTYPED, _VARIABLE, _FUNCTION):
                    label = _text(names, name)
                    thumb = self.is_arm and info & 15 == _FUNCTION  # bit 0 of the address says so
                    if label and not label.startswith("$"):  # $ marks code or data, not a thing of its own
                        place = address & ~1 if thumb else address
                        yield Symbol(name=label, address=place, size=size, section=kept[section].name)


def _text(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    if offset >= len(strings) or end < 0:
        raise ToolError(f"a name at {offset} is not in the ELF file's {len(strings)} B of names")
    return strings[offset:end].decode()


_SECTION_LINE = re.compile(r"^(\.[\w.]+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)(?: load address 0x[0-9a-f]+)?$")
_PART_LINE = re.compile(r"^ (\.[\w.$-]+|COMMON|\*fill\*)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)(?: (\S.*)| )?$")


def parts(text: str) -> tuple[Part, ...]:
    """Which object file brought what to `SECTIONS`, from GNU ld's map: all that is not empty.

    Raises:
        ToolError: It is no such map, or a section's parts do not make its size.
    """
    _, begin, rest = text.partition("\nLinker script and memory map\n")
    if not begin:
        raise ToolError("the linker's map lacks its memory map")
    sizes: dict[str, int] = {}
    found: list[Part] = []
    section = ""
    for line in _joined(rest):
        if head := _SECTION_LINE.match(line):
            section = head[1]
            sizes[section] = int(head[3], 16)
        elif section in SECTIONS and (part := _PART_LINE.match(line)) and int(part[3], 16):
            name = (part[4] or "").rpartition("/")[2]
            found.append(Part(section=section, source=part[1], object=name, size=int(part[3], 16)))
    for name in SECTIONS:
        summed = sum(part.size for part in found if part.section == name)
        if summed != sizes.get(name, 0):
            raise ToolError(f"the parts of {name} in the linker's map have {summed} B, not {sizes.get(name, 0)}")
    return tuple(found)


def _joined(text: str) -> Iterator[str]:
    """The lines, those that a long name broke in two made whole."""
    name = ""
    for line in text.splitlines():
        if re.fullmatch(r" ?\.[\w.$-]+", line):
            name = line
            continue
        yield name + line
        name = ""
