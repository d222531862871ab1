"""Finding compilers, and building firmware with them."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bqsearch.errors import ToolError
from bqsearch.firmware.board import Board, Compiler

WARNINGS = (
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic"),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror"),
)
COMPILING = ("-std=c11", "-ffunction-sections", "-fdata-sections")
OPTIMIZING = "-O2"
INCLUDED = (".", "runtime", "boards")
_PATIENCE = 300.0  # seconds that a compiler may take for a file
_SHOWN_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a linker left.

    Attributes:
        board: What it runs on.
        path: The program: an ELF file.
        map: The linker's map.
    """

    board: Board
    path: Path
    map: Path


def find(command: str, packages: Sequence[str], purpose: str) -> str:
    """The path of a program.

    Raises:
        ToolError: It is not installed; the message says what to install.
    """
    path = shutil.which(command)
    if path is None:
        raise _missing(command, packages, purpose)
    return path


def find_compiler(compiler: Compiler, purpose: str) -> str:
    """The path of a compiler that has its C library. Raises `ToolError` as `find` does."""
    path = find(compiler.command, compiler.packages, purpose)
    if compiler.specs is not None:
        answer = run([path, f"-print-file-name={compiler.specs}"], Path.cwd()).strip()
        if not Path(answer).is_absolute():  # an unknown name comes back as it is
            raise _missing(f"{compiler.specs} of {compiler.command}", compiler.packages, purpose)
    return path


def flags_of(board: Board) -> tuple[str, ...]:
    """What a compiler is told of a board, for compiling and for linking."""
    specs = board.compiler.specs
    return (*board.flags, *((f"--specs={specs}",) if specs else ()))


def linking(board: Board, folder: str = "boards") -> tuple[str, ...]:
    """What a linker is told besides; `folder` is where the boards' files lie."""
    if board.script is None:
        return ("-Wl,--gc-sections",)
    return ("-nostartfiles", f"-L{folder}", f"-T{board.script}", "-Wl,--gc-sections")


def build(board: Board, folder: Path, out: Path, *, optimizing: str = OPTIMIZING) -> Program:
    """Compile and link the firmware of a folder.

    Args:
        board: What it is for.
        folder: As `bqsearch.exporters.firmware` leaves it.
        out: Folder for all that is built; made if it is not there.
        optimizing: The compiler's option for it.

    Raises:
        ToolError: The compiler is missing, fails, or takes too long.
    """
    compiler = find_compiler(board.compiler, f"building firmware for {board.title}")
    common = [compiler, *COMPILING, optimizing, *flags_of(board), *WARNINGS, *(f"-I{place}" for place in INCLUDED)]
    objects = {source: (out / "objects" / source).resolve().with_suffix(".o") for source in _sources(board, folder)}
    for target in objects.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    commands = [[*common, "-c", source, "-o", str(target)] for source, target in objects.items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda command: run(command, folder), commands))
    program = Program(board=board, path=out.resolve() / "firmware.elf", map=out.resolve() / "firmware.map")
    link = [*linking(board), f"-Wl,-Map={program.map}", *map(str, objects.values()), "-o", str(program.path)]
    run([compiler, optimizing, *flags_of(board), *link], folder)
    return program


def run(command: Sequence[str], folder: Path) -> str:
    """What a program prints on standard output, run in a folder without a shell.

    Raises:
        ToolError: It fails, or takes too long.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} was not done after {_PATIENCE:.0f} s: {' '.join(command)}") from None
    except OSError as error:
        raise ToolError(f"{name} cannot be started: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[:_SHOWN_LINES]
        raise ToolError("\n".join([f"{name} failed with status {done.returncode}: {' '.join(command)}", *said]))
    return done.stdout


def _missing(what: str, packages: Sequence[str], purpose: str) -> ToolError:
    return ToolError(f"{purpose} needs {what}, which is not installed: apt-get install {' '.join(packages)}")


def _sources(board: Board, folder: Path) -> list[str]:
    """All C files, relative to the folder, in the order in which they are linked."""
    runtime = sorted(f"runtime/{path.name}" for path in (folder / "runtime").glob("*.c"))
    return ["main.c", "model.c", *runtime, *(f"boards/{source}" for source in board.sources)]
