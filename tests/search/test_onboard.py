"""A point's firmware on the emulated board: what passes, what fails, and what is skipped with what to install."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.firmware import emulator, toolchain
from bqsearch.firmware.board import HIFIVE1, HIFIVE1_REVB, HOST, STM32F405, Board
from bqsearch.firmware.emulator import Outcome
from bqsearch.graph.ir import Graph
from bqsearch.hardware import linked
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.plan import Choice, Plan
from bqsearch.search import onboard
from bqsearch.search.check import Check
from bqsearch.search.planfile import FIRMWARE, write_point
from bqsearch.search.prepare import Problem
from firmware.sample import need
from networks import small_int8_network, small_uint8_network
from search.problems import prepared, write_files

INPUTS = 4


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("onboard")), schemes="kmeans")


@pytest.fixture(scope="module")
def point(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("point")
    write_point(problem, problem.compress(problem.bank.baseline), folder)
    return folder / FIRMWARE


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


def checked(
    problem: Problem,
    folder: Path,
    out: Path,
    board: Board = HIFIVE1,
    stack: int | None = None,
    faster: float = 1.0,
    extra: int = 0,
    plan: Plan | None = None,
    compiler: str | None = None,
) -> list[Check]:
    model, footprint = problem.compress(plan or problem.bank.baseline), problem.cost.footprint
    assert isinstance(footprint, StreamedFootprint)
    ram = footprint.ram(model) if stack is None else replace(footprint.ram(model), stack=stack)
    flash = footprint.flash(model)
    made_by = compiler or linked.load(problem.cost.target.code_table).compiler
    predicted = onboard.Predicted(
        flash=replace(flash, code=flash.code + extra),
        ram=ram,
        instructions=problem.cost.instructions(model) / faster,
        compiler=made_by,
    )
    inputs = problem.holdout_scorer().inputs[:INPUTS]
    return list(onboard.check(board, folder, model, footprint.schedule(model), predicted, inputs, out))


def test_firmware_passes(problem: Problem, point: Path, objects: Path) -> None:
    need(HIFIVE1)
    linker, static, outputs, time, stack = found = checked(problem, point, objects)
    assert [check.name for check in found] == ["linker", "static", "outputs", "instructions", "stack"]
    assert all(check.predicted == check.measured for check in (linker, static, outputs))
    assert all(check.passed for check in found), found
    assert all(f"{section} " in linker.detail for section in (".text", ".rodata", ".data", ".bss"))
    assert outputs.detail == f"{INPUTS} of {INPUTS} on the emulated board bit for bit as here"
    assert int(time.detail.split()[0].replace(",", "")) > 10_000
    peak = int(stack.detail.split()[0].replace(",", ""))
    for kept, passed in ((peak - 1, False), (peak, True), (peak + 256, True), (peak + 257, False)):
        assert checked(problem, point, objects, stack=kept)[-1].passed is passed


def test_instructions_far_from_what_was_foretold_fail(problem: Problem, point: Path, objects: Path) -> None:
    same_compiler(HIFIVE1)
    time = checked(problem, point, objects, faster=1.3)[3]
    assert (time.name, time.passed) == ("instructions", False)
    assert checked(problem, point, objects, faster=1.3, compiler="GCC 99")[3].passed is None


def same_compiler(board: Board) -> None:
    need(board)
    table = "stm32f405" if board is STM32F405 else "fe310"
    if toolchain.version(board.compiler) != linked.load(table).compiler:
        pytest.skip(f"the table of code is for {linked.load(table).compiler}")


@pytest.mark.parametrize("board", [HIFIVE1, HIFIVE1_REVB, STM32F405], ids=lambda board: board.name)
@pytest.mark.parametrize("make", [small_int8_network, small_uint8_network])
def test_flash_and_static_ram_are_the_linkers_to_the_byte(
    make: Callable[[int], Graph], board: Board, objects: Path, tmp_path: Path
) -> None:
    same_compiler(board)
    given = prepared(write_files(tmp_path, make), target=board.name, schemes="kmeans,log2,binary,ternary")
    mixes = [["keep-256-raw"], ["kmeans-8-huffman", "kmeans-4-packed", "kmeans-16-mask"], ["binary-2-packed"]]
    for number, mix in enumerate(mixes):
        choices = {name: Choice.parse(mix[i % len(mix)]) for i, name in enumerate(given.bank.by_name)}
        plan = given.bank.plan(choices)
        folder = tmp_path / str(number)
        write_point(given, given.compress(plan), folder)
        for check in checked(given, folder / FIRMWARE, objects, board, plan=plan):
            assert check.passed, check


def test_a_byte_too_many_fails_but_not_of_another_compiler(problem: Problem, point: Path, objects: Path) -> None:
    same_compiler(HIFIVE1)
    assert checked(problem, point, objects, extra=1)[0].passed is False
    told = checked(problem, point, objects, extra=1, compiler="GCC 99")[0]
    assert told.passed is None
    assert told.detail.startswith("predicted for GCC 99, not for riscv64-unknown-elf-gcc ")


def test_other_weights_on_the_board_fail(problem: Problem, point: Path, objects: Path, tmp_path: Path) -> None:
    need(HIFIVE1)
    write_point(problem, problem.compress(problem.bank.baseline), tmp_path)
    text = (tmp_path / FIRMWARE / "model.c").read_text()
    begin = text.index("bias_0")
    changed = text[:begin] + text[begin:].replace("{\n    ", "{\n    99", 1)
    (tmp_path / FIRMWARE / "model.c").write_text(changed)
    outputs = checked(problem, tmp_path / FIRMWARE, objects)[2]
    assert (outputs.name, outputs.passed) == ("outputs", False)
    assert f"of {INPUTS} on the emulated board" in outputs.detail


def test_firmware_that_does_not_build_fails_with_the_reason(problem: Problem, objects: Path, tmp_path: Path) -> None:
    need(HIFIVE1)
    (found,) = checked(problem, tmp_path, objects)
    assert (found.name, found.passed) == ("linker", False)
    assert "riscv64-unknown-elf-gcc" in found.detail


def test_missing_tools_are_named_and_nothing_is_passed(
    problem: Problem, point: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = checked(problem, point, tmp_path)
    assert [(check.name, check.passed) for check in found] == [
        ("linker", None),
        ("static", None),
        ("outputs", None),
        ("instructions", None),
        ("stack", None),
    ]
    assert all(check.detail.startswith("skipped: ") for check in found)
    assert all("apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf" in c.detail for c in found)


def test_a_missing_emulator_leaves_the_linker(problem: Problem, point: Path, objects: Path) -> None:
    need(HIFIVE1)
    assert HIFIVE1.emulator is not None
    board = replace(HIFIVE1, emulator=replace(HIFIVE1.emulator, command="qemu-system-none", package="no-qemu"))
    linker, static, *others = checked(problem, point, objects, board)
    assert linker.passed
    assert static.passed
    assert [check.passed for check in others] == [None, None, None]
    assert others[0].detail.endswith("which is not installed: apt-get install no-qemu")


def test_a_board_of_the_users_own_is_skipped(problem: Problem, point: Path, tmp_path: Path) -> None:
    found = checked(problem, point, tmp_path, HOST)
    assert [check.passed for check in found] == [None] * 5


def test_a_board_that_stops_fails(
    problem: Problem, point: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(HIFIVE1)

    def silent(program: object, inputs: np.ndarray) -> Outcome:
        raise onboard.BoardError("no answer after 60 s; it printed nothing")

    monkeypatch.setattr(emulator, "run", silent)
    _, _, outputs = checked(problem, point, objects)
    assert (outputs.name, outputs.passed) == ("outputs", False)
    assert "no answer after 60 s" in outputs.detail
