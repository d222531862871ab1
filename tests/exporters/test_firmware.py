"""The folder of a network as C: what is in it, and that make and CMake build it, alone and in other programs."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import OutputError
from bqsearch.exporters.firmware import export, model_hash
from bqsearch.firmware import map as linker
from bqsearch.firmware.board import BOARDS, HIFIVE1, HOST, STM32F405, Board
from bqsearch.firmware.emit import ModelSource
from bqsearch.firmware.emulator import run
from bqsearch.firmware.toolchain import Program
from firmware.sample import SIZE, built, exported, inputs_of, need, need_program, network, sums

ALL = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
USER = """
#include <stdio.h>
#include <string.h>

#include "bq.h"
#include "model.h"

int main(void)
{
    bq_init();
    memset(bq_input(), 1, BQ_INPUT_BYTES);
    if (bq_invoke() != BQ_OK) {
        return 1;
    }
    const unsigned char *output = bq_output();
    for (int i = 0; i < BQ_OUTPUT_BYTES; ++i) {
        printf("%d ", output[i]);
    }
    return 0;
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(user C)
add_subdirectory(network)
add_executable(user user.c)
target_link_libraries(user bq)
"""


def make(*arguments: str | Path) -> str:
    """What a build prints."""
    done = subprocess.run([need_program(str(arguments[0])), *map(str, arguments[1:])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(program: Path, board: Board) -> None:
    """The program computes what the network does."""
    inputs = inputs_of(3)
    outcome = run(Program(board=board, path=program, map=program), inputs)
    np.testing.assert_array_equal(outcome.outputs, sums(inputs))


def test_the_folder_holds_all_that_is_needed_and_nothing_else(tmp_path: Path) -> None:
    export(tmp_path, network(), STM32F405)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    top = {"model.h", "model.c", "model_hash.h", "main.c", "Makefile", "CMakeLists.txt", "README.md"}
    own = {"board.h", "startup.h", "startup.c", "sections.ld", "stm32f405/board.c", "stm32f405/link.ld", "host/board.c"}
    assert {name for name in found if not name.startswith("runtime/")} == top | {f"boards/{name}" for name in own}
    assert {"runtime/bq.h", "runtime/bq.c"} < found
    assert (tmp_path / "model.c").read_text("utf-8") == network().source


def test_no_placeholder_is_left(tmp_path: Path) -> None:
    export(tmp_path, network(), HIFIVE1)
    for name in ("Makefile", "CMakeLists.txt", "README.md"):
        assert not re.search(r"@[A-Z]+@", (tmp_path / name).read_text("utf-8"))


def test_every_file_that_the_readme_names_is_there(tmp_path: Path) -> None:
    export(tmp_path, network(), HIFIVE1)
    table = re.findall(r"^\| (`.*`) \|", (tmp_path / "README.md").read_text("utf-8"), re.MULTILINE)
    names = re.findall(r"`([^`]+)`", " ".join(table))
    assert names
    assert all((tmp_path / name).exists() for name in names)


def test_the_hash_tells_networks_apart() -> None:
    told = {model_hash(ModelSource(header=h, source=s)) for h, s in [("a", "b"), ("a", "c"), ("ab", "")]}
    assert len(told) == 3
    assert all(0 <= value < 2**64 for value in told)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write firmware"):
        export(tmp_path / "file", network(), HOST)


@ALL
def test_make_and_cmake_build_what_the_toolchain_builds(board: Board, tmp_path: Path) -> None:
    mine = built(board, tmp_path)
    make("make", "-C", tmp_path, f"BOARD={board.name}", "OUT=made")
    need_program("cmake")
    make("cmake", "-S", tmp_path, "-B", tmp_path / "cmade", "-D", f"BOARD={board.name}")
    make("cmake", "--build", tmp_path / "cmade")
    for program in (tmp_path / "made" / "firmware.elf", tmp_path / "cmade" / "firmware.elf"):
        check(program, board)
        if board is not HOST:
            theirs, ours = (linker.read(path.read_bytes()) for path in (program, mine.path))
            assert (theirs.flash, theirs.ram) == (ours.flash, ours.ram)


def test_make_builds_for_this_computer_in_a_boards_folder(tmp_path: Path) -> None:
    need(HOST)
    exported(tmp_path, HIFIVE1)
    make("make", "-C", tmp_path, "BOARD=host")
    check(tmp_path / "build" / "host" / "firmware.elf", HOST)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_library_serves_a_program_of_ones_own(compiler: str, tmp_path: Path) -> None:
    path = need_program(compiler)
    exported(tmp_path, HOST)
    make("make", "-C", tmp_path, "lib", f"CC={path}")
    (tmp_path / "user.c").write_text(USER)
    library = tmp_path / "build" / "host" / "libbq.a"
    places = [f"-I{tmp_path}", f"-I{tmp_path}/runtime"]
    make(compiler, "-Wall", "-Wextra", "-Werror", *places, tmp_path / "user.c", library, "-o", tmp_path / "user")
    assert _printed(tmp_path / "user") == list(range(1, SIZE + 1))


def test_a_cmake_project_takes_the_library_in(tmp_path: Path) -> None:
    need(HOST)
    need_program("cmake")
    exported(tmp_path / "network", HIFIVE1)
    (tmp_path / "user.c").write_text(USER)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    make("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-D", "BOARD=mine")
    make("cmake", "--build", tmp_path / "build")
    assert _printed(tmp_path / "build" / "user") == list(range(1, SIZE + 1))


def test_an_unknown_board_is_refused(tmp_path: Path) -> None:
    exported(tmp_path, HOST)
    for command in (
        ["make", "-C", tmp_path, "BOARD=x"],
        ["cmake", "-S", tmp_path, "-B", tmp_path / "b", "-D", "BOARD=x"],
    ):
        done = subprocess.run([need_program(str(command[0])), *command[1:]], capture_output=True, text=True)
        assert done.returncode != 0
        assert "BOARD is x, not one of: host" in done.stderr


def _printed(program: Path) -> list[int]:
    return [int(word) for word in make(program).split()]
