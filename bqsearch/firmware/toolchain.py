"""Finding compilers, and building firmware with them."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
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


def version(compiler: Compiler) -> str:
    """What a compiler says of itself in its first line. Raises `ToolError` as `find` does."""
    return run([find_compiler(compiler, "its version"), "--version"], Path.cwd()).splitlines()[0]


def flags_of(board: Board) -> tuple[str, ...]:
    """What a compiler is told of a board, for compiling and for linking."""
    specs = board.compiler.specs
    return (*board.flags, *((f"--specs={specs}",) if specs else ()))


def linking(board: Board, folder: str = "boards") -> tuple[str, ...]:
    """What a linker is told besides; `folder` is where the boards' files lie."""
    if board.script is None:
        return ("-Wl,--gc-sections",)
    return ("-nostartfiles", f"-L{folder}", f"-T{board.script}", "-Wl,--gc-sections", *board.compiler.linking)


def build(board: Board, folder: Path, out: Path, *, optimizing: str = OPTIMIZING, cache: Path | None = None) -> Program:
    """Compile and link the firmware of a folder.

    Args:
        board: What it is for.
        folder: As `bqsearch.exporters.firmware` leaves it.
        out: Folder for all that is built; made if it is not there.
        optimizing: The compiler's option for it.
        cache: Folder for the object files that all networks share; `out` if there is none.

    Raises:
        ToolError: The compiler is missing, fails, or takes too long.
    """
    folder, out = folder.resolve(), out.resolve()
    compiler = find_compiler(board.compiler, f"building firmware for {board.title}")
    flags = [compiler, *COMPILING, optimizing, *flags_of(board), *WARNINGS, *(f"-I{place}" for place in INCLUDED)]
    runtime = sorted(f"runtime/{path.name}" for path in (folder / "runtime").glob("*.c"))
    drivers = [f"boards/{name}" for name in board.sources]
    shared = _shared_objects(flags, folder, [*runtime, *drivers], cache or out)
    objects = [_compile(flags, folder, name, out) for name in ("main.c", "model.c")]
    objects += [_object(shared, name) for name in (*runtime, *drivers)]
    program = Program(board=board, path=out / "firmware.elf", map=out / "firmware.map")
    link = [*linking(board), f"-Wl,-Map={program.map}", *map(str, objects), "-o", str(program.path)]
    run([compiler, optimizing, *flags_of(board), *link], folder)
    return program


def _shared_objects(flags: Sequence[str], folder: Path, sources: Sequence[str], cache: Path) -> Path:
    """The folder of the object files that do not depend on the network; it is made whole or not at all."""
    version = run([flags[0], "--version"], folder)
    digest = hashlib.sha256(repr((version, flags, sources)).encode())
    for path in sorted(path for place in ("runtime", "boards") for path in (folder / place).rglob("*.*")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    shared = cache.resolve() / f"objects-{digest.hexdigest()[:16]}"
    if not shared.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.resolve()) as made, ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda name: _compile(flags, folder, name, Path(made) / "objects"), sources))
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(Path(made) / "objects", shared)
    return shared


def _compile(flags: Sequence[str], folder: Path, source: str, out: Path) -> Path:
    """The object file of a source of the folder."""
    target = _object(out, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    run([*flags, "-c", source, "-o", str(target)], folder)
    return target


def _object(out: Path, source: str) -> Path:
    return (out / source).with_suffix(".o")


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
