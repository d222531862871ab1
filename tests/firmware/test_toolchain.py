"""Compilers: found or named, what they are told, what they say, and what they make."""

from pathlib import Path

import pytest

from bqsearch.errors import ToolError, UnknownNameError
from bqsearch.exporters.firmware import export
from bqsearch.firmware import board as boards
from bqsearch.firmware import map as linker
from bqsearch.firmware import toolchain
from bqsearch.firmware.board import HIFIVE1, HOST, STM32F405, Board
from bqsearch.firmware.toolchain import COMPILING, WARNINGS
from bqsearch.hardware import target
from firmware.sample import EMULATED, built, need, need_program, network

ON_BOARDS = pytest.mark.parametrize("board", EMULATED, ids=lambda board: board.name)
TRIPLES = {"riscv64-unknown-elf-": "riscv32-unknown-elf", "arm-none-eabi-": "thumbv7em-none-eabi"}
MACHINES = {"riscv64-unknown-elf-": 243, "arm-none-eabi-": 40}  # as an ELF file's head says
CUT = "\nchar cut(int whole);\nchar cut(int whole) { return whole; }\n"  # which it warns of
TUNING = "-mtune=sifive-3-series"


def program(folder: Path, name: str, text: str) -> None:
    """An executable script."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_boards_have_targets_and_an_unknown_one_is_named() -> None:
    assert {b.name for b in EMULATED} <= set(target.names())
    assert boards.named("hifive1") is HIFIVE1
    with pytest.raises(UnknownNameError, match=r"unknown board 'hifive'; known: .* Did you mean 'hifive1'"):
        boards.named("hifive")


@pytest.mark.parametrize(
    ("board", "message"),
    [
        (HIFIVE1, "riscv64-unknown-elf-gcc, .*: apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"),
        (STM32F405, "arm-none-eabi-gcc, .*: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"),
        (HOST, "cc, .*: apt-get install gcc libc6-dev"),
    ],
)
def test_a_missing_compiler_is_named_with_its_packages(
    board: Board, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=f"^building firmware for .* needs {message}"):
        toolchain.build(board, tmp_path, tmp_path)


def test_a_compiler_without_its_c_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "riscv64-unknown-elf-gcc", "echo picolibc.specs")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(ToolError, match=r"needs picolibc\.specs of riscv64-unknown-elf-gcc, which is not installed"):
        toolchain.build(HIFIVE1, tmp_path, tmp_path)


def test_a_compilers_message_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"(?s)^cc failed with status 1: .*model\.c:.*wrong.* undeclared"):
        built(HOST, tmp_path, network("return wrong;"))


def test_warnings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="Wconversion"):
        built(HOST, tmp_path, network("total = op->count; return total ? BQ_OK : BQ_BAD_STREAM;"))


def test_a_compiler_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "cc", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(toolchain, "_PATIENCE", 0.2)
    export(tmp_path / "folder", network(), HOST)
    with pytest.raises(ToolError, match="cc was not done after 0 s: "):
        toolchain.build(HOST, tmp_path / "folder", tmp_path / "out")


def test_what_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="nothing cannot be started"):
        toolchain.run([str(tmp_path / "nothing")], tmp_path)


@ON_BOARDS
def test_ram_that_is_too_small_is_the_linkers_error(board: Board, tmp_path: Path) -> None:
    before = "static uint8_t much[200000];"
    with pytest.raises(ToolError, match=r"RAM has no room left for the stack|will not fit in region `ram'"):
        built(board, tmp_path, network("return much[op->count]++ ? BQ_OK : BQ_BAD_STREAM;", before))


def test_a_stack_that_is_too_small_is_the_linkers_error(tmp_path: Path) -> None:
    before = f"static uint8_t much[{16384 - 128 - 240}];"
    with pytest.raises(ToolError, match="RAM has no room left for the stack"):
        built(HIFIVE1, tmp_path, network("return much[op->count]++ ? BQ_OK : BQ_BAD_STREAM;", before))


@ON_BOARDS
def test_only_what_is_used_is_linked(board: Board, tmp_path: Path) -> None:
    """The whole runtime is compiled, without warnings."""
    need(board)
    export(tmp_path, network(), board)
    image = linker.read(toolchain.build(board, tmp_path, tmp_path / "build").path.read_bytes())
    names = {symbol.name for symbol in image.symbols}
    assert {"main", "bq_invoke", "board_read"} <= names
    assert not names & {"bq_invoke_batch", "malloc", "_sbrk", "printf", "exit"}
    own = {"bq_init", "bq_input", "bq_invoke", "bq_invoke_in", "bq_model", "bq_output"}
    assert {name for name in names if name.startswith("bq_")} <= own


@ON_BOARDS
def test_the_board_itself_is_small(board: Board, tmp_path: Path) -> None:
    """The example, start-up and drivers: no variables, and little code."""
    parts = linker.parts(built(board, tmp_path, optimizing="-Os").map.read_text("utf-8"))
    own = [part for part in parts if part.object in ("main.o", "startup.o", "board.o", "start.o")]
    assert {part.section for part in own} <= {".text", ".rodata"}
    assert 500 < sum(part.size for part in own) < 1400


@ON_BOARDS
def test_programs_are_the_same_wherever_they_are_built(board: Board, tmp_path: Path) -> None:
    first, second = (built(board, tmp_path / name).path.read_bytes() for name in ("a", "another"))
    assert first == second


@ON_BOARDS
@pytest.mark.parametrize("optimizing", ["-Os", "-O2"])
def test_clang_warns_of_nothing_but_what_was_put_in(board: Board, optimizing: str, tmp_path: Path) -> None:
    clang = need_program("clang")
    export(tmp_path, network(), board)
    flags = [flag for flag in board.flags if flag != TUNING]
    places = ["-I.", "-Iruntime", "-Iboards"]
    for name in ("main.c", *(f"boards/{s}" for s in board.sources if s.endswith(".c"))):
        command = [clang, f"--target={TRIPLES[board.compiler.prefix]}", *flags, "-ffreestanding", *COMPILING, *WARNINGS]
        command += [optimizing, *places, "-c", name, "-o", str(tmp_path / "x.o")]
        toolchain.run(command, tmp_path)
        assert (tmp_path / "x.o").read_bytes()[18] == MACHINES[board.compiler.prefix]
        with (tmp_path / name).open("a") as file:
            file.write(CUT)
        with pytest.raises(ToolError, match="-Wimplicit-int-conversion"):
            toolchain.run(command, tmp_path)
