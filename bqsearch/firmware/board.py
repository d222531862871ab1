"""Boards that firmware is built for: compilers, flags, files and emulators, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from bqsearch.errors import UnknownNameError

_CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft")
_RV32IMAC = ("-march=rv32imac", "-mabi=ilp32", "-mtune=sifive-3-series")


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """What makes programs for a kind of processor.

    Attributes:
        prefix: Of the names of its programs, `"arm-none-eabi-"`; empty for this computer's own.
        command: The compiler.
        specs: A file of GCC's that must be there and is used, the C library's; None for none.
        linking: What its linker is told besides.
        packages: Debian packages that bring all of it.
    """

    prefix: str
    command: str
    specs: str | None
    linking: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """A machine of QEMU.

    Attributes:
        command: The program.
        machine: Its `-machine`.
        package: The Debian package that brings it.
    """

    command: str
    machine: str
    package: str


@dataclass(frozen=True, kw_only=True)
class Board:
    """Where firmware runs.

    Attributes:
        name: That of its target, or `"host"`.
        title: For people.
        compiler: What builds for it.
        flags: The processor's.
        sources: Its files in `boards/`, besides `main.c`.
        script: Its linker script in `boards/`; None where the system's is used.
        emulator: What runs it here; None where it runs by itself.
    """

    name: str
    title: str
    compiler: Compiler
    flags: tuple[str, ...]
    sources: tuple[str, ...]
    script: str | None
    emulator: Emulator | None


GCC = Compiler(prefix="", command="cc", specs=None, linking=(), packages=("gcc", "libc6-dev"))
RISCV_GCC = Compiler(
    prefix="riscv64-unknown-elf-",
    command="riscv64-unknown-elf-gcc",
    specs="picolibc.specs",
    linking=("-Wl,--no-relax",),  # calls of one size: code's size is then the sum of what is linked
    packages=("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf"),
)
ARM_GCC = Compiler(
    prefix="arm-none-eabi-",
    command="arm-none-eabi-gcc",
    specs="nano.specs",
    linking=(),
    packages=("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
)

HOST = Board(
    name="host",
    title="this computer",
    compiler=GCC,
    flags=(),
    sources=("host/board.c",),
    script=None,
    emulator=None,
)
HIFIVE1 = Board(
    name="hifive1",
    title="SiFive HiFive1 (FE310-G000)",
    compiler=RISCV_GCC,
    flags=_RV32IMAC,
    sources=("startup.c", "fe310/board.c", "fe310/start.S"),
    script="hifive1/link.ld",
    emulator=Emulator(command="qemu-system-riscv32", machine="sifive_e", package="qemu-system-misc"),
)
HIFIVE1_REVB = Board(
    name="hifive1_revb",
    title="SiFive HiFive1 Rev B (FE310-G002)",
    compiler=RISCV_GCC,
    flags=_RV32IMAC,
    sources=HIFIVE1.sources,
    script="hifive1_revb/link.ld",
    emulator=Emulator(command="qemu-system-riscv32", machine="sifive_e,revb=true", package="qemu-system-misc"),
)
STM32F405 = Board(
    name="stm32f405",
    title="STMicroelectronics STM32F405",
    compiler=ARM_GCC,
    flags=_CORTEX_M4,
    sources=("startup.c", "stm32f405/board.c"),
    script="stm32f405/link.ld",
    emulator=Emulator(command="qemu-system-arm", machine="netduinoplus2", package="qemu-system-arm"),
)
BOARDS: Mapping[str, Board] = {board.name: board for board in (HOST, HIFIVE1, HIFIVE1_REVB, STM32F405)}


def named(name: str) -> Board:
    """A board by name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in BOARDS:
        raise UnknownNameError("board", name, BOARDS)
    return BOARDS[name]


def sources() -> Traversable:
    """The folder of all boards' files."""
    return files("bqsearch.firmware") / "boards"


def files_of(board: Board) -> tuple[str, ...]:
    """What a board needs of that folder, besides `main.c`."""
    headers = ("board.h", "startup.h") if board.script else ("board.h",)
    scripts = ("sections.ld", board.script) if board.script else ()
    return (*headers, *board.sources, *scripts)
