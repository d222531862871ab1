"""A network as C -> a folder that needs nothing else: network, runtime, boards, an example, and how to build it all."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from bqsearch.errors import OutputError
from bqsearch.firmware import board as boards
from bqsearch.firmware import toolchain
from bqsearch.firmware.board import HOST, Board
from bqsearch.firmware.emit import ModelSource
from bqsearch.firmware.toolchain import COMPILING, INCLUDED, OPTIMIZING, WARNINGS

_FIRMWARE = files("bqsearch.firmware")
_SETTINGS = ("PREFIX", "CC", "FLAGS", "SOURCES", "SCRIPTS", "LINKING")


def export(folder: Path, model: ModelSource, board: Board) -> None:
    """Write the firmware of a network.

    Args:
        folder: Made if it is not there; files of the same names are replaced.
        model: The network in C.
        board: What it is for. It can be built for this computer too.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        for name, text in texts(model, board).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write firmware to {folder}: {error}") from error


def texts(model: ModelSource, board: Board) -> Mapping[str, str]:
    """The firmware's files by their path in the folder; see `export`."""
    chosen = list(dict.fromkeys([board, HOST]))
    made = {"model.h": model.header, "model.c": model.source, "model_hash.h": _hash_header(model_hash(model))}
    made |= {"main.c": (boards.sources() / "main.c").read_text("utf-8"), **_runtime(), **_boards(chosen)}
    return made | {name: _filled(name, board, chosen) for name in ("Makefile", "CMakeLists.txt", "README.md")}


def model_hash(model: ModelSource) -> int:
    """64 bits by which firmware is told apart: the first of the SHA-256 of the network's C text."""
    return int.from_bytes(hashlib.sha256(f"{model.header}\0{model.source}".encode()).digest()[:8], "big")


def _hash_header(value: int) -> str:
    return f"""\
/* What tells this network from others. */
#ifndef MODEL_HASH_H
#define MODEL_HASH_H

#include <stdint.h>

#define MODEL_HASH UINT64_C(0x{value:016x})

#endif
"""


def _runtime() -> Mapping[str, str]:
    found = sorted(
        (f for f in (_FIRMWARE / "source").iterdir() if f.name.endswith((".c", ".h", ".inc"))), key=lambda f: f.name
    )
    return {f"runtime/{f.name}": f.read_text("utf-8") for f in found}


def _boards(chosen: Sequence[Board]) -> Mapping[str, str]:
    names = dict.fromkeys(name for board in chosen for name in boards.files_of(board))
    return {f"boards/{name}": boards.sources().joinpath(name).read_text("utf-8") for name in names}


def _filled(name: str, board: Board, chosen: Sequence[Board]) -> str:
    """A template with its `@NAMES@` replaced."""
    settings = {"Makefile": _make_settings, "CMakeLists.txt": _cmake_settings}
    words = {
        "BOARD": board.name,
        "BOARDS": ", ".join(b.name for b in chosen),
        "TITLE": board.title,
        "FOLDERS": " and ".join(b.title for b in chosen),
        "PACKAGES": " ".join(board.compiler.packages),
        "OPTIMIZING": OPTIMIZING,
        "WARNINGS": " ".join(WARNINGS),
        "COMPILING": " ".join(COMPILING),
        "INCLUDED": " ".join(f"-I{place}" for place in INCLUDED),
        "SETTINGS": settings[name](chosen) if name in settings else "",
    }
    text = (_FIRMWARE / "templates" / name).read_text("utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _make_settings(chosen: Sequence[Board]) -> str:
    """What differs from board to board, for make."""
    lines: list[str] = []
    for b in chosen:
        lines.append(f"{'else ' if lines else ''}ifeq ($(BOARD),{b.name})")
        lines += [f"BOARD_{key} := {' '.join(values)}".rstrip() for key, values in _settings(b, "boards").items()]
    known = ", ".join(b.name for b in chosen)
    return "\n".join([*lines, "else", f"$(error BOARD is $(BOARD), not one of: {known})", "endif"])


def _cmake_settings(chosen: Sequence[Board]) -> str:
    """What differs from board to board, for CMake."""
    lines: list[str] = []
    for b in chosen:
        lines.append(f'{"elseif" if lines else "if"}(BOARD STREQUAL "{b.name}")')
        lines += [
            f"  set(BOARD_{key} {' '.join(values)})"
            for key, values in _settings(b, "${CMAKE_CURRENT_SOURCE_DIR}/boards").items()
        ]
    known = ", ".join(b.name for b in chosen)
    lines += ["else()", f'  message(FATAL_ERROR "BOARD is ${{BOARD}}, not one of: {known}")', "endif()"]
    return "\n".join(f"  {line}" for line in lines)


def _settings(board: Board, folder: str) -> Mapping[str, Sequence[str]]:
    values = (
        (board.compiler.prefix,),
        (board.compiler.command,),
        toolchain.flags_of(board),
        board.sources,
        tuple(f"boards/{name}" for name in boards.files_of(board) if name.endswith(".ld")),
        toolchain.linking(board, folder),
    )
    return dict(zip(_SETTINGS, values, strict=True))
